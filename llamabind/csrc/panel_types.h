// How panel_kernel.h reads the types of weights, which ggml-common.h describes.
//
// A type has
//   BLOCK     numbers that ggml stores together in BYTES bytes
//   LARGEST   number
//   BIAS      what is subtracted from a number; if it is 0 every 32 numbers have a minimum instead
//   PARTS     scales of 32 numbers: 1, or 2 if every 16 numbers have one
//   numbers   32 numbers of a row as unsigned bytes: those from 32 * block on
//   scales    of 8 times 32 numbers of WIDTH rows, from 32 * first on, or of n_blocks times 32 numbers if the row ends there

#pragma once

#include "ggml.h"
#include "panel_vectors.h"

namespace {

constexpr int DEPTH  = 8;  // times 32 numbers in a panel
constexpr int GROUPS = 8;  // of 4 numbers, in each 32 numbers: a VNNI instruction adds 4 products to each of its sums

__m256i read_32(const char * from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
}

// The low four bits of 16 bytes, and then their high ones.
__m256i low_and_high(const char * from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}

// The low four bits of 32 bytes, or their high ones.
__m256i low_or_high(const char * from, bool is_high) {
    const __m256i bytes = read_32(from);
    return _mm256_and_si256(is_high ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

// `mask` << 4 of the bits [shift, shift + 2) of 32 bytes; `mask` has one or two bits.
__m256i higher_bits(const char * from, int shift, char mask) {
    const __m256i bits = _mm256_srl_epi16(read_32(from), _mm_cvtsi32_si128(shift));
    return _mm256_slli_epi16(_mm256_and_si256(bits, _mm256_set1_epi8(mask)), 4);
}

// 16 in every byte whose bit is 1.
__m256i fifth_bits(const char * from) {
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bytes   = _mm256_shuffle_epi8(_mm256_set1_epi32(read<int32_t>(from)), byte_of);
    const __m256i bit_of  = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const __m256i is_set  = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of), bit_of);
    return _mm256_and_si256(is_set, _mm256_set1_epi8(16));
}

float half(const char * from) {
    return _cvtsh_ss(read<uint16_t>(from));
}

// Each 32 numbers have a scale at their beginning and, if the bias is 0, a minimum behind it: 16-bit floats.
template <int64_t bytes, int largest, int32_t bias> struct simple {
    static constexpr int64_t BLOCK   = 32;
    static constexpr int64_t BYTES   = bytes;
    static constexpr int     LARGEST = largest;
    static constexpr int32_t BIAS    = bias;
    static constexpr int     PARTS   = 1;

    static void scales(const char * const * rows, int64_t first, int n_blocks, float (*scales)[WIDTH], float (*minima)[WIDTH]) {
        for (int b = 0; b < n_blocks; b++) {
            store_floats(scales[b], read_halves(rows, (first + b) * BYTES));
            if (BIAS == 0) {
                store_floats(minima[b], read_halves(rows, (first + b) * BYTES + 2));
            }
        }
    }
};

struct q8_0 : simple<34, 255, 128> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q8_0;

    static __m256i numbers(const char * row, int64_t block) {
        return _mm256_xor_si256(read_32(row + block * BYTES + 2), _mm256_set1_epi8(static_cast<char>(0x80)));
    }
};

struct q4_0 : simple<18, 15, 8> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q4_0;

    static __m256i numbers(const char * row, int64_t block) {
        return low_and_high(row + block * BYTES + 2);
    }
};

struct q4_1 : simple<20, 15, 0> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q4_1;

    static __m256i numbers(const char * row, int64_t block) {
        return low_and_high(row + block * BYTES + 4);
    }
};

struct q5_0 : simple<22, 31, 16> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q5_0;

    static __m256i numbers(const char * row, int64_t block) {
        const char * from = row + block * BYTES + 2;
        return _mm256_or_si256(low_and_high(from + 4), fifth_bits(from));
    }
};

struct q5_1 : simple<24, 31, 0> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q5_1;

    static __m256i numbers(const char * row, int64_t block) {
        const char * from = row + block * BYTES + 4;
        return _mm256_or_si256(low_and_high(from + 4), fifth_bits(from));
    }
};

// Every 256 numbers have a scale of scales and one of minima, and 8 scales and minima of 6 bits.
template <int64_t bytes, int largest> struct with_minima {
    static constexpr int64_t BLOCK   = 256;
    static constexpr int64_t BYTES   = bytes;
    static constexpr int     LARGEST = largest;
    static constexpr int32_t BIAS    = 0;
    static constexpr int     PARTS   = 1;

    static void scales(const char * const * rows, int64_t first, int /*n_blocks*/, float (*scales)[WIDTH],
                       float (*minima)[WIDTH]) {
        float found[2][WIDTH][8];
        for (int r = 0; r < WIDTH; r++) {
            const char *   block = rows[r] + first / 8 * BYTES;
            const uint32_t low   = read<uint32_t>(block + 4), low_minima = read<uint32_t>(block + 8);
            const uint32_t high  = read<uint32_t>(block + 12);
            // The last four have their lowest four bits in `high`, and their highest two above the six of the first four.
            const uint64_t two     = 0x03030303;
            const uint64_t numbers = (low & 0x3F3F3F3FU) | ((high & 0x0F0F0F0FU) | ((low >> 6 & two) << 4)) << 32;
            const uint64_t least   = (low_minima & 0x3F3F3F3FU) | ((high >> 4 & 0x0F0F0F0FU) | ((low_minima >> 6 & two) << 4)) << 32;
            _mm256_storeu_ps(found[0][r], _mm256_mul_ps(floats_of(numbers), _mm256_set1_ps(half(block))));
            _mm256_storeu_ps(found[1][r], _mm256_mul_ps(floats_of(least), _mm256_set1_ps(-half(block + 2))));
        }
        transpose_rows(found[0], scales);
        transpose_rows(found[1], minima);
    }

    static __m256 floats_of(uint64_t bytes_of_8) {
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes_of_8))));
    }
};

struct q4_k : with_minima<144, 15> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q4_K;

    static __m256i numbers(const char * row, int64_t block) {
        return low_or_high(row + block / 8 * BYTES + 16 + block % 8 / 2 * 32, block % 2 != 0);
    }
};

struct q5_k : with_minima<176, 31> {
    static constexpr ggml_type TYPE = GGML_TYPE_Q5_K;

    static __m256i numbers(const char * row, int64_t block) {
        const char * from = row + block / 8 * BYTES + 16;
        return _mm256_or_si256(low_or_high(from + 32 + block % 8 / 2 * 32, block % 2 != 0),
                               higher_bits(from, static_cast<int>(block % 8), 1));
    }
};

struct q6_k {
    static constexpr ggml_type TYPE    = GGML_TYPE_Q6_K;
    static constexpr int64_t   BLOCK   = 256;
    static constexpr int64_t   BYTES   = 210;
    static constexpr int       LARGEST = 63;
    static constexpr int32_t   BIAS    = 32;
    static constexpr int       PARTS   = 2;

    // Half a block has 64 bytes of lower bits and 32 bytes of higher ones, for four times 32 numbers.
    static __m256i numbers(const char * row, int64_t block) {
        const char * from = row + block / 8 * BYTES;
        const int    half_of = static_cast<int>(block % 8 / 4), quarter = static_cast<int>(block % 4);
        return _mm256_or_si256(low_or_high(from + half_of * 64 + quarter % 2 * 32, quarter >= 2),
                               higher_bits(from + 128 + half_of * 32, quarter * 2, 3));
    }

    static void scales(const char * const * rows, int64_t first, int /*n_blocks*/, float (*scales)[WIDTH],
                       float (*/*minima*/)[WIDTH]) {
        float found[2][WIDTH][8];
        for (int r = 0; r < WIDTH; r++) {
            const char *  block = rows[r] + first / 8 * BYTES;
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block + 192));
            const __m256  all   = _mm256_set1_ps(half(block + 208));
            _mm256_storeu_ps(found[0][r], _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), all));
            _mm256_storeu_ps(found[1][r], _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))), all));
        }
        transpose_rows(found[0], scales);
        transpose_rows(found[1], scales + 8);
    }
};

}  // namespace
