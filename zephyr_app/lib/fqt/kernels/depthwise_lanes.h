/* SPDX-License-Identifier: Apache-2.0 */
/* The innermost loops of the blocked depthwise convolution. Channels go through them side by side, a lane each: four
 * where a core multiplies parts of a word, otherwise one. */
#ifndef FQT_DEPTHWISE_LANES_H
#define FQT_DEPTHWISE_LANES_H

#include "blocks.h"
#include "packed_pairs.h"

#include <stddef.h>

#define LANE_TAPS 25                                   /* largest kernel whose weights are unpacked on the stack */
#define KEEP_ONE_LOOP(shape) __asm__("" : "+r"(shape)) /* gcc would make one for each shape */
#define ALWAYS_INLINE __attribute__((always_inline)) static inline

#ifdef FQT_PAIRED
#define LANES 4
#define LANE_BYTES PACKED_ONES /* a byte times this is a byte for each lane */
typedef struct {
    uint32_t even, odd; /* pairs of lanes 0, 2 and of 1, 3 */
} lane_weight;
#else
#define LANES 1
#define LANE_BYTES 1
typedef int32_t lane_weight;
#endif

/* A sum for each lane. */
struct sums {
    int32_t lane[LANES];
};

/* Taps of a window over a map of bytes; steps in bytes of the map and in weights. */
struct lane_window {
    const uint8_t *map; /* first tap, first lane */
    const lane_weight *w;
    int32_t rows, columns;
    int32_t map_row, map_column;
    int32_t w_row;
};

#if LANES == 4

static inline lane_weight lane_weight_of(const int32_t *w) {
    return (lane_weight){pair_of(w[0], w[2]), pair_of(w[1], w[3])};
}

static inline struct sums add_pairs(struct sums s, uint32_t even, uint32_t odd, lane_weight w) {
    s.lane[0] = add_bottom_product(s.lane[0], even, w.even);
    s.lane[1] = add_bottom_product(s.lane[1], odd, w.odd);
    s.lane[2] = add_top_product(s.lane[2], even, w.even);
    s.lane[3] = add_top_product(s.lane[3], odd, w.odd);
    return s;
}

/* s + value * w. */
static inline struct sums add_multiple(struct sums s, int32_t value, lane_weight w) {
    uint32_t pair = pair_of(value, value);
    return add_pairs(s, pair, pair, w);
}

static inline struct sums sums_of(int32_t value) {
    return (struct sums){{value, value, value, value}};
}

/* s * factor + half. */
static inline struct sums scaled(struct sums s, const int32_t *factor, int32_t half) {
    return (struct sums){{s.lane[0] * factor[0] + half, s.lane[1] * factor[1] + half, s.lane[2] * factor[2] + half,
                          s.lane[3] * factor[3] + half}};
}

/* s + products of four bytes and weights. */
static inline struct sums add_word(struct sums s, uint32_t bytes, lane_weight w, bool is_signed) {
    uint32_t even = is_signed ? even_pair_i8(bytes) : even_pair_u8(0, bytes);
    uint32_t odd = is_signed ? odd_pair_i8(bytes) : odd_pair_u8(0, bytes);
    return add_pairs(s, even, odd, w);
}

#if defined(__ARM_FEATURE_SIMD32) && defined(__OPTIMIZE__)
/* Blocks of instructions: gcc would move all loads to the front and run out of registers. */
#define LANE_TAP(type, map, w)                                                                                         \
    "ldr %[word], [%[map]" map "]\n"                                                                                   \
    "ldrd %[even], %[odd], [%[w], #" w "]\n" type "xtb16 %[pair], %[word]\n" type "xtb16 %[word], %[word], ror #8\n"   \
    "smlabb %[s0], %[pair], %[even], %[s0]\n"                                                                          \
    "smlatt %[s2], %[pair], %[even], %[s2]\n"                                                                          \
    "smlabb %[s1], %[word], %[odd], %[s1]\n"                                                                           \
    "smlatt %[s3], %[word], %[odd], %[s3]\n"
#define LANE_2_TAPS(type, w0, w1) LANE_TAP(type, "", w0) LANE_TAP(type, ", %[step]", w1)
#define LANE_3_TAPS(type, w0, w1, w2) LANE_2_TAPS(type, w0, w1) LANE_TAP(type, ", %[step], lsl #1", w2)
#define LANE_BLOCK(taps)                                                                                               \
    __asm__(taps                                                                                                       \
            : [s0] "+r"(s.lane[0]), [s1] "+r"(s.lane[1]), [s2] "+r"(s.lane[2]), [s3] "+r"(s.lane[3]),                  \
              [word] "=&r"(word), [pair] "=&r"(pair), [even] "=&r"(even), [odd] "=&r"(odd), [map] "+r"(map)            \
            : [w] "r"(w), [step] "r"(step)                                                                             \
            : "memory")
#define LANE_BLOCKS(type)                                                                                              \
    if (n == 3) {                                                                                                      \
        LANE_BLOCK(LANE_3_TAPS(type, "0", "8", "16"));                                                                 \
    } else if (n == 2) {                                                                                               \
        LANE_BLOCK(LANE_2_TAPS(type, "0", "8"));                                                                       \
    } else {                                                                                                           \
        LANE_BLOCK(LANE_TAP(type, "", "0"));                                                                           \
    }

/* s + products of n = 1, 2 or 3 taps and weights side by side. */
ALWAYS_INLINE struct sums add_taps(struct sums s, int32_t n, const uint8_t *map, int32_t step, const lane_weight *w,
                                   bool is_signed) {
    uint32_t word, pair, even, odd;
    if (is_signed) {
        LANE_BLOCKS("s")
    } else {
        LANE_BLOCKS("u")
    }
    return s;
}
#else
/* s + products of n = 1, 2 or 3 taps and weights side by side. */
ALWAYS_INLINE struct sums add_taps(struct sums s, int32_t n, const uint8_t *map, int32_t step, const lane_weight *w,
                                   bool is_signed) {
    for (int32_t i = 0; i < n; i++) {
        s = add_word(s, packed_load(map + i * step), w[i], is_signed);
    }
    return s;
}
#endif

#else

static inline lane_weight lane_weight_of(const int32_t *w) {
    return *w;
}

/* s + value * w. */
static inline struct sums add_multiple(struct sums s, int32_t value, lane_weight w) {
    return (struct sums){{s.lane[0] + value * w}};
}

static inline struct sums sums_of(int32_t value) {
    return (struct sums){{value}};
}

/* s * factor + half. */
static inline struct sums scaled(struct sums s, const int32_t *factor, int32_t half) {
    return (struct sums){{s.lane[0] * factor[0] + half}};
}

#if defined(__ARM_ARCH_6M__) && defined(__OPTIMIZE__)
/* Blocks of instructions: gcc would move half of it through high registers. A signed load knows no offset of 0. */
#define LANE_PRODUCT "ldmia %[w]!, {%[weight]}\n muls %[weight], %[value]\n add %[sum], %[weight]\n"
#define LANE_1_TAP(first, load) first LANE_PRODUCT
#define LANE_2_TAPS(first, load) LANE_1_TAP(first, load) load " %[value], [%[map], %[step]]\n" LANE_PRODUCT
#define LANE_3_TAPS(first, load) LANE_2_TAPS(first, load) load " %[value], [%[map], %[two_steps]]\n" LANE_PRODUCT
#define LANE_BLOCK(taps)                                                                                               \
    __asm__(".syntax unified\n" taps                                                                                   \
            : [sum] "+r"(sum), [map] "+l"(map), [w] "+l"(w), [value] "=&l"(value), [weight] "=&l"(weight)              \
            : [step] "l"(step), [two_steps] "l"(2 * step)                                                              \
            : "cc", "memory")
#define LANE_BLOCKS(first, load)                                                                                       \
    if (n == 3) {                                                                                                      \
        LANE_BLOCK(LANE_3_TAPS(first, load));                                                                          \
    } else if (n == 2) {                                                                                               \
        LANE_BLOCK(LANE_2_TAPS(first, load));                                                                          \
    } else {                                                                                                           \
        LANE_BLOCK(LANE_1_TAP(first, load));                                                                           \
    }

/* s + products of n = 1, 2 or 3 taps and weights side by side. */
ALWAYS_INLINE struct sums add_taps(struct sums s, int32_t n, const uint8_t *map, int32_t step, const lane_weight *w,
                                   bool is_signed) {
    uint32_t value, weight;
    int32_t sum = s.lane[0];
    if (is_signed) {
        LANE_BLOCKS("movs %[value], #0\n ldrsb %[value], [%[map], %[value]]\n", "ldrsb")
    } else {
        LANE_BLOCKS("ldrb %[value], [%[map]]\n", "ldrb")
    }
    return (struct sums){{sum}};
}
#else
/* s + products of n = 1, 2 or 3 taps and weights side by side. */
ALWAYS_INLINE struct sums add_taps(struct sums s, int32_t n, const uint8_t *map, int32_t step, const lane_weight *w,
                                   bool is_signed) {
    for (int32_t i = 0; i < n; i++) {
        const uint8_t *at = map + i * step;
        s.lane[0] += (is_signed ? *(const int8_t *)at : *at) * w[i];
    }
    return s;
}
#endif

#endif

/* Shapes that have loops of their own. */
enum shape { SHAPE_3X3, SHAPE_ROWS_OF_3, SHAPE_ROWS_OF_2, SHAPE_ROWS_OF_1, SHAPE_ANY };

static inline enum shape shape_of(const struct lane_window *p) {
    switch (p->columns) {
    case 1:
        return SHAPE_ROWS_OF_1;
    case 2:
        return SHAPE_ROWS_OF_2;
    case 3:
        return p->rows == 3 && p->w_row == 3 ? SHAPE_3X3 : SHAPE_ROWS_OF_3;
    default:
        return SHAPE_ANY;
    }
}

#if LANES == 4 && defined(__ARM_FEATURE_SIMD32) && defined(__OPTIMIZE__)
/* Constants come from the window, at p: so a loop's own variables find registers. */
#define LANE_3X3(type)                                                                                                 \
    __asm__(                                                                                                           \
        "ldr %[w], [%[p], #4]\n"                                                                                       \
        "ldr %[step], [%[p], #20]\n" LANE_3_TAPS(type, "0", "8", "16")                                                 \
            LANE_NEXT_ROW LANE_3_TAPS(type, "24", "32", "40") LANE_NEXT_ROW LANE_3_TAPS(type, "48", "56", "64")        \
        : [s0] "+r"(s.lane[0]), [s1] "+r"(s.lane[1]), [s2] "+r"(s.lane[2]), [s3] "+r"(s.lane[3]), [word] "=&r"(word),  \
          [pair] "=&r"(pair), [even] "=&r"(even), [odd] "=&r"(odd), [map] "+r"(*map), [w] "=&r"(w), [step] "=&r"(step) \
        : [p] "r"(p)                                                                                                   \
        : "memory")
#define LANE_NEXT_ROW "ldr %[word], [%[p], #16]\nadd %[map], %[word]\n"
_Static_assert(offsetof(struct lane_window, w) == 4 && offsetof(struct lane_window, map_row) == 16 &&
                   offsetof(struct lane_window, map_column) == 20,
               "where LANE_3X3 finds them");

/* s + products of a window of SHAPE_3X3; the map goes on by two rows. */
ALWAYS_INLINE struct sums add_3x3(struct sums s, const struct lane_window *p, const uint8_t **map, bool is_signed) {
    uint32_t word, pair, even, odd, w, step;
    if (is_signed) {
        LANE_3X3("s");
    } else {
        LANE_3X3("u");
    }
    return s;
}
#else
/* s + products of a window of SHAPE_3X3; the map goes on by two rows. */
ALWAYS_INLINE struct sums add_3x3(struct sums s, const struct lane_window *p, const uint8_t **map, bool is_signed) {
    s = add_taps(s, 3, *map, p->map_column, p->w, is_signed);
    *map += p->map_row;
    s = add_taps(s, 3, *map, p->map_column, p->w + 3, is_signed);
    *map += p->map_row;
    return add_taps(s, 3, *map, p->map_column, p->w + 6, is_signed);
}
#endif

/* n neighbours in each row; n is a constant. */
ALWAYS_INLINE struct sums add_rows(struct sums s, int32_t n, const struct lane_window *p, const uint8_t *map,
                                   const lane_weight *w, bool is_signed) {
    for (int32_t row = p->rows; row > 0; row--) {
        s = add_taps(s, n, map, p->map_column, w, is_signed);
        map += p->map_row;
        w += p->w_row;
    }
    return s;
}

/* s + products of a window of SHAPE_ANY and weights. */
ALWAYS_INLINE struct sums add_any(struct sums s, const struct lane_window *p, const uint8_t *map, bool is_signed) {
    const lane_weight *w = p->w;
    int32_t left = p->columns;
    for (; left >= 3; left -= 3) {
        s = add_rows(s, 3, p, map, w, is_signed);
        map += 3 * p->map_column;
        w += 3;
    }
    return left == 0 ? s : left == 1 ? add_rows(s, 1, p, map, w, is_signed) : add_rows(s, 2, p, map, w, is_signed);
}

/* Functions of their own: the registers are for their loops. */
__attribute__((noinline)) static void add_any_u8(struct sums *s, const struct lane_window *p, const uint8_t *map) {
    *s = add_any(*s, p, map, false);
}

__attribute__((noinline)) static void add_any_i8(struct sums *s, const struct lane_window *p, const uint8_t *map) {
    *s = add_any(*s, p, map, true);
}

/* s + products of a window's values and weights. */
ALWAYS_INLINE struct sums add_window(struct sums s, enum shape shape, const struct lane_window *p, const uint8_t *map,
                                     bool is_signed) {
    if (shape == SHAPE_3X3 || shape == SHAPE_ROWS_OF_3) {
        return add_rows(s, 3, p, map, p->w, is_signed);
    }
    if (shape == SHAPE_ROWS_OF_2) {
        return add_rows(s, 2, p, map, p->w, is_signed);
    }
    if (shape == SHAPE_ROWS_OF_1) {
        return add_rows(s, 1, p, map, p->w, is_signed);
    }
    struct sums sums = s; /* s stays in registers */
    if (is_signed) {
        add_any_i8(&sums, p, map);
    } else {
        add_any_u8(&sums, p, map);
    }
    return sums;
}

#if defined(__ARM_ARCH_6M__) && defined(__OPTIMIZE__)
/* A row of two windows of three columns, one a column behind the other: four bytes, one ahead of `map`, meet three
 * weights, each loaded once. Sums are in high registers: ADD reaches them. */
#define NEIGHBOURS_ROW(load)                                                                                           \
    "ldmia r1!, {r4, r5, r6}\n" load " r2, [r0, r3]\n"                                                                 \
    "muls r2, r4\n"                                                                                                    \
    "add r8, r2\n" load " r2, [r0, r7]\n"                                                                              \
    "muls r4, r2\n"                                                                                                    \
    "add r9, r4\n"                                                                                                     \
    "muls r2, r5\n"                                                                                                    \
    "add r8, r2\n"                                                                                                     \
    "add r0, r7\n" load " r2, [r0, r3]\n"                                                                              \
    "muls r5, r2\n"                                                                                                    \
    "add r9, r5\n"                                                                                                     \
    "muls r2, r6\n"                                                                                                    \
    "add r8, r2\n" load " r2, [r0, r7]\n"                                                                              \
    "muls r6, r2\n"                                                                                                    \
    "add r9, r6\n"
/* r7 is put back, because a compiler may keep its frame there. */
#define NEIGHBOURS_BLOCK(rows)                                                                                         \
    __asm__(".syntax unified\n"                                                                                        \
            "mov r11, r7\n"                                                                                            \
            "adds r7, r3, r3\n" rows "mov r7, r11\n"                                                                   \
            : "+r"(at), "+r"(weight), "+r"(first_sum), "+r"(second_sum)                                                \
            : "r"(step), "r"(skip)                                                                                     \
            : "r2", "r4", "r5", "r6", "r11", "cc", "memory")
#define NEIGHBOURS_ROWS(load)                                                                                          \
    if (p->rows == 3) {                                                                                                \
        NEIGHBOURS_BLOCK(                                                                                              \
            NEIGHBOURS_ROW(load) "add r0, r10\n" NEIGHBOURS_ROW(load) "add r0, r10\n" NEIGHBOURS_ROW(load));           \
    } else {                                                                                                           \
        for (int32_t row = p->rows; row > 0; row--) {                                                                  \
            NEIGHBOURS_BLOCK(NEIGHBOURS_ROW(load) "add r0, r10\n");                                                    \
        }                                                                                                              \
    }

/* first, second + products of windows of three columns, the second one a step behind the first, with the same weights.
 * next_row: from a row's third column. */
ALWAYS_INLINE void add_neighbours(int32_t *first, int32_t *second, const struct lane_window *p, int32_t next_row,
                                  const uint8_t *map, bool is_signed) {
    register const uint8_t *at __asm__("r0") = map - p->map_column;
    register const lane_weight *weight __asm__("r1") = p->w;
    register int32_t step __asm__("r3") = p->map_column;
    register int32_t first_sum __asm__("r8") = *first;
    register int32_t second_sum __asm__("r9") = *second;
    register int32_t skip __asm__("r10") = next_row;
    if (is_signed) {
        NEIGHBOURS_ROWS("ldrsb")
    } else {
        NEIGHBOURS_ROWS("ldrb")
    }
    *first = first_sum;
    *second = second_sum;
}
#elif LANES == 1
/* first, second + products of windows of three columns, the second one a step behind the first, with the same weights.
 * next_row: from a row's third column. */
ALWAYS_INLINE void add_neighbours(int32_t *first, int32_t *second, const struct lane_window *p, int32_t next_row,
                                  const uint8_t *map, bool is_signed) {
    (void)next_row;
    *first = add_rows((struct sums){{*first}}, 3, p, map, p->w, is_signed).lane[0];
    *second = add_rows((struct sums){{*second}}, 3, p, map + p->map_column, p->w, is_signed).lane[0];
}
#endif

#if LANES == 1
/* Whether add_neighbours() does windows `step` apart. */
static inline bool are_neighbours(const struct lane_window *p, int32_t step) {
    return p->columns == 3 && p->w_row == 3 && p->map_column == step;
}
#endif

#endif
