/* SPDX-License-Identifier: Apache-2.0 */
/* The innermost loops of the blocked depthwise convolution. Channels go through them side by side, a lane each: four
 * where a core multiplies parts of a word, otherwise one. */
#ifndef FQT_DEPTHWISE_LANES_H
#define FQT_DEPTHWISE_LANES_H

#include "blocks.h"
#include "packed_pairs.h"

#define LANE_TAPS 25 /* largest kernel whose weights are unpacked on the stack */

#ifdef FQT_PAIRED
#define LANES 4
#define LANE_BYTES PACKED_ONES /* a byte times this is a byte for each lane */
typedef struct {
    uint32_t even, odd; /* pairs of lanes 0, 2 and of 1, 3 */
} lane_weight;
typedef uint32_t lane_offset; /* a pair of twice the same */
#else
#define LANES 1
#define LANE_BYTES 1
typedef int32_t lane_weight;
typedef int32_t lane_offset;
#endif

/* A sum for each lane. */
struct sums {
    int32_t lane[LANES];
};

/* Taps of a window over a map of bytes; steps in bytes of the map and in weights. */
struct lane_window {
    const uint8_t *map; /* first tap, first lane */
    const lane_weight *w;
    lane_offset offset; /* minus the map's zero point */
    int32_t rows, columns;
    int32_t map_row, map_column;
    int32_t w_row, w_column;
};

#define ALWAYS_INLINE __attribute__((always_inline)) static inline

/* Whether add_3x3() serves, which is faster than add_window(). */
static inline bool has_3x3_taps(const struct lane_window *p) {
    return p->rows == 3 && p->columns == 3 && p->w_row == 3 && p->w_column == 1;
}

#if LANES == 4

static inline struct sums scaled(struct sums s, const int32_t *factor) {
    return (struct sums){{s.lane[0] * factor[0], s.lane[1] * factor[1], s.lane[2] * factor[2], s.lane[3] * factor[3]}};
}

static inline lane_offset lane_offset_of(int32_t offset) {
    return pair_of(offset, offset);
}

static inline lane_weight lane_weight_of(const int32_t *w) {
    return (lane_weight){pair_of(w[0], w[2]), pair_of(w[1], w[3])};
}

/* s + products of bytes, with both numbers of `offset` added, and weights. */
static inline struct sums add_word(struct sums s, uint32_t bytes, lane_weight w, uint32_t offset, bool is_signed) {
    uint32_t even = is_signed ? even_pair_i8(bytes) : even_pair_u8(offset, bytes);
    uint32_t odd = is_signed ? odd_pair_i8(bytes) : odd_pair_u8(offset, bytes);
    s.lane[0] = add_bottom_product(s.lane[0], even, w.even);
    s.lane[1] = add_bottom_product(s.lane[1], odd, w.odd);
    s.lane[2] = add_top_product(s.lane[2], even, w.even);
    s.lane[3] = add_top_product(s.lane[3], odd, w.odd);
    return s;
}

#if defined(__ARM_FEATURE_SIMD32) && defined(__OPTIMIZE__)
/* Blocks of instructions: gcc would move all loads to the front and run out of registers. */
#define LANE_TAP(type, map, w)                                                                                         \
    "ldr %[word], [%[map]" map "]\n"                                                                                   \
    "ldrd %[even], %[odd], [%[w], #" w "]\n" type "xtab16 %[pair], %[offset], %[word]\n" type                          \
    "xtab16 %[word], %[offset], %[word], ror #8\n"                                                                     \
    "smlabb %[s0], %[pair], %[even], %[s0]\n"                                                                          \
    "smlatt %[s2], %[pair], %[even], %[s2]\n"                                                                          \
    "smlabb %[s1], %[word], %[odd], %[s1]\n"                                                                           \
    "smlatt %[s3], %[word], %[odd], %[s3]\n"
#define LANE_2_TAPS(type) LANE_TAP(type, "", "0") LANE_TAP(type, ", %[step]", "8")
#define LANE_3_TAPS(type, w0, w1, w2)                                                                                  \
    LANE_TAP(type, "", w0) LANE_TAP(type, ", %[step]", w1) LANE_TAP(type, ", %[step], lsl #1", w2)
#define LANE_3X3_TAPS(type)                                                                                            \
    LANE_3_TAPS(type, "0", "8", "16")                                                                                  \
    "add %[map], %[next_row]\n" LANE_3_TAPS(type, "24", "32",                                                          \
                                            "40") "add %[map], %[next_row]\n" LANE_3_TAPS(type, "48", "56", "64")
#define LANE_TAPS_BLOCK(taps)                                                                                          \
    __asm__(taps                                                                                                       \
            : [s0] "+r"(s.lane[0]), [s1] "+r"(s.lane[1]), [s2] "+r"(s.lane[2]), [s3] "+r"(s.lane[3]),                  \
              [word] "=&r"(word), [pair] "=&r"(pair), [even] "=&r"(even), [odd] "=&r"(odd), [map] "+r"(map)            \
            : [w] "r"(w), [step] "r"(step), [next_row] "r"(next_row), [offset] "r"(offset)                             \
            : "memory")

/* n taps, three in a row: those of a row are `step` apart in the map, the rows `next_row`. */
ALWAYS_INLINE struct sums add_taps(struct sums s, int32_t n, const uint8_t *map, int32_t step, int32_t next_row,
                                   const lane_weight *w, uint32_t offset, bool is_signed) {
    uint32_t word, pair, even, odd;
    if (n == 9) {
        if (is_signed) {
            LANE_TAPS_BLOCK(LANE_3X3_TAPS("s"));
        } else {
            LANE_TAPS_BLOCK(LANE_3X3_TAPS("u"));
        }
    } else if (n == 3) {
        if (is_signed) {
            LANE_TAPS_BLOCK(LANE_3_TAPS("s", "0", "8", "16"));
        } else {
            LANE_TAPS_BLOCK(LANE_3_TAPS("u", "0", "8", "16"));
        }
    } else if (n == 2) {
        if (is_signed) {
            LANE_TAPS_BLOCK(LANE_2_TAPS("s"));
        } else {
            LANE_TAPS_BLOCK(LANE_2_TAPS("u"));
        }
    } else if (is_signed) {
        LANE_TAPS_BLOCK(LANE_TAP("s", "", "0"));
    } else {
        LANE_TAPS_BLOCK(LANE_TAP("u", "", "0"));
    }
    return s;
}
#else
ALWAYS_INLINE struct sums add_taps(struct sums s, int32_t n, const uint8_t *map, int32_t step, int32_t next_row,
                                   const lane_weight *w, uint32_t offset, bool is_signed) {
    for (int32_t i = 0; i < n; i++) {
        s = add_word(s, packed_load(map + i / 3 * next_row + i % 3 * step), w[i], offset, is_signed);
    }
    return s;
}
#endif

/* s + products of a window's values, without their zero point, with the weights. Signed values have none. */
ALWAYS_INLINE struct sums add_3x3(struct sums s, const struct lane_window *p, const uint8_t *map, bool is_signed) {
    return add_taps(s, 9, map, p->map_column, p->map_row, p->w, is_signed ? 0 : p->offset, is_signed);
}

/* n neighbours in each row; n is a constant. */
ALWAYS_INLINE struct sums add_rows(struct sums s, int32_t n, const struct lane_window *p, const uint8_t *map,
                                   const lane_weight *w, bool is_signed) {
    lane_offset offset = is_signed ? 0 : p->offset;
    for (int32_t row = p->rows; row > 0; row--) {
        s = add_taps(s, n, map, p->map_column, 0, w, offset, is_signed);
        map += p->map_row;
        w += p->w_row;
    }
    return s;
}

ALWAYS_INLINE struct sums add_window(struct sums s, const struct lane_window *p, const uint8_t *map, bool is_signed) {
    const lane_weight *w = p->w;
    int32_t left = p->columns;
    if (p->w_column == 1) {
        for (; left >= 3; left -= 3) {
            s = add_rows(s, 3, p, map, w, is_signed);
            map += 3 * p->map_column;
            w += 3;
        }
        if (left == 2) {
            return add_rows(s, 2, p, map, w, is_signed);
        }
    }
    for (; left > 0; left--) {
        s = add_rows(s, 1, p, map, w, is_signed);
        map += p->map_column;
        w += p->w_column;
    }
    return s;
}

/* s + products of n errors with inputs without their zero point; lane i's are at x[at[i]]. */
static inline struct sums add_products(struct sums s, int32_t n, const int8_t *e, int32_t e_step, const uint8_t *x,
                                       int32_t x_step, const int32_t *at, int32_t zero) {
    uint32_t offset = pair_of(-zero, -zero);
    bool neighbours = at[3] - at[0] == 3;
    x += at[0];
    for (; neighbours && n > 0; n--) {
        uint32_t inputs = packed_load(x);
        lane_weight factors = {even_pair_u8(offset, inputs), odd_pair_u8(offset, inputs)};
        s = add_word(s, packed_load(e), factors, 0, true);
        e += e_step;
        x += x_step;
    }
    int32_t at_1 = at[1] - at[0];
    int32_t at_2 = at[2] - at[0];
    int32_t at_3 = at[3] - at[0];
    for (; n > 0; n--) {
        lane_weight factors = {even_pair_u8(offset, x[0] | (uint32_t)x[at_2] << 16),
                               even_pair_u8(offset, x[at_1] | (uint32_t)x[at_3] << 16)};
        s = add_word(s, packed_load(e), factors, 0, true);
        e += e_step;
        x += x_step;
    }
    return s;
}

#else

static inline struct sums scaled(struct sums s, const int32_t *factor) {
    return (struct sums){{s.lane[0] * factor[0]}};
}

static inline lane_offset lane_offset_of(int32_t offset) {
    return offset;
}

static inline lane_weight lane_weight_of(const int32_t *w) {
    return *w;
}

static inline int32_t map_value(const uint8_t *map, bool is_signed) {
    return is_signed ? *(const int8_t *)map : *map;
}

/* s + products of a window's values, without their zero point, with the weights. Signed values have none. */
ALWAYS_INLINE struct sums add_3x3(struct sums s, const struct lane_window *p, const uint8_t *map, bool is_signed) {
    int32_t offset = is_signed ? 0 : p->offset;
    int32_t step = p->map_column;
    const lane_weight *w = p->w;
    for (int32_t row = 0; row < 3; row++) {
        s.lane[0] += (map_value(map, is_signed) + offset) * w[0];
        s.lane[0] += (map_value(map + step, is_signed) + offset) * w[1];
        s.lane[0] += (map_value(map + 2 * step, is_signed) + offset) * w[2];
        map += p->map_row;
        w += 3;
    }
    return s;
}

ALWAYS_INLINE struct sums add_window(struct sums s, const struct lane_window *p, const uint8_t *map, bool is_signed) {
    int32_t step = p->map_column;
    int32_t offset = is_signed ? 0 : p->offset;
    const lane_weight *w = p->w;
    int32_t sum = s.lane[0];
    for (int32_t row = p->rows; row > 0; row--) {
        const uint8_t *at = map;
        const lane_weight *w_at = w;
        for (int32_t column = p->columns; column > 0; column--) {
            sum += (map_value(at, is_signed) + offset) * *w_at;
            at += step;
            w_at += p->w_column;
        }
        map += p->map_row;
        w += p->w_row;
    }
    return (struct sums){{sum}};
}

/* s + products of n errors with inputs without their zero point, which are at x[at[0]]. */
static inline struct sums add_products(struct sums s, int32_t n, const int8_t *e, int32_t e_step, const uint8_t *x,
                                       int32_t x_step, const int32_t *at, int32_t zero) {
    int32_t sum = s.lane[0];
    x += at[0];
    for (; n >= 2; n -= 2) {
        sum += e[0] * (x[0] - zero);
        sum += e[e_step] * (x[x_step] - zero);
        e += 2 * e_step;
        x += 2 * x_step;
    }
    if (n > 0) {
        sum += e[0] * (x[0] - zero);
    }
    return (struct sums){{sum}};
}

#endif

#endif
