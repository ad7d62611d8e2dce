// The hidden states from which draft heads predict: rows of a model's context, read after a decode.
//
// llama.cpp declares these functions in llama-ext.h, with C++ names, for its own speculative decoding. If a newer llama.cpp
// renames or removes one, this file does not compile.

#include "internal.h"

#include "llama-ext.h"

#include <algorithm>

int32_t lb_context_set_hidden_states(llama_context * ctx, bool enabled, bool only_outputs) {
    return lb::guard_status([&] {
        llama_set_embeddings_nextn(ctx, enabled, only_outputs);
        return LB_OK;
    });
}

const float * lb_context_hidden_states(llama_context * ctx) {
    return lb::guard_pointer([&]() -> const float * { return llama_get_embeddings_nextn(ctx); });
}

const float * lb_context_hidden_state(llama_context * ctx, int32_t index) {
    return lb::guard_pointer([&]() -> const float * { return llama_get_embeddings_nextn_ith(ctx, index); });
}

int32_t lb_context_set_layer_inputs(llama_context * ctx, int32_t layer, bool enabled) {
    return lb::guard_status([&] {
        if (layer < 0 || layer > llama_model_n_layer(llama_get_model(ctx))) {
            lb::invalid("the model has no layer " + std::to_string(layer));
        }
        llama_set_embeddings_layer_inp(ctx, static_cast<uint32_t>(layer), enabled);
        return LB_OK;
    });
}

const float * lb_context_layer_inputs(llama_context * ctx, int32_t layer) {
    return lb::guard_pointer([&]() -> const float * {
        if (layer < 0 || layer > llama_model_n_layer(llama_get_model(ctx))) {
            lb::invalid("the model has no layer " + std::to_string(layer));
        }
        return llama_get_embeddings_layer_inp(ctx, static_cast<uint32_t>(layer));
    });
}

int32_t lb_model_target_layers(const llama_model * model, int32_t * out_layers, int32_t n_most) {
    const int32_t   n      = static_cast<int32_t>(llama_model_target_layer_ids_n(model));
    const int32_t * layers = llama_model_target_layer_ids(model);
    std::copy_n(layers, std::min(n, n_most), out_layers);
    return n;
}
