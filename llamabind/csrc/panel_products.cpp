// Quantised products on x86-64 CPUs, in place of ggml's.
//
// For most of these types ggml has no fast kernel for several tokens: 16 take up to eight times as long as one, though
// the weights are read once. Ours (panel_kernel.h) take two to five times as long, and one token about as long as with ggml.
//
// This file is compiled for every CPU and chooses the kernels when a context is created.

#include "panel_products.h"

#include "custom_job.h"
#include "ggml-backend.h"
#include "internal.h"
#include "kernel_cpus.h"
#include "panels.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

namespace {

constexpr size_t ALIGNMENT = 64;

struct variant {
    const char *              name;
    const lb::panel_kernels * kernels;
    bool                      is_supported;
};

#ifdef LB_HAS_PANEL_KERNELS

const variant * find_variant(const char * name) {
    // In order of preference.
    static const variant all[] = {
#ifdef LB_HAS_VNNI_KERNELS
        { "avx512vnni", &lb::panels_avx512, lb::has_avx512_vnni() },
        { "avxvnni", &lb::panels_avxvnni, lb::has_avx_vnni() },
#endif
        { "avx2", &lb::panels_avx2, lb::has_avx2() },
    };
    for (const variant & one : all) {
        if (one.is_supported && (name == nullptr || std::strcmp(name, one.name) == 0)) {
            return &one;
        }
    }
    return nullptr;
}

#else

const variant * find_variant(const char * /*name*/) {
    return nullptr;
}

#endif

struct job {
    const lb::panel_state *  state;
    const lb::panel_format * format;
    std::atomic<int32_t>     next_token;    // to be quantised
    std::atomic<int32_t>     n_quantized;
    std::atomic<int32_t>     next_slice;
};

void compute(ggml_tensor * op, int ith, int nth, void * userdata);

using operation = lb::custom_job<job, compute>;

int64_t n_tokens_of(const ggml_tensor * op) {
    return ggml_nrows(op->src[1]);
}

const float * token_of(const ggml_tensor * input, int64_t index) {
    const int64_t i1 = index % input->ne[1], i2 = index / input->ne[1] % input->ne[2], i3 = index / (input->ne[1] * input->ne[2]);
    return reinterpret_cast<const float *>(static_cast<const char *>(input->data) + i1 * input->nb[1] + i2 * input->nb[2] +
                                           i3 * input->nb[3]);
}

// The threads share the tokens, and wait until all are quantised.
void quantize(const ggml_tensor * op, job & work, char * inputs) {
    const int64_t n = op->src[1]->ne[0], n_tokens = n_tokens_of(op), bytes = lb::panel_input_bytes(n);
    for (int64_t token = work.next_token++; token < n_tokens; token = work.next_token++) {
        work.format->quantize(token_of(op->src[1], token), n, inputs + token * bytes);
        work.n_quantized.fetch_add(1, std::memory_order_release);
    }
    for (int n_tries = 0; work.n_quantized.load(std::memory_order_acquire) < n_tokens; n_tries++) {
        // The thread that is waited for may need this one's core.
        if (n_tries > 1000) {
            std::this_thread::yield();
        }
    }
}

int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// ggml_custom_op_t
void compute(ggml_tensor * op, int /*ith*/, int nth, void * /*userdata*/) {
    job &               work     = *operation::of(op);
    char * const        inputs   = work.state->aligned_inputs();
    const ggml_tensor * weights  = op->src[0];
    const int64_t       n        = weights->ne[0], n_rows = weights->ne[1], n_tokens = n_tokens_of(op);
    const int64_t       bytes    = lb::panel_input_bytes(n);
    quantize(op, work, inputs);

    // Work items: a few for each thread, since threads differ in speed. Those of the same rows follow each other.
    constexpr int64_t PARTS         = 4;
    constexpr int64_t LEAST_BYTES   = 64 * 1024;  // of weights: the first rows of a slice are not fetched in advance
    const int64_t     n_blocks      = divide_up(n_tokens, lb::PANEL_INPUTS);
    const int64_t     block         = divide_up(n_tokens, n_blocks);
    const int64_t     n_wanted      = std::max<int64_t>(1, PARTS * nth / n_blocks);
    const int64_t     n_least       = divide_up(LEAST_BYTES, weights->nb[1]);
    const int64_t     rows_of_slice = divide_up(std::max(divide_up(n_rows, n_wanted), n_least), lb::PANEL_ROWS) * lb::PANEL_ROWS;
    const int64_t     n_slices      = divide_up(n_rows, rows_of_slice) * n_blocks;
    for (int64_t slice = work.next_slice++; slice < n_slices; slice = work.next_slice++) {
        const int64_t row = slice / n_blocks * rows_of_slice, token = slice % n_blocks * block;
        work.format->multiply({ static_cast<const char *>(weights->data), static_cast<int64_t>(weights->nb[1]), n, row,
                                std::min(row + rows_of_slice, n_rows), inputs + token * bytes,
                                static_cast<int>(std::min(block, n_tokens - token)),
                                static_cast<char *>(op->data) + token * op->nb[1], static_cast<int64_t>(op->nb[1]) });
    }
}

const lb::panel_format * format_of(const lb::panel_kernels & kernels, ggml_type type) {
    for (int i = 0; i < kernels.n_formats; i++) {
        if (kernels.formats[i].type == type) {
            return &kernels.formats[i];
        }
    }
    return nullptr;
}

// Memory limits a step of one token. With 8 bits a weight it is faster to read half as many rows at once, as the kernels for
// shorter vectors do.
const lb::panel_kernels & kernels_for(const lb::panel_kernels & chosen, ggml_type type, int64_t n_tokens) {
#ifdef LB_HAS_VNNI_KERNELS
    static const lb::panel_kernels & shorter = lb::has_avx_vnni() ? lb::panels_avxvnni : lb::panels_avx2;
    if (&chosen == &lb::panels_avx512 && type == GGML_TYPE_Q8_0 && n_tokens == 1) {
        return shorter;
    }
#endif
    return chosen;
}

bool is_in_host_memory(const ggml_tensor * t) {
    const ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
    return buffer != nullptr && ggml_backend_buffer_is_host(buffer);
}

bool is_supported(const ggml_tensor * op, int64_t n_multiple) {
    const ggml_tensor *weights = op->src[0], *input = op->src[1];
    return weights->ne[2] == 1 && weights->ne[3] == 1 && weights->ne[0] % n_multiple == 0 &&
           weights->nb[0] == ggml_type_size(weights->type) && input->type == GGML_TYPE_F32 &&
           input->nb[0] == sizeof(float) && op->type == GGML_TYPE_F32 && ggml_is_contiguous(op) &&
           op->op_params[1] != GGML_HINT_SRC0_IS_HADAMARD && is_in_host_memory(weights) && is_in_host_memory(input) &&
           is_in_host_memory(op);
}

}  // namespace

void lb::panel_state::reserve(size_t n_bytes) {
    if (n_bytes + ALIGNMENT > size) {
        inputs.reset(new char[n_bytes + ALIGNMENT]);
        size = n_bytes + ALIGNMENT;
    }
}

char * lb::panel_state::aligned_inputs() const {
    const auto address = reinterpret_cast<uintptr_t>(inputs.get());
    return inputs.get() + (ALIGNMENT - address % ALIGNMENT) % ALIGNMENT;
}

const lb::panel_kernels * lb::find_panel_kernels(const char * name) {
    const variant * found = find_variant(name);
    return found == nullptr ? nullptr : found->kernels;
}

bool lb::prepare_panel_product(panel_state & state, ggml_tensor * op) {
    const panel_format * format = nullptr;
    if (op->op == GGML_OP_MUL_MAT) {
        const ggml_type type = op->src[0]->type;
        format               = format_of(kernels_for(*state.kernels, type, n_tokens_of(op)), type);
        if (format == nullptr || !is_supported(op, format->n_multiple)) {
            return false;
        }
    } else if (operation::is(op)) {
        format = operation::of(op)->format;  // the graph is computed once more
    } else {
        return false;
    }
    state.reserve(n_tokens_of(op) * panel_input_bytes(op->src[1]->ne[0]));
    operation::put(op, &state, format, 0, 0, 0);
    return true;
}

extern "C" const char * lb_products_name(void) {
    const variant * best = find_variant(nullptr);
    return best == nullptr ? "ggml" : best->name;
}

extern "C" bool lb_has_products(const char * name) {
    return std::strcmp(name, "ggml") == 0 || find_variant(name) != nullptr;
}

extern "C" int32_t lb_multiply(const char * products, int32_t type, const uint8_t * weights, size_t n, size_t n_rows,
                               const float * tokens, size_t n_tokens, float * results) {
    return lb::guard_status([&] {
        const lb::panel_kernels * kernels = lb::find_panel_kernels(products);
        const lb::panel_format *  format  = kernels == nullptr ? nullptr : format_of(*kernels, static_cast<ggml_type>(type));
        if (format == nullptr || n == 0 || n % format->n_multiple != 0) {
            lb::invalid("no kernel here multiplies rows of " + std::to_string(n) + " weights of this type");
        }
        const size_t    bytes = lb::panel_input_bytes(static_cast<int64_t>(n));
        lb::panel_state state;
        state.reserve(n_tokens * bytes);
        for (size_t token = 0; token < n_tokens; token++) {
            format->quantize(tokens + token * n, static_cast<int64_t>(n), state.aligned_inputs() + token * bytes);
        }
        for (size_t token = 0; token < n_tokens; token += lb::PANEL_INPUTS) {
            format->multiply({ reinterpret_cast<const char *>(weights),
                               static_cast<int64_t>(ggml_row_size(format->type, static_cast<int64_t>(n))),
                               static_cast<int64_t>(n), 0, static_cast<int64_t>(n_rows), state.aligned_inputs() + token * bytes,
                               static_cast<int>(std::min<size_t>(lb::PANEL_INPUTS, n_tokens - token)),
                               reinterpret_cast<char *>(results + token * n_rows),
                               static_cast<int64_t>(n_rows * sizeof(float)) });
        }
        return LB_OK;
    });
}
