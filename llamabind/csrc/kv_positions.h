// The positions of a context's KV cells, read from llama.cpp's caches: its C interface does not have them.

#pragma once

#include "llama.h"

#include "ggml.h"

#include <cstdint>
#include <vector>

class llama_kv_cache;

namespace lb {

// The position of each of a stream's first n cells, -1 if the cell is empty, and the order of the cells that are used:
// by position, then (images of M-RoPE models repeat a position) from top to bottom and from left to right.
struct cell_positions {
    std::vector<int32_t> position;
    int32_t              highest = -1;

    const std::vector<int32_t> & order();

    // Private to kv_positions.cpp.
    const void *         cells = nullptr;
    std::vector<int32_t> sorted;
    bool                 is_sorted = false;
};

// Finds the KV cache that a tensor of keys belongs to.
class kv_caches {
  public:
    // Empty for a context without a cache, and for kinds of caches that this file does not know.
    void find(const llama_context * ctx);

    // The cache whose storage `root` is, or nullptr.
    const llama_kv_cache * find(const ggml_tensor * root) const;

  private:
    struct layer {
        const ggml_tensor *    keys;
        const llama_kv_cache * cache;
    };
    std::vector<layer> layers;

    void add(const llama_kv_cache * cache);
};

void read_positions(const llama_kv_cache & cache, uint32_t stream, int64_t n_cells, cell_positions & found);

}  // namespace lb
