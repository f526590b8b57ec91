/* SPDX-License-Identifier: Apache-2.0 */
/* What windows share: which of their taps lie inside the input, and which windows read an input. */
#ifndef FQT_WINDOW_H
#define FQT_WINDOW_H

#include "elements.h"

/* ceil(a / b) for a > 0. Most steps are 1, and a Cortex-M0+ has no division. */
static inline int32_t divided_up(int32_t a, int32_t b) {
    return b == 1 ? a : (a + b - 1) / b;
}

/* Along one axis: kernel taps first..last-1 of an output lie inside the input, the first one at index `in`. */
struct taps {
    int32_t first, last, in;
};

static inline struct taps taps_of(int32_t out, int32_t stride, int32_t pad, int32_t kernel, int32_t dilation,
                                  int32_t size) {
    int32_t origin = out * stride - pad;
    int32_t first = origin < 0 ? divided_up(-origin, dilation) : 0;
    int32_t last = fqt_min(kernel, divided_up(size - origin, dilation));
    if (first >= last) { /* a small input may lie between two taps */
        return (struct taps){0, 0, 0};
    }
    return (struct taps){first, last, origin + first * dilation};
}

/* Along one axis: outputs first..last-1 may have a tap on an input index, see tap_on(). */
struct outputs {
    int32_t first, last;
};

static inline struct outputs outputs_of(int32_t in, int32_t stride, int32_t pad, int32_t kernel, int32_t dilation,
                                        int32_t size) {
    int32_t from = in + pad - (kernel - 1) * dilation;
    int32_t first = from <= 0 ? 0 : divided_up(from, stride);
    return (struct outputs){first, fqt_min(size, (in + pad) / stride + 1)};
}

/* The tap of an output of outputs_of() on the input index; -1 if the input lies between two taps. */
static inline int32_t tap_on(int32_t in, int32_t out, int32_t stride, int32_t pad, int32_t dilation) {
    int32_t distance = in + pad - out * stride;
    if (dilation == 1) {
        return distance;
    }
    return distance % dilation == 0 ? distance / dilation : -1;
}

static inline struct taps rows_of(const struct fqt_geometry *g, int32_t oy) {
    return taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->dilation_h, g->in_h);
}

static inline struct taps columns_of(const struct fqt_geometry *g, int32_t ox) {
    return taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->dilation_w, g->in_w);
}

static inline struct outputs readers_of_row(const struct fqt_geometry *g, int32_t iy) {
    return outputs_of(iy, g->stride_h, g->pad_top, g->kernel_h, g->dilation_h, g->out_h);
}

static inline struct outputs readers_of_column(const struct fqt_geometry *g, int32_t ix) {
    return outputs_of(ix, g->stride_w, g->pad_left, g->kernel_w, g->dilation_w, g->out_w);
}

#endif
