// Multiplies quantised weights with vector instructions. panels_avx512.cpp, panels_avxvnni.cpp and panels_avx2.cpp include it
// after they define LB_PANEL_KERNELS, the name of what it defines.
//
// ggml multiplies each row of weights with each token, so every product reads both and adds up its own lanes. Here the
// blocks of some rows are first transposed into a *panel*: a vector holds 4 numbers of each of its rows, so an instruction
// multiplies them with 4 numbers of a token for all rows at once, no lanes are added up, and the panel serves all tokens.
//
// The integer sums of a block are exact, and a product adds its blocks in their order. So its bits depend neither on the other
// tokens nor on the width of the vectors.
// This file does not use the C++ library; attention.h gives the reason.

#include "panel_sums.h"
#include "panels.h"

namespace {

constexpr int64_t BLOCK    = lb::PANEL_BLOCK;
constexpr int     PANELS   = 2;          // panels that share the reading of a token's numbers
constexpr int     ROWS     = PANELS * WIDTH;
constexpr float   SMALLEST = 1e-30F;     // blocks below it are zero, since 127 / x could be infinite

// Blocks of WIDTH rows: of group g of a block, bytes [4 * r, 4 * r + 4) are numbers [4 * g, 4 * g + 4) of row r.
// It holds few blocks, so that many rows are read nearly in the order of memory.
struct alignas(64) panel {
    char  numbers[DEPTH][GROUPS][4 * WIDTH];
    float scales[2 * DEPTH][WIDTH];
    float minima[DEPTH][WIDTH];
};

// Transposes the blocks [first, first + n_blocks) of WIDTH rows. Fetches as many bytes from `next` on into the cache, in the
// order of memory, and the blocks behind these once more: of long rows the first level of the cache has lost them meanwhile.
template <typename Type>
void pack(const char * const * rows, int64_t first, int n_blocks, const char *& next, panel & to) {
    Type::scales(rows, first, n_blocks, to.scales, to.minima);
    for (int b = 0; b < n_blocks; b++) {
        constexpr int64_t BYTES = WIDTH * Type::BYTES * BLOCK / Type::BLOCK;
#pragma GCC unroll 16
        for (int64_t i = 0; i < BYTES; i += 64) {
            _mm_prefetch(next + i, _MM_HINT_T0);
        }
        next += BYTES;
        constexpr int64_t DEPTH_BYTES = DEPTH * Type::BYTES * BLOCK / Type::BLOCK;
        if (b * 64 < DEPTH_BYTES) {
#pragma GCC unroll 16
            for (int r = 0; r < WIDTH; r++) {
                _mm_prefetch(rows[r] + first * Type::BYTES * BLOCK / Type::BLOCK + DEPTH_BYTES + b * 64, _MM_HINT_T0);
            }
        }

        ints v[GROUPS];
#pragma GCC unroll 8
        for (int i = 0; i < GROUPS; i++) {
            v[i] = read_block<Type>(rows, i, first + b);
        }
        transpose(v);
#pragma GCC unroll 8
        for (int i = 0; i < GROUPS; i++) {
            store(to.numbers[b][i], v[i]);
        }
    }
}

// A quantised token, from block `first` on.
struct token {
    const char * numbers;
    const char * scales;
    const char * corrections;

    token(const char * input, int64_t n, int64_t first, int n_parts)
        : numbers(input + first * BLOCK), scales(input + n + first * 4),
          corrections(input + n + (n / BLOCK + first * n_parts) * 4) {}
};

// Adds the products of panels with N tokens, `stride` bytes apart, to `totals`.
// The pragmas unroll the loops over tokens and panels, so that their sums stay in registers.
template <typename Type, int N>
void multiply_panels(const panel * panels, int n_blocks, const token & first, int64_t stride, floats (*totals)[PANELS]) {
    floats total[N][PANELS];
#pragma GCC unroll 8
    for (int t = 0; t < N; t++) {
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) {
            total[t][p] = totals[t][p];
        }
    }
    for (int part = 0; part < n_blocks * Type::PARTS; part++) {
        constexpr int PART_GROUPS = GROUPS / Type::PARTS;
        const int     b           = part / Type::PARTS;
        const int     first_group = part % Type::PARTS * PART_GROUPS;
        row_sums<Type> sums[N][PANELS];
#pragma GCC unroll 8
        for (int t = 0; t < N; t++) {
            const int32_t start = HAS_BIAS<Type> ? read<int32_t>(first.corrections + t * stride + part * 4) : 0;
#pragma GCC unroll 2
            for (int p = 0; p < PANELS; p++) {
                sums[t][p] = row_sums<Type>(start);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < PART_GROUPS; i++) {
            const int g = first_group + i;
            // Of both panels: an array of them would not stay in registers.
            const row_numbers<Type> rows(panels[0].numbers[b][g]), more(panels[1].numbers[b][g]);
#pragma GCC unroll 8
            for (int t = 0; t < N; t++) {
                const ints numbers = spread(read<int32_t>(first.numbers + t * stride + b * BLOCK + g * 4));
                sums[t][0].add(i, rows, numbers);
                sums[t][1].add(i, more, numbers);
            }
        }
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) {
            const floats scale = load_floats(panels[p].scales[part]);
#pragma GCC unroll 8
            for (int t = 0; t < N; t++) {
                const floats both = multiply(scale, spread_float(read<float>(first.scales + t * stride + b * 4)));
                total[t][p]       = multiply_add(to_floats(sums[t][p].sums), both, total[t][p]);
            }
            if (Type::BIAS == 0) {
                const floats minimum = load_floats(panels[p].minima[b]);
#pragma GCC unroll 8
                for (int t = 0; t < N; t++) {
                    const floats sum = spread_float(read<float>(first.corrections + t * stride + b * 4));
                    total[t][p]      = multiply_add(minimum, sum, total[t][p]);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < N; t++) {
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) {
            totals[t][p] = total[t][p];
        }
    }
}

template <typename Type, int N>
void multiply_rest(int n, const panel * panels, int n_blocks, const token & first, int64_t stride, floats (*totals)[PANELS]) {
    if (n == N) {
        multiply_panels<Type, N>(panels, n_blocks, first, stride, totals);
    } else if constexpr (N > 1) {
        multiply_rest<Type, N - 1>(n, panels, n_blocks, first, stride, totals);
    }
}

// panel_format::multiply
template <typename Type> void multiply_slice(const lb::panel_slice & s) {
    panel  panels[PANELS];
    floats totals[lb::PANEL_INPUTS][PANELS];

    const int64_t n_blocks = s.n / BLOCK, stride = lb::panel_input_bytes(s.n);
    for (int64_t row = s.first; row < s.end; row += ROWS) {
        const int64_t n_rows = s.end - row < ROWS ? s.end - row : ROWS;
        const char *  rows[ROWS];
        for (int r = 0; r < ROWS; r++) {
            rows[r] = s.weights + (row + (r < n_rows ? r : n_rows - 1)) * s.row_bytes;
        }
        for (int t = 0; t < s.n_inputs; t++) {
            for (int p = 0; p < PANELS; p++) {
                totals[t][p] = no_floats();
            }
        }
        // The last rows fetch themselves once more, since another thread may compute the next ones.
        const char * next = row + ROWS < s.end ? rows[0] + ROWS * s.row_bytes : rows[0];
        for (int64_t b = 0; b < n_blocks; b += DEPTH) {
            const int depth = static_cast<int>(n_blocks - b < DEPTH ? n_blocks - b : DEPTH);
            for (int p = 0; p < PANELS; p++) {
                pack<Type>(rows + p * WIDTH, b, depth, next, panels[p]);
            }
            for (int t = 0; t < s.n_inputs; t += MOST) {
                const int n = s.n_inputs - t < MOST ? s.n_inputs - t : MOST;
                multiply_rest<Type, MOST>(n, panels, depth, token(s.inputs + t * stride, s.n, b, Type::PARTS), stride, totals + t);
            }
        }
        for (int t = 0; t < s.n_inputs; t++) {
            float result[ROWS];
            for (int p = 0; p < PANELS; p++) {
                store_floats(result + p * WIDTH, totals[t][p]);
            }
            memcpy(s.results + t * s.result_bytes + row * sizeof(float), result, n_rows * sizeof(float));
        }
    }
}

// ---- tokens ---------------------------------------------------------------------------------------------------

// The largest magnitude. It is found among the bits: so a NaN is larger than all numbers, and is not lost.
float largest_of(const __m256 v[4]) {
    const __m256i no_sign = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i       found   = _mm256_and_si256(_mm256_castps_si256(v[0]), no_sign);
#pragma GCC unroll 4
    for (int i = 1; i < 4; i++) {
        found = _mm256_max_epu32(found, _mm256_and_si256(_mm256_castps_si256(v[i]), no_sign));
    }
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(found), _mm256_extracti128_si256(found, 1));
    m         = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4E));
    m         = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xB1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

int32_t sum_of(__m256i a, __m256i b) {
    const __m256i s = _mm256_add_epi32(a, b);
    __m128i       m = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    m               = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m               = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    return _mm_cvtsi128_si32(m);
}

// panel_format::quantize. A block with an infinity or a NaN gets such a scale, so the products with it are not finite.
template <typename Type> void quantize(const float * from, int64_t n, char * to) {
    char * scales      = to + n;
    char * corrections = scales + n / BLOCK * 4;
    for (int64_t b = 0; b < n / BLOCK; b++) {
        __m256 v[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(from + b * BLOCK + i * 8);
        }
        const float  largest = largest_of(v);
        const float  scale   = largest / 127;
        const __m256 inverse = _mm256_set1_ps(largest < SMALLEST ? 0 : 127 / largest);
        __m256i      q[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
        }
        // The instructions that shorten numbers work in halves; this puts the parts back into their order.
        const __m256i order  = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + b * BLOCK), _mm256_permutevar8x32_epi32(packed, order));
        memcpy(scales + b * 4, &scale, 4);
        if (Type::BIAS == 0) {
            const float correction = scale * static_cast<float>(sum_of(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3])));
            memcpy(corrections + b * 4, &correction, 4);
        } else if (Type::PARTS == 1) {
            const int32_t correction = -Type::BIAS * sum_of(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
            memcpy(corrections + b * 4, &correction, 4);
        } else {
            const int32_t both[2] = { -Type::BIAS * sum_of(q[0], q[1]), -Type::BIAS * sum_of(q[2], q[3]) };
            memcpy(corrections + b * 8, both, 8);
        }
    }
}

template <typename Type> constexpr lb::panel_format format_of() {
    return { Type::TYPE, Type::BLOCK, quantize<Type>, multiply_slice<Type> };
}

const lb::panel_format formats[] = { format_of<q8_0>(), format_of<q4_0>(), format_of<q4_1>(), format_of<q5_0>(),
                                     format_of<q5_1>(), format_of<q4_k>(), format_of<q5_k>(), format_of<q6_k>() };

}  // namespace

const lb::panel_kernels lb::LB_PANEL_KERNELS = { formats, sizeof(formats) / sizeof(formats[0]) };
