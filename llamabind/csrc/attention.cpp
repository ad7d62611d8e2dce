// Attention on a CPU with AVX2, in place of ggml's.
//
// ggml-cpu computes fewer than 64 tokens one by one, and 64 in a tile that walks all cells which any of them sees. Where
// many sequences share a cache both cost more than all the rest of a step. Here the cells are walked in tiles, too, but
// for each tile only the tokens that see any of it are computed, all query heads of a key head together; so sequences
// that share cells share the work of reading them, and those that do not cost each other nothing. What a token gets does
// not depend, not by a bit, on who is computed beside it; so a token alone is computed here as well.
//
// llama.cpp calls an evaluation callback for every node of a graph before the graph is computed. Ours makes a
// GGML_OP_CUSTOM, which ggml's own threads then compute, of each GGML_OP_FLASH_ATTN_EXT that it understands.

#include "internal.h"

#include "ggml-backend.h"
#include "ggml.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>

namespace {

constexpr int TILE     = 64;   // cells
constexpr int MAX_ROWS = 64;   // query vectors that walk the cells together
constexpr int MAX_HEAD = 256;  // floats in a query vector
constexpr int PARTS    = 4;    // of the work, per thread: some take longer, and so do some threads

// What an operation of ours needs beside its sources; at the end of its op_params, of which ggml uses the beginning.
struct job {
    float                scale;
    std::atomic<int32_t> next;
};

job * job_of(ggml_tensor * op) {
    return reinterpret_cast<job *>(reinterpret_cast<char *>(op->op_params) + GGML_MAX_OP_PARAMS - sizeof(job));
}

// ---- vectors of 8 floats --------------------------------------------------------------------------------------

__m256 load_half(const ggml_fp16_t * from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
}

// e^x, right to some 1e-7 of it, for x <= 0; 0 below -87, NaN of NaN.
__m256 exp_of(__m256 x) {
    const __m256 low     = _mm256_set1_ps(-87.0F);
    const __m256 is_zero = _mm256_cmp_ps(x, low, _CMP_LT_OQ);
    x                    = _mm256_max_ps(low, x);  // the second where one is NaN
    const __m256 n       = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504F)),
                                           _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // ln 2 in two parts, so that r is exact.
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), x);
    r        = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);
    __m256 p = _mm256_set1_ps(1.0F / 720);
    p        = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 120));
    p        = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 24));
    p        = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 6));
    p        = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5F));
    p        = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    p        = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(is_zero, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
}

float max_of(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m        = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

float sum_of(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s        = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

void transpose(__m256 v[8]) {
    __m256 a[8];
    for (int i = 0; i < 8; i += 2) {
        a[i]     = _mm256_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    __m256 b[8];
    for (int i = 0; i < 8; i += 4) {
        b[i]     = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        v[i]     = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

// c[r][0..n) (+)= sum over k of a[r][k] * b[k * n + ...] for R rows; n is a multiple of 16.
template <int R>
void multiply(const float * const * a, const float * b, int n_k, int n, float * const * c, bool adds) {
    for (int j = 0; j < n; j += 16) {
        __m256 low[R], high[R];
        for (int r = 0; r < R; r++) {
            low[r]  = adds ? _mm256_loadu_ps(c[r] + j) : _mm256_setzero_ps();
            high[r] = adds ? _mm256_loadu_ps(c[r] + j + 8) : _mm256_setzero_ps();
        }
        for (int k = 0; k < n_k; k++) {
            const __m256 b_low  = _mm256_loadu_ps(b + k * n + j);
            const __m256 b_high = _mm256_loadu_ps(b + k * n + j + 8);
            for (int r = 0; r < R; r++) {
                const __m256 factor = _mm256_broadcast_ss(a[r] + k);
                low[r]              = _mm256_fmadd_ps(factor, b_low, low[r]);
                high[r]             = _mm256_fmadd_ps(factor, b_high, high[r]);
            }
        }
        for (int r = 0; r < R; r++) {
            _mm256_storeu_ps(c[r] + j, low[r]);
            _mm256_storeu_ps(c[r] + j + 8, high[r]);
        }
    }
}

void multiply_rows(const float * const * a, const float * b, int n_k, int n, float * const * c, int n_rows, bool adds) {
    int r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        multiply<4>(a + r, b, n_k, n, c + r, adds);
    }
    switch (n_rows - r) {
        case 3: multiply<3>(a + r, b, n_k, n, c + r, adds); break;
        case 2: multiply<2>(a + r, b, n_k, n, c + r, adds); break;
        case 1: multiply<1>(a + r, b, n_k, n, c + r, adds); break;
        default: break;
    }
}

// ---- the operation --------------------------------------------------------------------------------------------

template <typename T> const T * at(const ggml_tensor * t, int64_t i1, int64_t i2, int64_t i3) {
    return reinterpret_cast<const T *>(static_cast<const char *>(t->data) + i1 * t->nb[1] + i2 * t->nb[2] +
                                       i3 * t->nb[3]);
}

// What a thread computes with: query vectors, scores, sums of values, and a tile of keys (transposed) and of values.
struct workspace {
    float queries[MAX_ROWS][MAX_HEAD];
    float sums[MAX_ROWS][MAX_HEAD];
    float scores[MAX_ROWS][TILE];
    float keys[MAX_HEAD * TILE];
    float values[TILE * MAX_HEAD];
    float mask[MAX_ROWS][TILE];
    float highest[MAX_ROWS];
    float total[MAX_ROWS];
};

// Some tokens of a sequence (or of several that share a cache), and the query heads of one key head.
class block {
  public:
    block(ggml_tensor * op, workspace & w, int64_t stream, int64_t key_head, int64_t first, int n_tokens) :
        op(op), q(op->src[0]), k(op->src[1]), v(op->src[2]), mask(op->src[3]), w(w), stream(stream),
        key_head(key_head), first(first), n_tokens(n_tokens), n_group(static_cast<int>(q->ne[2] / k->ne[2])),
        n_head(static_cast<int>(q->ne[0])) {}

    void compute() {
        load_queries();
        for (int64_t cell = 0; cell < k->ne[1]; cell += TILE) {
            if (see(cell)) {
                load_cells(cell);
                attend();
            }
        }
        store();
    }

  private:
    ggml_tensor *       op;
    const ggml_tensor * q;
    const ggml_tensor * k;
    const ggml_tensor * v;
    const ggml_tensor * mask;
    workspace &         w;
    int64_t             stream;
    int64_t             key_head;
    int64_t             first;
    int                 n_tokens;
    int                 n_group;
    int                 n_head;
    // The tokens that see something of the tile.
    int  n_seeing = 0;
    int  seeing[MAX_ROWS];
    bool are_finite = true;  // the values of the tile

    void load_queries() {
        const __m256 scale = _mm256_set1_ps(job_of(op)->scale);
        for (int row = 0; row < n_tokens * n_group; row++) {
            const float * from = at<float>(q, first + row / n_group, key_head * n_group + row % n_group, stream);
            for (int i = 0; i < n_head; i += 8) {
                _mm256_storeu_ps(w.queries[row] + i, _mm256_mul_ps(scale, _mm256_loadu_ps(from + i)));
            }
            std::fill_n(w.sums[row], n_head, 0.0F);
            w.highest[row] = -INFINITY;
            w.total[row]   = 0;
        }
    }

    // Find who sees the cells from `cell` on, and load their masks.
    bool see(int64_t cell) {
        n_seeing = 0;
        const __m256i hidden = _mm256_set1_epi16(static_cast<int16_t>(0xFC00));  // -infinity
        for (int token = 0; token < n_tokens; token++) {
            const ggml_fp16_t * row = at<ggml_fp16_t>(mask, first + token, 0, stream % mask->ne[3]) + cell;
            __m256i             all = _mm256_set1_epi16(-1);
            for (int i = 0; i < TILE; i += 16) {
                const __m256i part = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i));
                all                = _mm256_and_si256(all, _mm256_cmpeq_epi16(part, hidden));
            }
            if (_mm256_movemask_epi8(all) != -1) {
                for (int i = 0; i < TILE; i += 8) {
                    _mm256_storeu_ps(w.mask[n_seeing] + i, load_half(row + i));
                }
                seeing[n_seeing++] = token;
            }
        }
        return n_seeing > 0;
    }

    void load_cells(int64_t cell) {
        for (int c = 0; c < TILE; c += 8) {
            const ggml_fp16_t * rows[8];
            for (int i = 0; i < 8; i++) {
                rows[i] = at<ggml_fp16_t>(k, cell + c + i, key_head, stream);
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
            const ggml_fp16_t * row = at<ggml_fp16_t>(v, cell + c, key_head, stream);
            for (int d = 0; d < n_head; d += 8) {
                const __m256 part = load_half(row + d);
                _mm256_storeu_ps(w.values + c * n_head + d, part);
                zero = _mm256_fmadd_ps(part, _mm256_setzero_ps(), zero);
            }
        }
        // Infinity and NaN times 0 are NaN, which is equal to nothing.
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
            weigh(scores[i], w.mask[i / n_group], seeing[i / n_group] * n_group + i % n_group);
        }
        if (are_finite) {
            multiply_rows(weights, w.values, TILE, n_head, sums, n_rows, true);
        } else {
            add_seen_values(weights, sums, n_rows);
        }
    }

    // Sequences that share a cache must not see each other's infinities: 0 times infinity is not 0.
    void add_seen_values(const float * const * weights, float * const * sums, int n_rows) {
        for (int row = 0; row < n_rows; row++) {
            for (int c = 0; c < TILE; c++) {
                for (int d = 0; d < n_head && weights[row][c] != 0; d++) {
                    sums[row][d] += weights[row][c] * w.values[c * n_head + d];
                }
            }
        }
    }

    // Make weights of scores, relative to the highest so far; what was summed up before is scaled to a new highest.
    void weigh(float * scores, const float * mask_row, int row) {
        __m256 best = _mm256_set1_ps(-INFINITY);
        for (int i = 0; i < TILE; i += 8) {
            const __m256 hiding = _mm256_loadu_ps(mask_row + i);
            const __m256 none   = _mm256_set1_ps(-INFINITY);
            // Whatever the score of a hidden cell is, NaN too.
            const __m256 score = _mm256_blendv_ps(_mm256_add_ps(_mm256_loadu_ps(scores + i), hiding), none,
                                                  _mm256_cmp_ps(hiding, none, _CMP_EQ_OQ));
            _mm256_storeu_ps(scores + i, score);
            best = _mm256_max_ps(best, score);
        }
        const float highest = std::max(w.highest[row], max_of(best));
        if (highest > w.highest[row] && w.total[row] > 0) {
            const float  factor  = std::exp(w.highest[row] - highest);
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

    void store() {
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

// ggml_custom_op_t
void compute(ggml_tensor * op, int /*ith*/, int nth, void * /*userdata*/) {
    static thread_local std::unique_ptr<workspace> w(new (std::nothrow) workspace);
    if (w == nullptr) {
        GGML_ABORT("no memory to compute attention with");
    }

    const ggml_tensor * q = op->src[0];
    const int64_t n_tokens = q->ne[1], n_key_heads = op->src[1]->ne[2], n_streams = q->ne[3];
    const int64_t n_most   = std::max<int64_t>(1, MAX_ROWS / (q->ne[2] / n_key_heads));
    const int64_t n_parts  = std::max<int64_t>(1, PARTS * nth / (n_key_heads * n_streams));
    const int64_t n        = std::min(n_most, (n_tokens + n_parts - 1) / n_parts);
    const int64_t n_blocks = (n_tokens + n - 1) / n;
    const int64_t n_items  = n_blocks * n_key_heads * n_streams;

    // The last tokens see most, so they come first and the short ones fill the gaps.
    for (int64_t item = job_of(op)->next++; item < n_items; item = job_of(op)->next++) {
        const int64_t index = n_blocks - 1 - item / (n_key_heads * n_streams);
        const int64_t which = item % (n_key_heads * n_streams);
        const int64_t first = index * n;
        block(op, *w, which / n_key_heads, which % n_key_heads, first,
              static_cast<int>(std::min(n, n_tokens - first)))
            .compute();
    }
}

bool is_in_host_memory(const ggml_tensor * t) {
    const ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
    return buffer != nullptr && ggml_backend_buffer_is_host(buffer);
}

bool is_understood(const ggml_tensor * op) {
    const ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    float              params[3];  // scale, largest ALiBi slope, soft cap
    std::memcpy(params, op->op_params, sizeof(params));
    return mask != nullptr && op->src[4] == nullptr && params[1] == 0 && params[2] == 0 &&
           q->type == GGML_TYPE_F32 && k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 &&
           mask->type == GGML_TYPE_F16 && mask->ne[2] == 1 && q->ne[3] == k->ne[3] && q->ne[3] == v->ne[3] &&
           k->ne[2] == v->ne[2] && k->ne[1] == v->ne[1] && k->ne[0] == q->ne[0] && mask->ne[0] >= k->ne[1] &&
           mask->ne[1] >= q->ne[1] && q->ne[0] == v->ne[0] && q->ne[0] % 16 == 0 && q->ne[0] <= MAX_HEAD &&
           q->ne[2] % k->ne[2] == 0 && q->ne[2] / k->ne[2] <= MAX_ROWS && k->ne[1] % TILE == 0 &&
           q->nb[0] == sizeof(float) && k->nb[0] == sizeof(ggml_fp16_t) && v->nb[0] == sizeof(ggml_fp16_t) &&
           mask->nb[0] == sizeof(ggml_fp16_t) && is_in_host_memory(op) && is_in_host_memory(q) &&
           is_in_host_memory(k) && is_in_host_memory(v) && is_in_host_memory(mask);
}

// An operation of ours as ggml makes it, to be copied.
const ggml_tensor & pattern() {
    static const ggml_tensor made = [] {
        ggml_context * ctx = ggml_init({ ggml_tensor_overhead() * 4, nullptr, true });
        ggml_tensor    copy = *ggml_custom_4d(ctx, GGML_TYPE_F32, 1, 1, 1, 1, nullptr, 0, compute, GGML_N_TASKS_MAX, nullptr);
        ggml_free(ctx);
        return copy;
    }();
    return made;
}

constexpr size_t N_OWN = GGML_MAX_OP_PARAMS - sizeof(job);

// ggml_backend_sched_eval_callback
bool take_over(ggml_tensor * op, bool ask, void * /*user_data*/) {
    if (ask && op->op == GGML_OP_FLASH_ATTN_EXT && is_understood(op)) {
        float scale;
        std::memcpy(&scale, op->op_params, sizeof(scale));
        op->op = GGML_OP_CUSTOM;
        std::memcpy(op->op_params, pattern().op_params, N_OWN);
        new (job_of(op)) job{ scale, { 0 } };
    } else if (ask && op->op == GGML_OP_CUSTOM && std::memcmp(op->op_params, pattern().op_params, N_OWN) == 0) {
        job_of(op)->next = 0;  // a graph that is used again
    }
    return !ask;
}

}  // namespace

extern "C" bool lb_use_attention(llama_context_params * cparams) {
    cparams->cb_eval           = take_over;
    cparams->cb_eval_user_data = nullptr;
    return true;
}

#else

extern "C" bool lb_use_attention(llama_context_params * /*cparams*/) {
    return false;
}

#endif
