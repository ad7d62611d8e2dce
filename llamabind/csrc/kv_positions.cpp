// Uses llama.cpp's internal headers: the bindings and llama.cpp are built from the same pinned source.

#include "kv_positions.h"

#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-memory-hybrid.h"

#include <algorithm>
#include <tuple>

namespace lb {

const std::vector<int32_t> & cell_positions::order() {
    if (!is_sorted) {
        is_sorted = true;
        sorted.clear();
        for (size_t i = 0; i < position.size(); i++) {
            if (position[i] >= 0) {
                sorted.push_back(static_cast<int32_t>(i));
            }
        }
        const auto * known = static_cast<const llama_kv_cells *>(cells);
        const auto   key   = [&](int32_t i) {
            const llama_kv_cell_ext ext = known != nullptr ? known->ext_get(i) : llama_kv_cell_ext();
            return std::make_tuple(position[i], ext.y, ext.x, i);
        };
        std::sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
    }
    return sorted;
}

void kv_caches::add(const llama_kv_cache * cache) {
    if (cache != nullptr) {
        for (const uint32_t layer_id : cache->get_layer_ids()) {
            layers.push_back({ cache->get_k_storage(static_cast<int32_t>(layer_id)), cache });
        }
    }
}

void kv_caches::find(const llama_context * ctx) {
    layers.clear();
    const auto add_both = [this](const llama_kv_cache_iswa * both) {
        add(both->get_base());
        add(both->get_swa());
    };
    const llama_memory_i * memory = llama_get_memory(ctx);
    if (const auto * cache = dynamic_cast<const llama_kv_cache *>(memory)) {
        add(cache);
    } else if (const auto * both = dynamic_cast<const llama_kv_cache_iswa *>(memory)) {
        add_both(both);
    } else if (const auto * hybrid = dynamic_cast<const llama_memory_hybrid *>(memory)) {
        add(hybrid->get_mem_attn());
    } else if (const auto * hybrid_both = dynamic_cast<const llama_memory_hybrid_iswa *>(memory)) {
        add_both(hybrid_both->get_mem_attn());
    }
}

const llama_kv_cache * kv_caches::find(const ggml_tensor * root) const {
    for (const layer & one : layers) {
        if (one.keys == root) {
            return one.cache;
        }
    }
    return nullptr;
}

void read_positions(const llama_kv_cache & cache, uint32_t stream, int64_t n_cells, cell_positions & found) {
    // In a split cache each sequence has a stream; in a unified cache all have the same one.
    llama_seq_id seq_id = 0;
    while (cache.get_stream(seq_id) != stream) {
        seq_id++;
    }
    const llama_kv_cells & cells = cache.get_cells(seq_id);
    found.cells                  = &cells;
    found.is_sorted              = false;
    found.highest                = -1;
    found.position.resize(n_cells);
    for (int64_t i = 0; i < n_cells; i++) {
        const auto index  = static_cast<uint32_t>(i);
        found.position[i] = cells.is_empty(index) ? -1 : cells.pos_get(index);
        found.highest     = std::max(found.highest, found.position[i]);
    }
}

}  // namespace lb
