/* SPDX-License-Identifier: Apache-2.0 */
#include "conv2d_outputs.h"

#ifdef FQT_BLOCKS

/* What fqt_put_outputs() need not report. Where nobody asks for extremes, all sums have been seen. */
static void see(struct fqt_results *results) {
    const struct fqt_extremes *seen = results->extremes;
    struct fqt_outputs *outputs = &results->outputs;
    if (seen == NULL) {
        outputs->least = 0;
        outputs->span = UINT32_MAX;
    } else if (seen->least > seen->greatest) { /* none so far */
        outputs->least = INT32_MAX;
        outputs->span = 0;
    } else {
        outputs->least = seen->least + fqt_requantizer_half(results->q->requantizers[0]);
        outputs->span = (uint32_t)seen->greatest - (uint32_t)seen->least;
    }
}

void fqt_results_init(struct fqt_results *results, const struct fqt_forward_quantization *q,
                      struct fqt_extremes *extremes) {
    struct fqt_requantizer r = q->requantizers[0];
    struct fqt_outputs *outputs = &results->outputs;
    results->q = q;
    results->extremes = extremes;
    outputs->pre = r.pre;
    outputs->post = r.post;
    outputs->mantissa = r.mantissa;
    /* post <= 21, so that the offset leaves the product its 31 bits */
    outputs->offset = ((int32_t)1 << (r.post - 1)) + q->zero_y * ((int32_t)1 << r.post);
    outputs->lower = (uint32_t)q->lower * FQT_LANES;
    outputs->upper = (uint32_t)q->upper * FQT_LANES;
    see(results);
}

/* The same with a grid for each channel. Everything is known before the loop, but not to a compiler, because y might
 * change it. */
static void put_of_grids(const struct fqt_forward_quantization *q, struct fqt_extremes *extremes, int32_t zero_sum,
                         int32_t co, int32_t count, const int32_t *acc, uint8_t *y) {
    const struct fqt_requantizer *requantizer = q->requantizers + co;
    const int32_t *zero_w = q->zero_w + co;
    const int32_t zero_y = q->zero_y;
    const int32_t lower = q->lower;
    const int32_t upper = q->upper;
    for (int32_t i = 0; i < count; i++) {
        int32_t sum = acc[i] - zero_w[i] * zero_sum;
        if (extremes != NULL && sum < extremes[co + i].least) {
            extremes[co + i].least = sum;
        }
        if (extremes != NULL && sum > extremes[co + i].greatest) {
            extremes[co + i].greatest = sum;
        }
        y[i] = (uint8_t)fqt_clamp(fqt_requantize(sum, requantizer[i]) + zero_y, lower, upper);
    }
}

void fqt_results_put(struct fqt_results *results, int32_t zero_sum, int32_t co, int32_t count, const int32_t *acc,
                     uint8_t *y) {
    const struct fqt_forward_quantization *q = results->q;
    if (q->grids > 1) {
        put_of_grids(q, results->extremes, zero_sum, co, count, acc, y);
        return;
    }
    int32_t minus = q->zero_w[0] * zero_sum;
    int32_t plus = fqt_requantizer_half(q->requantizers[0]) - minus;
    if (fqt_put_outputs(&results->outputs, plus, acc, count, y)) {
        for (int32_t i = 0; i < count; i++) {
            fqt_widen(results->extremes, acc[i] - minus);
        }
        see(results);
    }
}

#endif
