// Attention on x86-64 CPUs with AVX2 or AVX-512, in place of ggml's.
//
// ggml-cpu computes fewer than 64 tokens one by one, and 64 in a tile that reads all cells which any of them attends to.
// Where many sequences share a cache, both cost more than all other operations of a step. Here the cells are read in tiles,
// too, but for each tile only the tokens that attend to a cell of it are computed, all query heads of a key head together:
// sequences that share cells share the cost of reading them, and other sequences add nothing to each other's cost. The bits
// of a token's result do not depend on the other tokens of the batch; for that reason a single token is computed here, too.
//
// A sequence's cells are read in the order of its own tokens (attention_tiles.h), so the bits do not depend on where in the
// cache they are, either.
//
// This file is compiled for every CPU and chooses the kernel when a context is created; see attention.h.

#include "attention_operation.h"

#include "custom_job.h"
#include "ggml-backend.h"
#include "kernel_cpus.h"

#include <cstring>

#ifdef LB_HAS_ATTENTION_KERNELS

#include <algorithm>
#include <memory>
#include <new>

namespace {

constexpr int PARTS = 4;  // work items for each thread: items and threads differ in speed

// ---- the kernels ----------------------------------------------------------------------------------------------

using lb::variant;

// In order of preference.
const variant (&variants())[2] {
    static const variant found[] = {
        { "avx512", lb::attention_avx512, lb::has_avx512() },
        { "avx2", lb::attention_avx2, lb::has_avx2() },
    };
    return found;
}

const variant * find_variant(const char * name) {
    for (const variant & one : variants()) {
        if (one.is_supported && (name == nullptr || std::strcmp(name, one.name) == 0)) {
            return &one;
        }
    }
    return nullptr;
}

// ---- the operation --------------------------------------------------------------------------------------------

struct job {
    const lb::attention_state * state;
    const lb::tile_plan *       plan;
    float                       scale;
    std::atomic<int32_t>        next;
};

void compute(ggml_tensor * op, int ith, int nth, void * userdata);

using operation = lb::custom_job<job, compute>;

// ggml_custom_op_t
void compute(ggml_tensor * op, int /*ith*/, int nth, void * /*userdata*/) {
    static thread_local std::unique_ptr<lb::attention_workspace> w(new (std::nothrow) lb::attention_workspace);
    if (w == nullptr) {
        GGML_ABORT("out of memory: cannot allocate the attention workspace");
    }

    const ggml_tensor * q = op->src[0];
    const int64_t n_tokens = q->ne[1], n_key_heads = op->src[1]->ne[2], n_streams = q->ne[3];
    const int64_t n_most   = std::max<int64_t>(1, lb::ATTENTION_MAX_ROWS / (q->ne[2] / n_key_heads));
    const int64_t n_parts  = std::max<int64_t>(1, PARTS * nth / (n_key_heads * n_streams));
    const int64_t n        = std::min(n_most, (n_tokens + n_parts - 1) / n_parts);
    const int64_t n_blocks = (n_tokens + n - 1) / n;
    const int64_t n_items  = n_blocks * n_key_heads * n_streams;

    // The last tokens attend to the most cells, so their blocks start first and shorter ones keep all threads busy at the end.
    job * const work = operation::of(op);
    work->state->is_used.store(true, std::memory_order_relaxed);
    for (int64_t item = work->next++; item < n_items; item = work->next++) {
        const int64_t index = n_blocks - 1 - item / (n_key_heads * n_streams);
        const int64_t which = item % (n_key_heads * n_streams);
        const int64_t first = index * n;
        const int64_t stream  = which / n_key_heads;
        const lb::stream_tiles & tiles = work->plan->of(stream);
        work->state->chosen->kernel({ op, work->scale, tiles.data(), tiles.size(), stream, which % n_key_heads, first,
                                      static_cast<int>(std::min(n, n_tokens - first)) },
                                    *w);
    }
}

bool is_in_host_memory(const ggml_tensor * t) {
    const ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
    return buffer != nullptr && ggml_backend_buffer_is_host(buffer);
}

// The masks are read before the graph is computed, so they must be its inputs.
bool is_input(const ggml_tensor * t) {
    return t->op == GGML_OP_NONE && t->view_src == nullptr;
}

bool is_supported(const ggml_tensor * op) {
    const ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    float              params[3];  // scale, largest ALiBi slope, soft cap
    std::memcpy(params, op->op_params, sizeof(params));
    return mask != nullptr && is_input(mask) && op->src[4] == nullptr && params[1] == 0 && params[2] == 0 &&
           q->type == GGML_TYPE_F32 && k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 &&
           mask->type == GGML_TYPE_F16 && mask->ne[2] == 1 && q->ne[3] == k->ne[3] && q->ne[3] == v->ne[3] &&
           k->ne[2] == v->ne[2] && k->ne[1] == v->ne[1] && k->ne[0] == q->ne[0] && mask->ne[0] >= k->ne[1] &&
           mask->ne[1] >= q->ne[1] && q->ne[0] == v->ne[0] && q->ne[0] % 16 == 0 &&
           q->ne[0] <= lb::ATTENTION_MAX_HEAD && q->ne[2] % k->ne[2] == 0 &&
           q->ne[2] / k->ne[2] <= lb::ATTENTION_MAX_ROWS && k->ne[1] % lb::ATTENTION_TILE == 0 &&
           q->nb[0] == sizeof(float) && k->nb[0] == sizeof(ggml_fp16_t) && v->nb[0] == sizeof(ggml_fp16_t) &&
           mask->nb[0] == sizeof(ggml_fp16_t) && is_in_host_memory(op) && is_in_host_memory(q) &&
           is_in_host_memory(k) && is_in_host_memory(v) && is_in_host_memory(mask);
}

// The tiles of an operation: those of an earlier operation of this graph, if they are the same.
const lb::tile_plan * plan_of(lb::attention_state & state, const ggml_tensor * op) {
    // Operations are prepared once each, before any of their graph is computed. So a new graph has begun if one was computed,
    // or if the first one comes again: the graph before was aborted.
    if (state.is_used.exchange(false) || state.first == op) {
        state.n_plans = 0;
    }
    if (state.n_plans == 0) {
        state.first = op;
    }
    for (size_t i = 0; i < state.n_plans; i++) {
        if (state.plans[i]->serves(op, state.caches)) {
            return state.plans[i].get();
        }
    }
    if (state.n_plans == state.plans.size()) {
        state.plans.push_back(std::make_unique<lb::tile_plan>());
    }
    lb::tile_plan & made = *state.plans[state.n_plans];
    if (!made.build(op, state.caches)) {
        return nullptr;
    }
    state.n_plans++;
    return &made;
}

// ggml's operation with the parameters that it had; is_supported() permits one value only for the others.
void restore(ggml_tensor * op, float scale) {
    op->op = GGML_OP_FLASH_ATTN_EXT;
    std::memset(op->op_params, 0, sizeof(op->op_params));
    std::memcpy(op->op_params, &scale, sizeof(scale));
    op->op_params[3] = GGML_PREC_F32;
}

}  // namespace

void lb::prepare_attention(attention_state & state, ggml_tensor * op) {
    float scale;
    if (op->op == GGML_OP_FLASH_ATTN_EXT && is_supported(op)) {
        std::memcpy(&scale, op->op_params, sizeof(scale));
    } else if (operation::is(op)) {
        scale = operation::of(op)->scale;  // the graph is computed once more
    } else {
        state.is_mixed = state.is_mixed || op->op == GGML_OP_FLASH_ATTN_EXT;
        return;
    }
    const tile_plan * plan = plan_of(state, op);
    if (plan != nullptr) {
        operation::put(op, &state, plan, scale, 0);
        state.is_ours = true;
        return;
    }
    if (op->op == GGML_OP_CUSTOM) {
        restore(op, scale);
    }
    state.is_mixed = true;
}

const lb::variant * lb::find_attention(const char * name) {
    return find_variant(name);
}

#else

const lb::variant * lb::find_attention(const char * /*name*/) {
    return nullptr;
}

void lb::prepare_attention(attention_state & /*state*/, ggml_tensor * /*op*/) {}

#endif

extern "C" const char * lb_attention_name(void) {
    const lb::variant * best = lb::find_attention(nullptr);
    return best == nullptr ? "ggml" : best->name;
}

extern "C" bool lb_has_attention(const char * name) {
    return std::strcmp(name, "ggml") == 0 || lb::find_attention(name) != nullptr;
}
