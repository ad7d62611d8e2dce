// Counts uses of weights that the kernels of their CPU buffer type (such as AMX) cannot compute.

#include "internal.h"

#include "ggml-backend.h"
#include "ggml.h"
#include "llama-ext.h"

#include <cstring>

namespace {

// Two sequences of two tokens: the smallest batch in which the dimensions of sequences and of tokens can be told apart.
constexpr uint32_t N_SEQS   = 2;
constexpr uint32_t N_TOKENS = 4;

bool is_in(const ggml_tensor * weight, const char * buffer_type) {
    return weight->buffer != nullptr &&
           std::strcmp(ggml_backend_buft_name(ggml_backend_buffer_get_type(weight->buffer)), buffer_type) == 0;
}

bool is_matrix(const ggml_tensor * tensor) { return tensor->ne[2] == 1 && tensor->ne[3] == 1; }

// True if source `index` of `node` is a weight of that buffer type and `node` is not a plain product of two matrices.
bool is_misused(const ggml_tensor * node, int index, const char * buffer_type) {
    const auto * source = node->src[index];
    const auto * weight = source->view_src != nullptr ? source->view_src : source;
    if (!is_in(weight, buffer_type)) {
        return false;
    }
    const bool is_product = node->op == GGML_OP_MUL_MAT && index == 0 && source == weight;
    return !(is_product && is_matrix(weight) && is_matrix(node->src[1]));
}

int32_t count_misused(llama_context * ctx, const char * buffer_type) {
    auto * graph = llama_graph_reserve(ctx, N_TOKENS, N_SEQS, N_TOKENS);
    if (graph == nullptr) {
        throw lb::failure(LB_ERROR, "the graph for two sequences cannot be laid out");
    }
    int32_t n_misused = 0;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        const auto * node = ggml_graph_node(graph, i);
        for (int index = 0; index < GGML_MAX_SRC; index++) {
            n_misused += node->src[index] != nullptr && is_misused(node, index, buffer_type);
        }
    }
    return n_misused;
}

}  // namespace

int32_t lb_count_misused_weights(llama_context * ctx, const char * buffer_type, int32_t * out_n) {
    return lb::guard_status([&] {
        *out_n = count_misused(ctx, buffer_type);
        return LB_OK;
    });
}
