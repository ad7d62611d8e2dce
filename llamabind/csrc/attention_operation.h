// Our attention as an operation in llama.cpp's graphs.

#pragma once

#include "attention_tiles.h"
#include "internal.h"

#include <atomic>
#include <memory>
#include <vector>

namespace lb {

struct variant {
    const char *     name;
    attention_kernel kernel;
    bool             is_supported;
};

// The named kernel, or for NULL the fastest one that this CPU can run; nullptr if there is none.
const variant * find_attention(const char * name);

// What the attention operations of one context share.
struct attention_state {
    const variant *                         chosen = nullptr;
    kv_caches                               caches;
    std::vector<std::unique_ptr<tile_plan>> plans;  // the first n_plans belong to the current graph
    size_t                                  n_plans = 0;
    const ggml_tensor *                     first   = nullptr;  // the operation that was prepared first in that graph
    mutable std::atomic<bool>               is_used{ false };  // an operation of the current graph was computed
    bool                                    is_ours  = false;  // some flash attention was turned into ours
    bool                                    is_mixed = false;  // some flash attention was left to ggml
};

// Turns ggml's attention into ours if the kernels support it. Called for each operation each time before its graph is
// computed, when the graph's inputs are set.
void prepare_attention(attention_state & state, ggml_tensor * op);

}  // namespace lb
