// Computes the attention of one block with vector instructions. attention_avx2.cpp and attention_avx512.cpp include it after
// they define LB_ATTENTION_KERNEL, the function's name.
//
// The kernels must give the same bits. Products are summed with fused multiply-adds in the order of a tile's cells, which
// does not depend on a vector's width; every other sum has 8 lanes; and the files are compiled with -ffp-contract=off, since the
// compiler might fuse an operation in one kernel and not in the other.
// This file does not use the C++ library; attention.h gives the reason.

#include "attention.h"
#include "attention_vectors.h"

namespace {

constexpr int TILE     = lb::ATTENTION_TILE;
constexpr int MAX_ROWS = lb::ATTENTION_MAX_ROWS;

template <typename T> const T * at(const ggml_tensor * t, int64_t i1, int64_t i2, int64_t i3) {
    return reinterpret_cast<const T *>(static_cast<const char *>(t->data) + i1 * t->nb[1] + i2 * t->nb[2] +
                                       i3 * t->nb[3]);
}

class computation {
  public:
    computation(const lb::attention_block & block, lb::attention_workspace & w) :
        op(block.op), q(op->src[0]), k(op->src[1]), v(op->src[2]), w(w), tiles(block.tiles), n_tiles(block.n_tiles),
        scale(block.scale), stream(block.stream), key_head(block.key_head), first(block.first), n_tokens(block.n_tokens),
        n_group(static_cast<int>(q->ne[2] / k->ne[2])), n_head(static_cast<int>(q->ne[0])) {}

    void run() {
        load_queries();
        for (int64_t i = 0; i < n_tiles; i++) {
            if (find_seeing(tiles[i])) {
                load_cells(tiles[i].cells);
                attend();
            }
        }
        store_result();
    }

  private:
    ggml_tensor *             op;
    const ggml_tensor *       q;
    const ggml_tensor *       k;
    const ggml_tensor *       v;
    lb::attention_workspace & w;
    const lb::attention_tile * tiles;
    int64_t                   n_tiles;
    float                     scale;
    int64_t                   stream;
    int64_t                   key_head;
    int64_t                   first;
    int                       n_tokens;
    int                       n_group;  // query heads of a key head
    int                       n_head;   // floats in a head
    // The tokens that attend to at least one cell of the tile.
    int  n_seeing = 0;
    int  seeing[MAX_ROWS];
    bool are_finite = true;  // all values (V) of the tile

    void load_queries() {
        const __m256 scale8 = _mm256_set1_ps(scale);
        for (int row = 0; row < n_tokens * n_group; row++) {
            const float * from = at<float>(q, first + row / n_group, key_head * n_group + row % n_group, stream);
            for (int i = 0; i < n_head; i += 8) {
                _mm256_storeu_ps(w.queries[row] + i, _mm256_mul_ps(scale8, _mm256_loadu_ps(from + i)));
            }
            for (int i = 0; i < n_head; i += 8) {
                _mm256_storeu_ps(w.sums[row] + i, _mm256_setzero_ps());
            }
            w.highest[row] = -INFINITY;
            w.total[row]   = 0;
        }
    }

    // Finds the block's tokens that attend to a cell of the tile, and those cells. False if there are none.
    bool find_seeing(const lb::attention_tile & tile) {
        n_seeing          = 0;
        const int64_t end = first + n_tokens;
        for (int64_t i = 0; i < tile.n_runs && tile.runs[i].first < end; i++) {
            const lb::attention_run & run      = tile.runs[i];
            const int64_t             run_end  = run.first + run.n_tokens;
            const int64_t             last_end = run_end < end ? run_end : end;
            for (int64_t token = run.first > first ? run.first : first; token < last_end; token++) {
                w.seen[n_seeing]   = run.seen;
                seeing[n_seeing++] = static_cast<int>(token - first);
            }
        }
        return n_seeing > 0;
    }

    void load_cells(const int32_t * cells) {
        static const ggml_fp16_t none[lb::ATTENTION_MAX_HEAD] = {};
        for (int c = 0; c < TILE; c += 8) {
            const ggml_fp16_t * rows[8];
            for (int i = 0; i < 8; i++) {
                rows[i] = cells[c + i] < 0 ? none : at<ggml_fp16_t>(k, cells[c + i], key_head, stream);
            }
            for (int d = 0; d < n_head; d += 8) {
                __m256 part[8];
                for (int i = 0; i < 8; i++) {
                    part[i] = load_half(rows[i] + d);
                }
                transpose(part);
                for (int i = 0; i < 8; i++) {
                    _mm256_storeu_ps(w.keys + (d + i) * TILE + c, part[i]);
                }
            }
        }
        __m256 zero = _mm256_setzero_ps();
        for (int c = 0; c < TILE; c++) {
            const ggml_fp16_t * row = cells[c] < 0 ? none : at<ggml_fp16_t>(v, cells[c], key_head, stream);
            for (int d = 0; d < n_head; d += 8) {
                const __m256 part = load_half(row + d);
                _mm256_storeu_ps(w.values + c * n_head + d, part);
                zero = _mm256_fmadd_ps(part, _mm256_setzero_ps(), zero);
            }
        }
        // Infinity or NaN times 0 is NaN, which does not equal itself.
        are_finite = _mm256_movemask_ps(_mm256_cmp_ps(zero, zero, _CMP_EQ_OQ)) == 0xFF;
    }

    void attend() {
        const float * queries[MAX_ROWS];
        const float * weights[MAX_ROWS];
        float *       scores[MAX_ROWS];
        float *       sums[MAX_ROWS];
        const int     n_rows = n_seeing * n_group;
        for (int i = 0; i < n_rows; i++) {
            const int row = seeing[i / n_group] * n_group + i % n_group;
            queries[i]    = w.queries[row];
            weights[i] = scores[i] = w.scores[i];
            sums[i]                = w.sums[row];
        }
        multiply_rows(queries, w.keys, n_head, TILE, scores, n_rows, false);
        for (int i = 0; i < n_rows; i++) {
            weigh(scores[i], w.seen[i / n_group], seeing[i / n_group] * n_group + i % n_group);
        }
        if (are_finite) {
            multiply_rows(weights, w.values, TILE, n_head, sums, n_rows, true);
        } else {
            add_seen_values(weights, sums, n_rows);
        }
    }

    // The same sums in the same order without the masked cells: 0 times infinity is NaN, so an infinity of one sequence
    // would change the results of others in the same cache.
    void add_seen_values(const float * const * weights, float * const * sums, int n_rows) {
        for (int row = 0; row < n_rows; row++) {
            for (int c = 0; c < TILE; c++) {
                for (int d = 0; d < n_head && weights[row][c] != 0; d++) {
                    sums[row][d] = fmaf(weights[row][c], w.values[c * n_head + d], sums[row][d]);
                }
            }
        }
    }

    // Turns scores into weights relative to the row's highest score. If the highest score grows, earlier sums are scaled.
    void weigh(float * scores, uint64_t seen, int row) {
        __m256        best = _mm256_set1_ps(-INFINITY);
        const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        for (int i = 0; i < TILE; i += 8) {
            const __m256i own     = _mm256_set1_epi32(static_cast<int>(seen >> i & 0xFF));
            const __m256i is_seen = _mm256_cmpeq_epi32(_mm256_and_si256(own, bits), bits);
            // The score of a masked cell is ignored, even if it is NaN.
            const __m256 score = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_loadu_ps(scores + i),
                                                  _mm256_castsi256_ps(is_seen));
            _mm256_storeu_ps(scores + i, score);
            best = _mm256_max_ps(best, score);
        }
        const float new_best = max_of(best);
        const float highest  = w.highest[row] < new_best ? new_best : w.highest[row];
        if (highest > w.highest[row] && w.total[row] > 0) {
            const float  factor  = expf(w.highest[row] - highest);
            const __m256 factors = _mm256_set1_ps(factor);
            for (int i = 0; i < n_head; i += 8) {
                _mm256_storeu_ps(w.sums[row] + i, _mm256_mul_ps(factors, _mm256_loadu_ps(w.sums[row] + i)));
            }
            w.total[row] *= factor;
        }
        w.highest[row]        = highest;
        __m256       total    = _mm256_setzero_ps();
        const __m256 highest8 = _mm256_set1_ps(highest);
        for (int i = 0; i < TILE; i += 8) {
            const __m256 weight = exp_of(_mm256_sub_ps(_mm256_loadu_ps(scores + i), highest8));
            _mm256_storeu_ps(scores + i, weight);
            total = _mm256_add_ps(total, weight);
        }
        w.total[row] += sum_of(total);
    }

    void store_result() {
        for (int row = 0; row < n_tokens * n_group; row++) {
            const int64_t head   = key_head * n_group + row % n_group;
            const int64_t token  = first + row / n_group;
            const float   factor = w.total[row] > 0 ? 1 / w.total[row] : 0;
            // Heads are the second dimension of the result, and tokens the third.
            float * to = const_cast<float *>(at<float>(op, head, token, stream));
            for (int i = 0; i < n_head; i += 8) {
                _mm256_storeu_ps(to + i, _mm256_mul_ps(_mm256_set1_ps(factor), _mm256_loadu_ps(w.sums[row] + i)));
            }
        }
    }
};

}  // namespace

void lb::LB_ATTENTION_KERNEL(const attention_block & block, attention_workspace & w) {
    computation(block, w).run();
}
