/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The innermost blocks of convolutions and linear layers: a few sums at once in registers, between vectors that a
 * driver has gathered in a panel and bytes that stay where they are.
 *
 * Which file defines them follows from the core: blocks_dsp.c where one instruction makes two products (Cortex-M4, M7),
 * blocks_armv6m.c (Cortex-M0, M0+), blocks_portable.c to test the drivers anywhere. Elsewhere the plain kernels run.
 */
#ifndef FQT_BLOCKS_H
#define FQT_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(FQT_PLAIN_KERNELS) || defined(CONFIG_FQT_PLAIN_KERNELS)
#elif defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#define FQT_BLOCKS_DSP
#elif defined(__ARM_ARCH_6M__)
#define FQT_BLOCKS_ARMV6M
#elif defined(FQT_BLOCKED_KERNELS)
#define FQT_BLOCKS_PORTABLE
#endif

#if defined(FQT_BLOCKS_DSP) || defined(FQT_BLOCKS_PORTABLE)
#define FQT_BLOCKS
#define FQT_PAIRED             /* two elements of a vector a word */
#define FQT_PANEL_WORDS 192    /* of a panel on the stack */
#define FQT_ROW_VECTORS 2      /* output positions at once */
#define FQT_ERROR_VECTORS 4    /* input positions at once */
#define FQT_GRADIENT_VECTORS 4 /* weights of a channel at once */
#elif defined(FQT_BLOCKS_ARMV6M)
#define FQT_BLOCKS
#define FQT_PANEL_WORDS 96
#define FQT_ROW_VECTORS 1
#define FQT_ERROR_VECTORS 1
#define FQT_GRADIENT_VECTORS 2
#endif

#ifdef FQT_BLOCKS

#define FQT_QUAD 4 /* panels are filled up to a multiple of this */

/* An element of a panel. */
union fqt_word {
    int32_t word;
    int16_t half[2];
};

/* ---- Panels of rows: n vectors of elements k that meet rows of bytes ----
 * Paired: [k / 4][vector] words of elements (0, 2) and (1, 3), as UXTB16 takes bytes apart. Else [k], one vector. */

static inline void fqt_set_row(union fqt_word *panel, int32_t n, int32_t v, int32_t k, int32_t value) {
#ifdef FQT_PAIRED
    panel[((k >> 2) * n + v) * 2 + (k & 1)].half[(k >> 1) & 1] = (int16_t)value;
#else
    (void)n;
    (void)v;
    panel[k].word = value;
#endif
}

static inline int32_t fqt_row(const union fqt_word *panel, int32_t n, int32_t v, int32_t k) {
#ifdef FQT_PAIRED
    return panel[((k >> 2) * n + v) * 2 + (k & 1)].half[(k >> 1) & 1];
#else
    (void)n;
    (void)v;
    return panel[k].word;
#endif
}

/* Elements that a panel of n vectors holds. */
static inline int32_t fqt_row_capacity(int32_t n) {
#ifdef FQT_PAIRED
    return n == 1 ? FQT_PANEL_WORDS / 2 * FQT_QUAD : FQT_PANEL_WORDS / (2 * FQT_ROW_VECTORS) * FQT_QUAD;
#else
    (void)n;
    return FQT_PANEL_WORDS;
#endif
}

/* ---- Panels of columns: n vectors of elements p, each with the offset of the bytes that it meets ----
 * Paired: elements (0, 2) and (1, 3) of four: both offsets, then a word a vector. Else the vectors, then the offset. */

#ifdef FQT_PAIRED
#define FQT_COLUMN_AT(n, p) ((((p) >> 2) * 2 + ((p)&1)) * ((n) + 2))
#define FQT_COLUMN_HALF(p) (((p) >> 1) & 1)
#endif

static inline void fqt_set_offset(union fqt_word *panel, int32_t n, int32_t p, int32_t offset) {
#ifdef FQT_PAIRED
    panel[FQT_COLUMN_AT(n, p) + FQT_COLUMN_HALF(p)].word = offset;
#else
    panel[p * (n + 1) + n].word = offset;
#endif
}

static inline int32_t fqt_offset(const union fqt_word *panel, int32_t n, int32_t p) {
#ifdef FQT_PAIRED
    return panel[FQT_COLUMN_AT(n, p) + FQT_COLUMN_HALF(p)].word;
#else
    return panel[p * (n + 1) + n].word;
#endif
}

static inline void fqt_set_column(union fqt_word *panel, int32_t n, int32_t v, int32_t p, int32_t value) {
#ifdef FQT_PAIRED
    panel[FQT_COLUMN_AT(n, p) + 2 + v].half[FQT_COLUMN_HALF(p)] = (int16_t)value;
#else
    panel[p * (n + 1) + v].word = value;
#endif
}

static inline int32_t fqt_column(const union fqt_word *panel, int32_t n, int32_t v, int32_t p) {
#ifdef FQT_PAIRED
    return panel[FQT_COLUMN_AT(n, p) + 2 + v].half[FQT_COLUMN_HALF(p)];
#else
    return panel[p * (n + 1) + v].word;
#endif
}

/* Elements that a panel of n vectors holds. */
static inline int32_t fqt_column_capacity(int32_t n) {
#ifdef FQT_PAIRED
    return n == 1 ? FQT_PANEL_WORDS / 6 * FQT_QUAD : FQT_PANEL_WORDS / (2 * (FQT_ERROR_VECTORS + 2)) * FQT_QUAD;
#else
    return n == 1 ? FQT_PANEL_WORDS / 2 : FQT_PANEL_WORDS / 3 / FQT_QUAD * FQT_QUAD;
#endif
}

/* Zeroes words, 4 * quads of them. A C library's memset() may go byte by byte. */
void fqt_clear(void *words, int32_t quads);

/* Zeroes n bytes. */
static inline void fqt_clear_bytes(int8_t *p, int32_t n) {
    while (n > 0 && (uintptr_t)p % sizeof(int32_t) != 0) {
        *p++ = 0;
        n--;
    }
    if (n >= 16) {
        fqt_clear(p, n / 16);
        p += n & ~15;
    }
    for (int32_t k = n & 12; k > 0; k -= 4) {
        memset(__builtin_assume_aligned(p, 4), 0, 4); /* one store */
        p += 4;
    }
    for (int32_t k = 0; k < (n & 3); k++) {
        p[k] = 0;
    }
}

#ifdef FQT_PAIRED
/* Elements p.. of four vectors: errors from e[v] + j, 0 where e[v] is NULL; puts their sums. */
void fqt_fill_columns(union fqt_word *panel, int32_t p, const int8_t *const e[4], int32_t j, int32_t count,
                      int32_t sums[4]);
#endif

/* Offsets of elements p..: first, first + step, ... */
void fqt_fill_offsets(union fqt_word *panel, int32_t n, int32_t p, int32_t first, int32_t step, int32_t count);

/* ---- Filling panels ---- */

/* Elements k.. of vector v of n: x - zero. Returns their sum. */
int32_t fqt_fill_row(union fqt_word *panel, int32_t n, int32_t v, int32_t k, const uint8_t *x, int32_t count,
                     int32_t zero);

/* Elements p.. of a panel of one vector: those of `count` errors that are not 0, with offsets first, first + step, ...
 * of all. Puts their sum; returns how many they are. */
int32_t fqt_fill_errors(union fqt_word *panel, int32_t p, const int8_t *e, int32_t count, int32_t first, int32_t step,
                        int32_t *sum);

/* Elements p.. of vector v of FQT_GRADIENT_VECTORS: x - zero, `step` apart. */
void fqt_fill_column(union fqt_word *panel, int32_t v, int32_t p, const uint8_t *x, int32_t step, int32_t count,
                     int32_t zero);

/* Elements p.. of all FQT_GRADIENT_VECTORS vectors: neighbours x - zero, `step` on from element to element. */
void fqt_fill_neighbours(union fqt_word *panel, int32_t p, const uint8_t *x, int32_t step, int32_t count, int32_t zero);

/* ---- Sums of rows ---- */

#define FQT_PAIR_ROWS 32 /* of two vectors, the second one's sums lie so far behind the first one's */

/* Rows of bytes that meet a panel, and their sums. Assembly knows the order. */
struct fqt_rows {
    const union fqt_word *panel;
    int32_t length; /* elements of the panel, 1 at least */
    const uint8_t *w;
    int32_t step;  /* from row to row */
    int32_t count; /* 1 at least */
    int32_t *acc;
    const int32_t *start[FQT_ROW_VECTORS]; /* of each vector: what the sums start from */
};

/* acc[row] = start[0][row] + sum panel[k] w[row step + k]. */
void fqt_rows_1(const struct fqt_rows *rows);

#ifdef FQT_PAIRED
/* The same of two vectors; of an odd number of rows, it puts a sum too many. */
void fqt_rows_2(const struct fqt_rows *rows);
#endif

/* ---- Small windows: read where they lie, with weights that are unpacked ---- */

#define FQT_SMALL_CHANNELS 16 /* at once */
#ifdef FQT_PAIRED
#define FQT_SMALL_READS 3 /* of a window at most */
#define FQT_READ_BYTES 4
#define FQT_SMALL_WORDS (FQT_SMALL_CHANNELS * (1 + 2 * FQT_SMALL_READS))
#else
#define FQT_SMALL_READS 9
#define FQT_READ_BYTES 1
#define FQT_SMALL_WORDS (FQT_SMALL_CHANNELS * (1 + FQT_SMALL_READS))
#endif

/* What sums start from, and weights. Paired: channel after channel, the start and then weights as in a row's panel;
 * else four channels after four, the starts, and then four weights of each read. Assembly knows the order. */
struct fqt_small_rows {
    int32_t reads; /* else a multiple of 3 */
    int32_t count; /* channels */
    union fqt_word words[FQT_SMALL_WORDS];
};

/* Puts weight k of a channel, or with k == -1 what its sum starts from. */
static inline void fqt_set_small(struct fqt_small_rows *rows, int32_t channel, int32_t k, int32_t value) {
#ifdef FQT_PAIRED
    union fqt_word *at = rows->words + channel * (1 + 2 * FQT_SMALL_READS);
    if (k < 0) {
        at->word = value;
    } else {
        fqt_set_row(at + 1, 1, 0, k, value);
    }
#else
    rows->words[((channel >> 2) * (1 + rows->reads) + 1 + k) * 4 + (channel & 3)].word = value;
#endif
}

/* acc[channel] = start + the products of its weights and the bytes read at x + at[]. Puts up to three sums too many. */
void fqt_small_window(const uint8_t *x, const int32_t at[FQT_SMALL_READS], const struct fqt_small_rows *rows,
                      int32_t *acc);

/* ---- Outputs ---- */

#ifdef FQT_PAIRED
#define FQT_LANES 0x01010101u /* limits of outputs: a byte times this */
#else
#define FQT_LANES 1
#endif

/* How the sums of a grid become outputs: fqt_output_u8() with all taken out that does not depend on the sum. Assembly
 * knows the order. */
struct fqt_outputs {
    int32_t least; /* of the sums seen, and how far the greatest is above it */
    uint32_t span;
    int32_t pre, post;
    int32_t mantissa, offset; /* half a step of the second shift, and the zero point */
    uint32_t lower, upper;    /* times FQT_LANES */
};

/* Puts the outputs of sums acc + plus. Returns whether one of them, or of up to three behind them, is beyond those
 * seen. */
bool fqt_put_outputs(const struct fqt_outputs *outputs, int32_t plus, const int32_t *acc, int32_t count, uint8_t *y);

/* ---- The blocks. acc: sums so far; quads: elements / 4, at least 1 ---- */

/* acc[column] += sum panel[p] bytes[offset p + column], for four columns. */
void fqt_columns_1x4(const union fqt_word *panel, const uint8_t *bytes, int32_t quads, int32_t acc[4]);

/* gradient[k] += factor panel[k], for a panel of one row. */
void fqt_rank_one(int32_t *gradient, const union fqt_word *panel, int32_t factor, int32_t quads);

/* sums[i] += factor (bytes[i] - zero), i < n; |factor| < 2^15. */
void fqt_axpy_u8(int32_t *sums, const uint8_t *bytes, int32_t n, int32_t factor, int32_t zero);

#ifdef FQT_PAIRED
/* acc[column][v] += sum panel[v][p] bytes[offset p + column], for four vectors and two columns. */
void fqt_columns_4x2_u8(const union fqt_word *panel, const uint8_t *bytes, int32_t quads, int32_t acc[8]);

#endif

#ifdef FQT_BLOCKS_ARMV6M
/* fqt_columns_1x4() for eight columns. */
void fqt_columns_1x8(const union fqt_word *panel, const uint8_t *bytes, int32_t quads, int32_t acc[8]);
#endif

/* gradients[column][v] += factor sum panel[v][p] e[offset p + column], for FQT_GRADIENT_VECTORS and two columns. */
void fqt_gradients(const union fqt_word *panel, const int8_t *e, int32_t quads, int32_t *const gradients[2],
                   int32_t factor);

#endif

#endif
