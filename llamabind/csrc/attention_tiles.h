// Which cells the attention kernels read together: tiles of a sequence's own tokens.
//
// A sum of floats depends on its order, so the tiles must not depend on where in the cache a sequence's cells are. A
// tile holds 64 consecutive positions, from a multiple of 64 on, wherever their cells are, and the kernels take each
// token's tiles in the order of positions. Tokens share a tile where their cells are the same, such as in the prefix
// that several sequences have in common.

#pragma once

#include "attention.h"
#include "kv_positions.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace lb {

// The tiles of one stream.
class stream_tiles {
  public:
    // Reads the masks of n_tokens tokens. False if a mask hides a cell in part only, as the kernels cannot compute.
    bool build(const ggml_tensor & mask, int64_t mask_stream, int64_t n_tokens, cell_positions & positions);

    const attention_tile * data() const { return tiles.data(); }
    int64_t                size() const { return static_cast<int64_t>(tiles.size()); }

  private:
    struct draft {
        attention_tile tile;
        uint64_t       filled;
        int32_t        previous;  // another draft for the same positions, -1 if it is the first
        int32_t        first_run, last_run;
        int32_t        n_runs;
    };
    struct draft_run {
        attention_run run;
        int32_t       next;
    };
    // One token's cells in a tile.
    struct view {
        int32_t  cells[ATTENTION_TILE];
        uint64_t seen  = 0;
        int64_t  token = -1;
    };

    std::vector<attention_tile> tiles;
    std::vector<attention_run>  runs;
    std::vector<draft>          drafts;
    std::vector<draft_run>      draft_runs;
    std::vector<int32_t>        newest;   // of each tile number, a draft or -1
    std::vector<view>           views;    // of each tile number
    std::vector<int32_t>        touched;  // tile numbers of the current token

    bool see(int64_t token, int32_t key, int32_t cell);
    bool view_by_position(const ggml_fp16_t * row, int64_t token, const cell_positions & positions, bool & is_unique);
    void view_by_rank(const ggml_fp16_t * row, int64_t token, cell_positions & positions);
    void add_views(int64_t token);
    void add_run(draft & to, int64_t token, uint64_t seen);
    void flatten();
};

// The tiles of all streams that an operation computes.
class tile_plan {
  public:
    // False if the kernels cannot compute the operation's attention.
    bool build(const ggml_tensor * op, const kv_caches & caches);

    const stream_tiles & of(int64_t stream) const { return *streams[stream]; }

    // Whether this plan serves that operation of the same graph, too.
    bool serves(const ggml_tensor * op, const kv_caches & caches) const;

  private:
    struct source {
        const ggml_tensor *    mask;
        const llama_kv_cache * cache;
        int64_t                first_stream, n_cells, n_tokens;
        bool                   is_computed;  // the keys are a result of the graph, as in a model without a cache

        bool operator==(const source & other) const;
    };
    source                                     from{};
    std::vector<std::unique_ptr<stream_tiles>> streams;
    cell_positions                             positions;

    static source source_of(const ggml_tensor * op, const kv_caches & caches);
};

}  // namespace lb
