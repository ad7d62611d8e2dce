// Vectors of 16 or 8 numbers of 32 bits for panel_kernel.h.

#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

template <typename T> T read(const char * from) {
    T value;
    memcpy(&value, from, sizeof(value));
    return value;
}

// The 16-bit floats of 8 rows.
__m128i eight_halves(const char * const * rows, int64_t at) {
    const auto of = [&](int r) { return read<int16_t>(rows[r] + at); };
    return _mm_setr_epi16(of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7));
}

#if defined(__AVX512F__)

using ints   = __m512i;
using floats = __m512;
constexpr int WIDTH = 16;
constexpr int MOST  = 6;  // tokens that are multiplied together: their sums and totals take 24 of the 32 registers

ints   load(const void * from) { return _mm512_loadu_si512(from); }
void   store(void * to, ints v) { _mm512_storeu_si512(to, v); }
ints   spread(int32_t value) { return _mm512_set1_epi32(value); }
floats no_floats() { return _mm512_setzero_ps(); }
floats spread_float(float value) { return _mm512_set1_ps(value); }
floats to_floats(ints v) { return _mm512_cvtepi32_ps(v); }
floats multiply(floats a, floats b) { return _mm512_mul_ps(a, b); }
floats multiply_add(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
floats load_floats(const float * from) { return _mm512_loadu_ps(from); }
void   store_floats(float * to, floats v) { _mm512_storeu_ps(to, v); }
ints   low_32(ints a, ints b) { return _mm512_unpacklo_epi32(a, b); }
ints   high_32(ints a, ints b) { return _mm512_unpackhi_epi32(a, b); }
ints   low_64(ints a, ints b) { return _mm512_unpacklo_epi64(a, b); }
ints   high_64(ints a, ints b) { return _mm512_unpackhi_epi64(a, b); }

// The 16-bit floats of all rows.
floats read_halves(const char * const * rows, int64_t at) {
    return _mm512_cvtph_ps(_mm256_set_m128i(eight_halves(rows + 8, at), eight_halves(rows, at)));
}

// The first (second) 128 bits of each half of a and b.
ints low_128(ints a, ints b) {
    return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b);
}
ints high_128(ints a, ints b) {
    return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b);
}

// A block's numbers of row i, and of row i + 8.
template <typename Type> ints read_block(const char * const * rows, int i, int64_t block) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(Type::numbers(rows[i], block)), Type::numbers(rows[i + 8], block), 1);
}

// 8 numbers of row i, and of row i + 8.
ints read_row(const float (*from)[8], int i) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from[i]))),
                              _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from[i + 8])), 1);
}

#else

using ints   = __m256i;
using floats = __m256;
constexpr int WIDTH = 8;
constexpr int MOST  = 3;  // tokens that are multiplied together: their sums and totals take 12 of the 16 registers

ints   load(const void * from) { return _mm256_loadu_si256(static_cast<const __m256i *>(from)); }
void   store(void * to, ints v) { _mm256_storeu_si256(static_cast<__m256i *>(to), v); }
ints   spread(int32_t value) { return _mm256_set1_epi32(value); }
floats no_floats() { return _mm256_setzero_ps(); }
floats spread_float(float value) { return _mm256_set1_ps(value); }
floats to_floats(ints v) { return _mm256_cvtepi32_ps(v); }
floats multiply(floats a, floats b) { return _mm256_mul_ps(a, b); }
floats multiply_add(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
floats load_floats(const float * from) { return _mm256_loadu_ps(from); }
void   store_floats(float * to, floats v) { _mm256_storeu_ps(to, v); }
ints   low_32(ints a, ints b) { return _mm256_unpacklo_epi32(a, b); }
ints   high_32(ints a, ints b) { return _mm256_unpackhi_epi32(a, b); }
ints   low_64(ints a, ints b) { return _mm256_unpacklo_epi64(a, b); }
ints   high_64(ints a, ints b) { return _mm256_unpackhi_epi64(a, b); }
ints   low_128(ints a, ints b) { return _mm256_permute2x128_si256(a, b, 0x20); }
ints   high_128(ints a, ints b) { return _mm256_permute2x128_si256(a, b, 0x31); }

floats read_halves(const char * const * rows, int64_t at) {
    return _mm256_cvtph_ps(eight_halves(rows, at));
}

template <typename Type> ints read_block(const char * const * rows, int i, int64_t block) {
    return Type::numbers(rows[i], block);
}

// 8 numbers of row i.
ints read_row(const float (*from)[8], int i) {
    return load(from[i]);
}

#endif

// 8 numbers of 32 bits of each row become 8 vectors with a number of each row. v[i] has row i, and row i + 8 behind it if a
// vector has 16.
__attribute__((always_inline)) inline void transpose(ints v[8]) {
    ints w[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        w[i]     = low_32(v[i], v[i + 1]);
        w[i + 1] = high_32(v[i], v[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
        v[i]     = low_64(w[i], w[i + 2]);
        v[i + 1] = high_64(w[i], w[i + 2]);
        v[i + 2] = low_64(w[i + 1], w[i + 3]);
        v[i + 3] = high_64(w[i + 1], w[i + 3]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; i++) {
        w[i]     = low_128(v[i], v[i + 4]);
        w[i + 4] = high_128(v[i], v[i + 4]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = w[i];
    }
}

// 8 numbers of each row, to 8 vectors with a number of each row.
__attribute__((always_inline)) inline void transpose_rows(const float (*from)[8], float (*to)[WIDTH]) {
    ints v[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = read_row(from, i);
    }
    transpose(v);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        store(to[i], v[i]);
    }
}

}  // namespace
