// Products of quantised weights with several tokens, on x86-64 CPUs.
//
// Shared by panel_products.cpp, which is compiled for every CPU, and the kernels, which are compiled for the instructions
// that they use. A kernel's object must not define weak symbols; attention.h gives the reason.

#pragma once

#include "ggml.h"

#include <stdint.h>

namespace lb {

constexpr int64_t PANEL_BLOCK  = 32;   // numbers of a token with a common scale
constexpr int     PANEL_INPUTS = 128;  // tokens of a slice
constexpr int     PANEL_ROWS   = 32;   // a slice is fastest with a multiple of this number of rows

// A token's row of `n` floats, quantised: n numbers of 8 bits, then for each block its scale, a float, then for each block one
// or two corrections of 4 bytes. The result is a multiple of 64 bytes.
static constexpr int64_t panel_input_bytes(int64_t n) {
    return (n + n / PANEL_BLOCK * 12 + 63) / 64 * 64;
}

// The rows [first, end) of a matrix of weights, times the rows of some tokens.
struct panel_slice {
    const char * weights;    // row 0
    int64_t      row_bytes;  // from a row to the next
    int64_t      n;          // numbers in a row, a multiple of panel_format::n_multiple
    int64_t      first;
    int64_t      end;
    const char * inputs;  // n_inputs quantised rows, each with panel_input_bytes(n)
    int          n_inputs;
    char *       results;       // the first token's product with row 0
    int64_t      result_bytes;  // from a token to the next
};

// A type of weights. A weight is a scale times (its number - bias); if the bias is 0 a minimum is added.
struct panel_format {
    ggml_type type;
    int64_t   n_multiple;
    // Quantises a token's row of `n` floats.
    void (*quantize)(const float * from, int64_t n, char * to);
    // The bits of a product depend on the row and the token only, and are the same in all kernels.
    void (*multiply)(const panel_slice & slice);
};

struct panel_kernels {
    const panel_format * formats;
    int                  n_formats;
};

extern const panel_kernels panels_avx512;
extern const panel_kernels panels_avxvnni;
extern const panel_kernels panels_avx2;

}  // namespace lb
