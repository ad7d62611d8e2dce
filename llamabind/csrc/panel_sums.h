// How panel_kernel.h adds up the products of a block: with a VNNI instruction, or with AVX2.

#pragma once

#include "panel_types.h"

namespace {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)

// Whether a sum begins with the correction for the bias, since the numbers are multiplied before it is subtracted.
template <typename Type> constexpr bool HAS_BIAS = Type::BIAS != 0;

// 4 numbers of each row of a panel.
template <typename Type> struct row_numbers {
    ints numbers;

    explicit row_numbers(const void * from) : numbers(load(from)) {}
};

// The sum of each row's products with a token.
template <typename Type> struct row_sums {
    ints sums;

    row_sums() = default;
    explicit row_sums(int32_t start) : sums(spread(start)) {}

    // Adds the products of the group `index` of a part.
    void add(int /*index*/, const row_numbers<Type> & rows, ints token) {
#if defined(__AVX512VNNI__)
        sums = _mm512_dpbusd_epi32(sums, rows.numbers, token);
#else
        sums = _mm256_dpbusd_avx_epi32(sums, rows.numbers, token);
#endif
    }
};

#else

// AVX2 multiplies unsigned bytes by signed ones, and adds two of these products in 16 bits, without a check. With bytes above
// 127 they would not fit. So the bias of such a type is subtracted at once, and the signs are moved to the numbers of the
// token.
template <typename Type> constexpr bool IS_SIGNED = Type::LARGEST > 127;
template <typename Type> constexpr bool HAS_BIAS  = Type::BIAS != 0 && !IS_SIGNED<Type>;

// Groups whose sums fit into 16 bits together: the numbers of a token are at most 127.
template <typename Type>
constexpr int SHORT_GROUPS = 32767 / (2 * 127 * (IS_SIGNED<Type> ? Type::LARGEST - Type::BIAS + 1 : Type::LARGEST));

template <typename Type> struct row_numbers {
    ints numbers;
    ints sizes;

    explicit row_numbers(const void * from) : numbers(load(from)), sizes(numbers) {
        if (IS_SIGNED<Type>) {
            static_assert(!IS_SIGNED<Type> || Type::BIAS == 128, "the highest bit is the sign");
            numbers = _mm256_xor_si256(numbers, _mm256_set1_epi8(static_cast<char>(0x80)));
            sizes   = _mm256_abs_epi8(numbers);
        }
    }
};

template <typename Type> struct row_sums {
    ints sums;
    ints pairs;

    static_assert(GROUPS / Type::PARTS % SHORT_GROUPS<Type> == 0, "a part ends with sums of 32 bits");

    row_sums() = default;
    explicit row_sums(int32_t start) : sums(spread(start)), pairs(spread(0)) {}

    void add(int index, const row_numbers<Type> & rows, ints token) {
        const ints products = _mm256_maddubs_epi16(rows.sizes, IS_SIGNED<Type> ? _mm256_sign_epi8(token, rows.numbers) : token);
        pairs               = index % SHORT_GROUPS<Type> == 0 ? products : _mm256_add_epi16(pairs, products);
        if ((index + 1) % SHORT_GROUPS<Type> == 0) {
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
};

#endif

}  // namespace
