/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks in C, with the panels of blocks_dsp.c: the drivers' tests run on any machine. */
#include "blocks.h"

#include <fqt/arithmetic.h>
#include <string.h>

#ifdef FQT_BLOCKS_PORTABLE

static void add_rows(const struct fqt_rows *rows, int32_t n) {
    for (int32_t row = 0; row < rows->count; row++) {
        const uint8_t *w = rows->w + row * rows->step;
        for (int32_t v = 0; v < n; v++) {
            int32_t sum = rows->start[v][row];
            for (int32_t k = 0; k < rows->length; k++) {
                sum += fqt_row(rows->panel, n, v, k) * w[k];
            }
            rows->acc[v * FQT_PAIR_ROWS + row] = sum;
        }
    }
}

void fqt_rows_1(const struct fqt_rows *rows) {
    add_rows(rows, 1);
}

void fqt_rows_2(const struct fqt_rows *rows) {
    add_rows(rows, 2);
}

void fqt_small_window(const uint8_t *x, const int32_t at[FQT_SMALL_READS], const struct fqt_small_rows *rows,
                      int32_t *acc) {
    const union fqt_word *words = rows->words;
    for (int32_t channel = 0; channel < rows->count; channel++) {
        acc[channel] = words->word;
        for (int32_t k = 0; k < FQT_SMALL_READS * FQT_READ_BYTES; k++) {
            acc[channel] += fqt_row(words + 1, 1, 0, k) * x[at[k / FQT_READ_BYTES] + k % FQT_READ_BYTES];
        }
        words += 1 + 2 * FQT_SMALL_READS;
    }
}

bool fqt_put_outputs(const struct fqt_outputs *outputs, int32_t plus, const int32_t *acc, int32_t count, uint8_t *y) {
    bool beyond = false;
    for (int32_t i = 0; i < count; i++) {
        int32_t sum = acc[i] + plus;
        beyond |= (uint32_t)sum - (uint32_t)outputs->least > outputs->span;
        int32_t product = fqt_saturate_16(sum >> outputs->pre) * outputs->mantissa;
        y[i] = (uint8_t)fqt_clamp((product + outputs->offset) >> outputs->post, (int32_t)(outputs->lower & 255),
                                  (int32_t)(outputs->upper & 255));
    }
    return beyond;
}

static void columns(const union fqt_word *panel, int32_t n, const uint8_t *bytes, int32_t n_columns, int32_t quads,
                    int32_t *acc) {
    for (int32_t c = 0; c < n_columns; c++) {
        for (int32_t v = 0; v < n; v++) {
            for (int32_t p = 0; p < quads * FQT_QUAD; p++) {
                acc[c * n + v] += fqt_column(panel, n, v, p) * bytes[fqt_offset(panel, n, p) + c];
            }
        }
    }
}

void fqt_columns_1x4(const union fqt_word *panel, const uint8_t *bytes, int32_t quads, int32_t acc[4]) {
    columns(panel, 1, bytes, 4, quads, acc);
}

void fqt_columns_4x2_u8(const union fqt_word *panel, const uint8_t *bytes, int32_t quads, int32_t acc[8]) {
    columns(panel, 4, bytes, 2, quads, acc);
}

void fqt_gradients(const union fqt_word *panel, const int8_t *e, int32_t quads, int32_t *const gradients[2],
                   int32_t factor) {
    for (int32_t c = 0; c < 2; c++) {
        for (int32_t v = 0; v < FQT_GRADIENT_VECTORS; v++) {
            int32_t sum = 0;
            for (int32_t p = 0; p < quads * FQT_QUAD; p++) {
                sum +=
                    fqt_column(panel, FQT_GRADIENT_VECTORS, v, p) * e[fqt_offset(panel, FQT_GRADIENT_VECTORS, p) + c];
            }
            gradients[c][v] += factor * sum;
        }
    }
}

void fqt_rank_one(int32_t *gradient, const union fqt_word *panel, int32_t factor, int32_t quads) {
    for (int32_t k = 0; k < quads * FQT_QUAD; k++) {
        gradient[k] += factor * fqt_row(panel, 1, 0, k);
    }
}

void fqt_axpy_u8(int32_t *sums, const uint8_t *bytes, int32_t n, int32_t factor, int32_t zero) {
    for (int32_t i = 0; i < n; i++) {
        sums[i] += factor * (bytes[i] - zero);
    }
}

void fqt_clear(void *words, int32_t quads) {
    memset(words, 0, (size_t)quads * FQT_QUAD * sizeof(int32_t));
}

void fqt_fill_offsets(union fqt_word *panel, int32_t n, int32_t p, int32_t first, int32_t step, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        fqt_set_offset(panel, n, p + i, first);
        first += step;
    }
}

int32_t fqt_fill_row(union fqt_word *panel, int32_t n, int32_t v, int32_t k, const uint8_t *x, int32_t count,
                     int32_t zero) {
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        fqt_set_row(panel, n, v, k + i, x[i] - zero);
        sum += x[i] - zero;
    }
    return sum;
}

void fqt_fill_columns(union fqt_word *panel, int32_t p, const int8_t *const e[4], int32_t j, int32_t count,
                      int32_t sums[4]) {
    for (int32_t v = 0; v < 4; v++) {
        sums[v] = 0;
        for (int32_t i = 0; i < count; i++) {
            int32_t error = e[v] == NULL ? 0 : e[v][j + i];
            fqt_set_column(panel, 4, v, p + i, error);
            sums[v] += error;
        }
    }
}

int32_t fqt_fill_errors(union fqt_word *panel, int32_t p, const int8_t *e, int32_t count, int32_t first, int32_t step,
                        int32_t *sum) {
    int32_t from = p;
    int32_t total = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t error = e[i];
        if (error != 0) {
            fqt_set_column(panel, 1, 0, p, error);
            fqt_set_offset(panel, 1, p, first);
            total += error;
            p++;
        }
        first += step;
    }
    *sum = total;
    return p - from;
}

void fqt_fill_column(union fqt_word *panel, int32_t v, int32_t p, const uint8_t *x, int32_t step, int32_t count,
                     int32_t zero) {
    for (int32_t i = 0; i < count; i++) {
        fqt_set_column(panel, FQT_GRADIENT_VECTORS, v, p + i, x[i * step] - zero);
    }
}

void fqt_fill_neighbours(union fqt_word *panel, int32_t p, const uint8_t *x, int32_t step, int32_t count,
                         int32_t zero) {
    for (int32_t i = 0; i < count; i++) {
        for (int32_t v = 0; v < FQT_GRADIENT_VECTORS; v++) {
            fqt_set_column(panel, FQT_GRADIENT_VECTORS, v, p + i, x[i * step + v] - zero);
        }
    }
}

#endif
