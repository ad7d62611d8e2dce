// Vectors and products of rows for attention_kernel.h, which says what each kernel has to keep to. All of it is in an
// unnamed namespace: each file that includes this is compiled for another instruction set.

#pragma once

#include "ggml.h"

#include <immintrin.h>
#include <math.h>

namespace {

// ---- vectors of 8 floats --------------------------------------------------------------------------------------

__m256 load_half(const ggml_fp16_t * from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
}

// e^x for x <= 0 with a relative error of about 1e-7; 0 below -87, NaN for NaN.
__m256 exp_of(__m256 x) {
    const __m256 low     = _mm256_set1_ps(-87.0F);
    const __m256 is_zero = _mm256_cmp_ps(x, low, _CMP_LT_OQ);
    x                    = _mm256_max_ps(low, x);  // gives the second operand if one is NaN
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

// ---- products -------------------------------------------------------------------------------------------------

#if defined(__AVX512F__)

using wide = __m512;
constexpr int WIDTH     = 16;
constexpr int MOST_ROWS = 8;  // rows of one multiply(): the sums take 16 of the 32 registers

wide load(const float * from) { return _mm512_loadu_ps(from); }
void store(float * to, wide v) { _mm512_storeu_ps(to, v); }
wide zero() { return _mm512_setzero_ps(); }
wide spread(const float * from) { return _mm512_set1_ps(*from); }
wide multiply_add(wide a, wide b, wide c) { return _mm512_fmadd_ps(a, b, c); }

#else

using wide = __m256;
constexpr int WIDTH     = 8;
constexpr int MOST_ROWS = 4;  // rows of one multiply(): the sums take 8 of the 16 registers

wide load(const float * from) { return _mm256_loadu_ps(from); }
void store(float * to, wide v) { _mm256_storeu_ps(to, v); }
wide zero() { return _mm256_setzero_ps(); }
wide spread(const float * from) { return _mm256_broadcast_ss(from); }
wide multiply_add(wide a, wide b, wide c) { return _mm256_fmadd_ps(a, b, c); }

#endif

// The pragmas unroll the loops over rows and columns; without them GCC 12 keeps the sums in memory, at half the speed.
// Columns [j, j + C * WIDTH) of c[r] (+)= sum over k of a[r][k] * b[k * n + ...], for R rows.
template <int R, int C>
void multiply_columns(const float * const * a, const float * b, int n_k, int n, float * const * c, bool adds, int j) {
    wide sums[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < C; i++) {
            sums[r][i] = adds ? load(c[r] + j + i * WIDTH) : zero();
        }
    }
    for (int k = 0; k < n_k; k++) {
        wide factors[C];
#pragma GCC unroll 8
        for (int i = 0; i < C; i++) {
            factors[i] = load(b + k * n + j + i * WIDTH);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const wide factor = spread(a[r] + k);
#pragma GCC unroll 8
            for (int i = 0; i < C; i++) {
                sums[r][i] = multiply_add(factor, factors[i], sums[r][i]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < C; i++) {
            store(c[r] + j + i * WIDTH, sums[r][i]);
        }
    }
}

// All n columns, a multiple of 16. With few rows more columns are computed at once: an addition depends on the one before
// it, and only other sums can be computed while it waits.
template <int R>
void multiply(const float * const * a, const float * b, int n_k, int n, float * const * c, bool adds) {
    constexpr int MOST = R <= 2 ? 4 : 2;
    int           j    = 0;
    for (; j + MOST * WIDTH <= n; j += MOST * WIDTH) {
        multiply_columns<R, MOST>(a, b, n_k, n, c, adds, j);
    }
    for (; j + 2 * WIDTH <= n; j += 2 * WIDTH) {
        multiply_columns<R, 2>(a, b, n_k, n, c, adds, j);
    }
    if (j < n) {
        multiply_columns<R, 1>(a, b, n_k, n, c, adds, j);
    }
}

void multiply_rows(const float * const * a, const float * b, int n_k, int n, float * const * c, int n_rows, bool adds) {
    int r = 0;
    for (; r + MOST_ROWS <= n_rows; r += MOST_ROWS) {
        multiply<MOST_ROWS>(a + r, b, n_k, n, c + r, adds);
    }
    if (MOST_ROWS > 4 && r + 4 <= n_rows) {
        multiply<4>(a + r, b, n_k, n, c + r, adds);
        r += 4;
    }
    switch (n_rows - r) {
        case 3: multiply<3>(a + r, b, n_k, n, c + r, adds); break;
        case 2: multiply<2>(a + r, b, n_k, n, c + r, adds); break;
        case 1: multiply<1>(a + r, b, n_k, n, c + r, adds); break;
        default: break;
    }
}

}  // namespace
