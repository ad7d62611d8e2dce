#include "products.h"

#include "custom_job.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t ROWS  = 16;  // rows of the second matrix in a work item, and of the first between two changes of row
constexpr int64_t PARTS = 4;   // work items for each thread: items and threads differ in speed

struct job {
    lb::product_types    types;
    ggml_op              replaced;
    std::atomic<int32_t> next;
};

void compute(ggml_tensor * op, int ith, int nth, void * userdata);

using operation = lb::custom_job<job, compute>;

// The rows that are multiplied for one row of the result.
struct row_set {
    const char * weights;  // the first row of a matrix
    const char * input;
    char *       result;
};

row_set rows_of(const ggml_tensor * op, ggml_op replaced, int64_t row) {
    const ggml_tensor *a = op->src[0], *b = op->src[1];
    const int64_t      i1 = row % op->ne[1], i2 = row / op->ne[1] % op->ne[2], i3 = row / (op->ne[1] * op->ne[2]);
    const auto *       weights = static_cast<const char *>(a->data);
    const auto *       input   = static_cast<const char *>(b->data) + i2 * b->nb[2] + i3 * b->nb[3];
    auto *             result  = static_cast<char *>(op->data) + i1 * op->nb[1] + i2 * op->nb[2] + i3 * op->nb[3];
    if (replaced == GGML_OP_MUL_MAT_ID) {
        const ggml_tensor * ids = op->src[2];
        int32_t             expert;
        std::memcpy(&expert, static_cast<const char *>(ids->data) + i1 * ids->nb[0] + i2 * ids->nb[1], sizeof(expert));
        return { weights + expert * a->nb[2], input + i1 % b->ne[1] * b->nb[1], result };
    }
    return { weights + i2 / (b->ne[2] / a->ne[2]) * a->nb[2] + i3 / (b->ne[3] / a->ne[3]) * a->nb[3],
             input + i1 * b->nb[1], result };
}

// The rows [first, end) of the result, in the columns [first_column, end_column).
void multiply(const ggml_tensor * op, const job & work, int64_t first, int64_t end, int64_t first_column, int64_t end_column) {
    static thread_local std::vector<char> packed;

    const ggml_tensor *          a    = op->src[0];
    const ggml_type_traits_cpu & type = *work.types(a->type);
    const int64_t                n    = a->ne[0];
    const size_t                 size = ggml_row_size(type.vec_dot_type, n);
    row_set                      rows[ROWS];
    packed.resize(size * ROWS);
    for (int64_t row = first; row < end; row++) {
        rows[row - first] = rows_of(op, work.replaced, row);
        if (op->src[1]->type != type.vec_dot_type) {
            char * const to = packed.data() + (row - first) * size;
            work.types(type.vec_dot_type)->from_float(reinterpret_cast<const float *>(rows[row - first].input), to, n);
            rows[row - first].input = to;
        }
    }
    for (int64_t column = first_column; column < end_column; column += ROWS) {
        for (int64_t i = 0; i < end - first; i++) {
            auto * const result = reinterpret_cast<float *>(rows[i].result);
            for (int64_t c = column; c < std::min(column + ROWS, end_column); c++) {
                type.vec_dot(static_cast<int>(n), result + c, 0, rows[i].weights + c * a->nb[1], 0, rows[i].input, 0, 1);
            }
        }
    }
}

// ggml_custom_op_t
void compute(ggml_tensor * op, int /*ith*/, int nth, void * /*userdata*/) {
    job * const   work      = operation::of(op);
    const int64_t n_rows    = op->ne[1] * op->ne[2] * op->ne[3];
    const int64_t n_blocks  = (n_rows + ROWS - 1) / ROWS;
    const int64_t n_parts   = std::max<int64_t>(1, PARTS * nth / n_blocks);
    const int64_t n_columns = (op->ne[0] + n_parts - 1) / n_parts;
    for (int64_t item = work->next++; item < n_blocks * n_parts; item = work->next++) {
        const int64_t row = item / n_parts * ROWS, column = item % n_parts * n_columns;
        multiply(op, *work, row, std::min(row + ROWS, n_rows), column, std::min(column + n_columns, op->ne[0]));
    }
}

bool is_supported(lb::product_types types, const ggml_tensor * op) {
    const ggml_tensor *a = op->src[0], *b = op->src[1];
    const auto         is_plain = [](const ggml_tensor * t) {
        const ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
        return buffer != nullptr && ggml_backend_buffer_is_host(buffer);
    };
    const ggml_type_traits_cpu * type = types(a->type);
    if (type == nullptr || type->vec_dot == nullptr || !is_plain(a) || !is_plain(b) || !is_plain(op)) {
        return false;
    }
    const bool is_packed = b->type == type->vec_dot_type;
    return a->nb[0] == ggml_type_size(a->type) && b->nb[0] == ggml_type_size(b->type) && op->type == GGML_TYPE_F32 &&
           (is_packed || (b->type == GGML_TYPE_F32 && types(type->vec_dot_type)->from_float != nullptr));
}

}  // namespace

// The CPU backend may be a module that ggml opened: its functions are found beside one whose address ggml gives.
lb::product_types lb::find_product_types() {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (device == nullptr) {
        return nullptr;
    }
    void *  known = ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_cpu_set_use_ref");
    Dl_info info;
    if (known == nullptr || dladdr(known, &info) == 0) {
        return nullptr;
    }
    void * library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    return library == nullptr ? nullptr : reinterpret_cast<product_types>(dlsym(library, "ggml_get_type_traits_cpu"));
}

void lb::prepare_product(product_types types, ggml_tensor * op) {
    if (op->op == GGML_OP_MUL_MAT || op->op == GGML_OP_MUL_MAT_ID) {
        // ggml computes the product with a Hadamard matrix without the matrix.
        if ((op->op == GGML_OP_MUL_MAT && op->op_params[1] == GGML_HINT_SRC0_IS_HADAMARD) || !is_supported(types, op)) {
            return;
        }
        const ggml_op replaced = op->op;
        operation::put(op, types, replaced, 0);
    } else if (operation::is(op)) {
        operation::of(op)->next = 0;  // the graph is computed once more
    }
}
