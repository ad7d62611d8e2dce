// Products of matrices whose rows do not depend on how many there are.
//
// ggml chooses a kernel by the number of tokens in a batch, and its kernels round differently. Here every number of a
// product is a dot product by ggml's function for one pair of rows, as in a batch of one token.

#pragma once

#include "ggml.h"

struct ggml_type_traits_cpu;

namespace lb {

// ggml_get_type_traits_cpu, or nullptr if it was not found.
using product_types = const ggml_type_traits_cpu * (*) (ggml_type);

product_types find_product_types();

// Turns a product of ggml's into ours. Called for each operation each time before its graph is computed.
void prepare_product(product_types types, ggml_tensor * op);

}  // namespace lb
