// Shared by attention.cpp, which is compiled for every CPU, and the kernels, which are compiled for CPUs with AVX2 or AVX-512.
//
// A kernel's object must not define weak symbols (such as an instance of a standard template): the linker could use them in
// other code, which would then raise SIGILL on a CPU without the kernel's instructions. Hence this file and
// attention_kernel.h do not use the C++ library; check_kernel_symbols.cmake checks the objects.

#pragma once

#include "ggml.h"

#include <stdint.h>

namespace lb {

constexpr int ATTENTION_TILE     = 64;   // cells that are read together
constexpr int ATTENTION_MAX_ROWS = 64;   // query vectors that read them together
constexpr int ATTENTION_MAX_HEAD = 256;  // floats in a query vector

// The tokens [first, first + n_tokens), and the cells of a tile that they attend to: a bit for each.
struct attention_run {
    int32_t  first;
    int32_t  n_tokens;
    uint64_t seen;
};

// Cells that are read together, in the order of their positions; attention_tiles.h describes which. -1 is no cell.
struct attention_tile {
    int32_t               cells[ATTENTION_TILE];
    const attention_run * runs;  // in the order of tokens
    int64_t               n_runs;
};

// One thread's scratch memory: query vectors, scores, sums of values, and a tile of keys (transposed) and of values.
struct alignas(64) attention_workspace {
    float    queries[ATTENTION_MAX_ROWS][ATTENTION_MAX_HEAD];
    float    sums[ATTENTION_MAX_ROWS][ATTENTION_MAX_HEAD];
    float    scores[ATTENTION_MAX_ROWS][ATTENTION_TILE];
    float    keys[ATTENTION_MAX_HEAD * ATTENTION_TILE];
    float    values[ATTENTION_TILE * ATTENTION_MAX_HEAD];
    uint64_t seen[ATTENTION_MAX_ROWS];
    float    highest[ATTENTION_MAX_ROWS];
    float    total[ATTENTION_MAX_ROWS];
};

// A block: the tokens [first, first + n_tokens) of one sequence, or of several that share a KV cache, and the query
// heads of one key head. n_tokens times the query heads of a key head is at most ATTENTION_MAX_ROWS.
struct attention_block {
    ggml_tensor *          op;
    float                  scale;
    const attention_tile * tiles;
    int64_t                n_tiles;
    int64_t                stream;  // llama.cpp's word for a part of a split KV cache
    int64_t                key_head;
    int64_t                first;   // token
    int                    n_tokens;
};

// Computes one block and writes it into the operation's result. All kernels give the same bits, and those of a token
// depend only on the token's own cells, in the order of the tiles: not on where they are, nor on the block's other tokens.
using attention_kernel = void (*)(const attention_block & block, attention_workspace & w);

void attention_avx2(const attention_block & block, attention_workspace & w);
void attention_avx512(const attention_block & block, attention_workspace & w);

}  // namespace lb
