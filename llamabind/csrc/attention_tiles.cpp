#include "attention_tiles.h"

#include <algorithm>
#include <cstring>

namespace lb {

namespace {

constexpr int64_t  TILE   = ATTENTION_TILE;
constexpr uint16_t HIDDEN = 0xFC00;  // -infinity

// Above this position the tiles are numbered by rank instead, since a table has an entry for each tile.
constexpr int32_t MOST_POSITIONS = 1 << 24;

template <typename T> void reserve_at_least(std::vector<T> & v, size_t n) {
    if (v.size() < n) {
        v.resize(n);
    }
}

bool are_equal(const int32_t * a, const int32_t * b, uint64_t where) {
    if (where == ~uint64_t{ 0 }) {
        return std::memcmp(a, b, sizeof(int32_t) * TILE) == 0;
    }
    bool are = true;
    for (int64_t i = 0; i < TILE; i++) {
        are &= ((where >> i) & 1) == 0 || a[i] == b[i];
    }
    return are;
}

// Calls visit(cell) for each cell that the row of a mask shows. False if a value is neither 0 nor -infinity.
template <typename F> bool for_each_seen(const ggml_fp16_t * row, int64_t n_cells, F && visit) {
    constexpr uint64_t ALL_HIDDEN = 0xFC00FC00FC00FC00;
    bool               is_plain   = true;
    for (int64_t c = 0; c < n_cells; c += 4) {
        uint64_t four;
        std::memcpy(&four, row + c, sizeof(four));
        if (four == ALL_HIDDEN) {
            continue;
        }
        for (int64_t i = c; i < std::min(c + 4, n_cells); i++) {
            if (row[i] != HIDDEN) {
                is_plain &= (row[i] & 0x7FFF) == 0;
                visit(static_cast<int32_t>(i));
            }
        }
    }
    return is_plain;
}

}  // namespace

// False if the token sees another cell at the same place already.
bool stream_tiles::see(int64_t token, int32_t key, int32_t cell) {
    const int32_t  number = key / ATTENTION_TILE;
    const uint64_t bit    = uint64_t{ 1 } << (key % ATTENTION_TILE);
    view &         v      = views[number];
    if (v.token != token) {
        v.token = token;
        v.seen  = 0;
        touched.push_back(number);
    }
    const bool is_new             = (v.seen & bit) == 0;
    v.seen                       |= bit;
    v.cells[key % ATTENTION_TILE] = cell;
    return is_new;
}

bool stream_tiles::view_by_position(const ggml_fp16_t * row, int64_t token, const cell_positions & positions,
                                    bool & is_unique) {
    const int64_t n_cells = static_cast<int64_t>(positions.position.size());
    return for_each_seen(row, n_cells, [&](int32_t cell) {
        const int32_t position = positions.position[cell];
        is_unique              = position >= 0 && see(token, position, cell) && is_unique;
    });
}

// Numbers the cells that a token sees from 0, in the order of positions.
void stream_tiles::view_by_rank(const ggml_fp16_t * row, int64_t token, cell_positions & positions) {
    for (const int32_t number : touched) {
        views[number].token = -1;
    }
    touched.clear();
    int32_t rank = 0;
    for (const int32_t cell : positions.order()) {
        if (row[cell] != HIDDEN) {
            see(token, rank++, cell);
        }
    }
}

void stream_tiles::add_run(draft & to, int64_t token, uint64_t seen) {
    if (to.n_runs > 0) {
        attention_run & last = draft_runs[to.last_run].run;
        if (last.first + last.n_tokens == token && last.seen == seen) {
            last.n_tokens++;
            return;
        }
    }
    const auto index = static_cast<int32_t>(draft_runs.size());
    draft_runs.push_back({ { static_cast<int32_t>(token), 1, seen }, -1 });
    if (to.n_runs == 0) {
        to.first_run = index;
    } else {
        draft_runs[to.last_run].next = index;
    }
    to.last_run = index;
    to.n_runs++;
}

// Adds the current token to drafts with the same cells at the same places, and makes new ones where there are none.
void stream_tiles::add_views(int64_t token) {
    for (const int32_t number : touched) {
        const view & v     = views[number];
        int32_t      index = newest[number];
        while (index >= 0 && !are_equal(drafts[index].tile.cells, v.cells, drafts[index].filled & v.seen)) {
            index = drafts[index].previous;
        }
        if (index < 0) {
            draft made{};
            made.previous = newest[number];
            std::fill(made.tile.cells, made.tile.cells + TILE, -1);
            index          = static_cast<int32_t>(drafts.size());
            newest[number] = index;
            drafts.push_back(made);
        }
        draft & to = drafts[index];
        if ((v.seen & ~to.filled) != 0) {
            for (int64_t i = 0; i < TILE; i++) {
                to.tile.cells[i] = ((v.seen >> i) & 1) != 0 ? v.cells[i] : to.tile.cells[i];
            }
            to.filled |= v.seen;
        }
        add_run(to, token, v.seen);
    }
    touched.clear();
}

// Puts the drafts in the order of positions.
void stream_tiles::flatten() {
    tiles.clear();
    runs.clear();
    runs.reserve(draft_runs.size());  // the tiles point into it
    for (const int32_t last : newest) {
        for (int32_t index = last; index >= 0; index = drafts[index].previous) {
            draft & from     = drafts[index];
            from.tile.runs   = runs.data() + runs.size();
            from.tile.n_runs = from.n_runs;
            for (int32_t i = from.first_run; i >= 0; i = draft_runs[i].next) {
                runs.push_back(draft_runs[i].run);
            }
            tiles.push_back(from.tile);
        }
    }
}

bool stream_tiles::build(const ggml_tensor & mask, int64_t mask_stream, int64_t n_tokens, cell_positions & positions) {
    const bool    is_near   = positions.highest < MOST_POSITIONS;
    const int64_t n_cells   = static_cast<int64_t>(positions.position.size());
    const int64_t n_numbers = (std::max<int64_t>(is_near ? positions.highest + 1 : 0, n_cells) + TILE - 1) / TILE;
    drafts.clear();
    draft_runs.clear();
    newest.assign(n_numbers, -1);
    reserve_at_least(views, n_numbers);
    for (view & one : views) {
        one.token = -1;
    }
    bool is_plain = true;
    for (int64_t token = 0; token < n_tokens; token++) {
        const auto * row = reinterpret_cast<const ggml_fp16_t *>(static_cast<const char *>(mask.data) +
                                                                 token * mask.nb[1] + mask_stream * mask.nb[3]);
        bool is_unique = is_near;
        if (is_near) {
            is_plain &= view_by_position(row, token, positions, is_unique);
        }
        if (!is_unique) {
            view_by_rank(row, token, positions);
        }
        add_views(token);
    }
    flatten();
    return is_plain;
}

bool tile_plan::source::operator==(const source & other) const {
    return mask == other.mask && cache == other.cache && first_stream == other.first_stream &&
           n_cells == other.n_cells && n_tokens == other.n_tokens && is_computed == other.is_computed;
}

tile_plan::source tile_plan::source_of(const ggml_tensor * op, const kv_caches & caches) {
    const ggml_tensor * k     = op->src[1];
    const ggml_tensor * root  = k->view_src != nullptr ? k->view_src : k;
    source              found = { op->src[3], caches.find(root), 0, k->ne[1], op->src[0]->ne[1], root->op != GGML_OP_NONE };
    if (found.cache != nullptr) {
        const auto offset  = static_cast<const char *>(k->data) - static_cast<const char *>(root->data);
        found.first_stream = offset / static_cast<int64_t>(root->nb[2]);
    }
    return found;
}

bool tile_plan::serves(const ggml_tensor * op, const kv_caches & caches) const {
    return from == source_of(op, caches);
}

namespace {

// Without a cache the cells are the batch's tokens: a sequence's are consecutive, and counted from its first one.
void count_from_first(const ggml_tensor & mask, int64_t mask_stream, int64_t n_tokens, int64_t n_cells,
                      cell_positions & found) {
    std::vector<int32_t> first(n_cells);  // of each cell, the lowest cell that is seen together with it
    for (int64_t i = 0; i < n_cells; i++) {
        first[i] = static_cast<int32_t>(i);
    }
    for (int64_t token = 0; token < n_tokens; token++) {
        const auto * row = reinterpret_cast<const ggml_fp16_t *>(static_cast<const char *>(mask.data) +
                                                                 token * mask.nb[1] + mask_stream * mask.nb[3]);
        int32_t lowest = -1, last = -1;
        for_each_seen(row, n_cells, [&](int32_t cell) {
            lowest = lowest < 0 ? cell : lowest;
            last   = cell;
        });
        if (last >= 0) {
            first[last] = std::min(first[last], lowest);
        }
    }
    found.cells     = nullptr;
    found.is_sorted = false;
    found.highest   = -1;
    found.position.resize(n_cells);
    // From the last cell down: a cell belongs to the sequence of a cell above it that is seen together with one below it.
    int32_t start = INT32_MAX;
    for (int64_t i = n_cells - 1; i >= 0; i--) {
        start             = std::min(start, first[i]);
        found.position[i] = static_cast<int32_t>(i) - start;
        found.highest     = std::max(found.highest, found.position[i]);
        if (start == i) {
            start = INT32_MAX;
        }
    }
}

}  // namespace

bool tile_plan::build(const ggml_tensor * op, const kv_caches & caches) {
    from                     = source_of(op, caches);
    const ggml_tensor & mask = *from.mask;
    const int64_t       n    = op->src[0]->ne[3];
    while (static_cast<int64_t>(streams.size()) < n) {
        streams.push_back(std::make_unique<stream_tiles>());
    }
    bool is_plain = true;
    for (int64_t stream = 0; stream < n; stream++) {
        const int64_t mask_stream = stream % mask.ne[3];
        if (from.cache != nullptr) {
            read_positions(*from.cache, static_cast<uint32_t>(from.first_stream + stream), from.n_cells, positions);
        } else if (from.is_computed) {
            count_from_first(mask, mask_stream, from.n_tokens, from.n_cells, positions);
        } else {
            // A kind of cache that is not known here: in the order of cells.
            positions.cells     = nullptr;
            positions.is_sorted = false;
            positions.position.resize(from.n_cells);
            for (int64_t i = 0; i < from.n_cells; i++) {
                positions.position[i] = static_cast<int32_t>(i);
            }
            positions.highest = static_cast<int32_t>(from.n_cells) - 1;
        }
        is_plain &= streams[stream]->build(mask, mask_stream, from.n_tokens, positions);
    }
    return is_plain;
}

}  // namespace lb
