// Products of quantised weights as an operation of ours in llama.cpp's graphs.

#pragma once

#include "ggml.h"

#include <cstddef>
#include <memory>

namespace lb {

struct panel_kernels;

// The kernels for the named instructions, or for NULL the fastest ones that this CPU can run; nullptr if there are none.
const panel_kernels * find_panel_kernels(const char * name);

// What the products of one context share.
struct panel_state {
    const panel_kernels *   kernels = nullptr;
    std::unique_ptr<char[]> inputs;  // the quantised tokens of the product that is being computed
    size_t                  size = 0;

    void   reserve(size_t n_bytes);
    char * aligned_inputs() const;
};

// Turns a product of ggml's into ours if the kernels support it; whether it is ours. Called for each operation each time
// before its graph is computed.
bool prepare_panel_product(panel_state & state, ggml_tensor * op);

}  // namespace lb
