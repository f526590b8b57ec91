/* SPDX-License-Identifier: Apache-2.0 */
/* SGD with gradients standardized per output channel and an adaptive weight grid (SPEC.md section 6; Eq. 5-8). */
#include <fqt/arithmetic.h>
#include <fqt/standardized_sgd.h>

#include <stddef.h>

#define SMALLEST_SCALE 0x1p-40f
#define WEIGHT_UNIT 65536.0f        /* moved weights are in units of scale / 65536 */
#define LARGEST_PRODUCT (127 * 255) /* of an error and a centred input */
#define MAX_FRACTION_BITS 8         /* a residual is a byte while it is staged */

/* A channel's learning rate falls with the samples that did not keep it (SPEC.md section 5). */
static float channel_rate(const struct fqt_update *u, int32_t chosen) {
    return u->learning_rate * ((float)chosen / (float)u->batch);
}

/* ---- The low bits of a gradient are the weights' residuals ---- */

int32_t fqt_fraction_bits(int32_t positions, int32_t batch_size) {
    uint32_t bound = (uint32_t)(LARGEST_PRODUCT * positions * batch_size) + 1; /* of sums that fit in an int32 */
    int32_t bits = 31 - fqt_bit_length(bound);
    return bits < MAX_FRACTION_BITS ? bits : MAX_FRACTION_BITS;
}

/* x / 2^bits, rounded half up. The bounds of a minibatch (SPEC.md 9) leave room for the half. */
static inline int32_t shifted(int32_t x, int32_t bits) {
    int32_t half = (int32_t)((1u << bits) >> 1);
    return (x + half) >> bits;
}

/* What values have been; starts at 0. */
struct span {
    int32_t lowest, highest;
};

static inline void widen(struct span *span, int32_t value) {
    span->lowest = value < span->lowest ? value : span->lowest;
    span->highest = value > span->highest ? value : span->highest;
}

/* ---- Eq. 8: (G - mean) / deviation = (n g - sum) / root, from exact sums ---- */

/* n |g| and with it the sum are at most 2^29. */
struct moments {
    int32_t shift; /* g = G >> shift, rounded: keeps the sum of squares within 64 bits */
    int32_t sum;   /* sum of g */
    uint32_t root; /* sqrt(n sum of g^2 - sum^2); 0 if all g are equal */
};

/* The largest |G|. */
static uint32_t largest_of(int32_t n, int32_t bits, const int32_t *gradient) {
    struct span span = {0, 0};
    for (int32_t i = 0; i < n; i++) {
        widen(&span, gradient[i]);
    }
    uint32_t below = 0u - (uint32_t)shifted(span.lowest, bits);
    uint32_t above = (uint32_t)shifted(span.highest, bits);
    return below > above ? below : above;
}

static struct moments moments_of(int32_t n, int32_t bits, const int32_t *gradient) {
    uint32_t largest = largest_of(n, bits, gradient);
    int32_t excess = fqt_bit_length(largest) - (29 - fqt_bit_length((uint32_t)(n - 1)));
    struct moments m = {excess > 0 ? excess : 0, 0, 0};
    int64_t squares = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t g = shifted(shifted(gradient[i], bits), m.shift);
        int32_t size = g < 0 ? -g : g;
        m.sum += g;
        squares += fqt_product(size, size);
    }
    m.root = fqt_isqrt((uint64_t)(n * squares - (int64_t)m.sum * m.sum));
    return m;
}

/* Eq. 8 for one channel: writes (w - z + residual) 2^16 - rate (G - mean) / deviation over the gradient. */
static void move_channel(const struct fqt_update *u, struct fqt_grid grid, float rate, const uint8_t *w,
                         int32_t *gradient, struct span *moved) {
    int32_t n = u->fan_in;
    int32_t bits = u->fraction_bits;
    struct moments moments = moments_of(n, bits, gradient);
    float m = moments.root == 0 ? 0.0f : ((rate / grid.scale) * WEIGHT_UNIT) / (float)moments.root;
    struct fqt_rescaler rescaler = fqt_rescaler_of(m);
    struct span span = *moved;
    for (int32_t i = 0; i < n; i++) {
        int32_t whole = shifted(gradient[i], bits);
        int32_t residual = gradient[i] - whole * (1 << bits);
        int32_t deviation = n * shifted(whole, moments.shift) - moments.sum;
        int32_t step = fqt_clamp(fqt_rescale_by(deviation, rescaler, FQT_NEAREST), -FQT_ACC_LIMIT, FQT_ACC_LIMIT);
        gradient[i] = (w[i] - grid.zero) * 65536 + residual * (1 << (16 - bits)) - step;
        widen(&span, gradient[i]);
    }
    *moved = span;
}

/* ---- Eq. 6, 7: the grid follows the weights ---- */

struct fqt_grid fqt_grid_of_range(float lo, float hi, struct fqt_grid old) {
    float scale = (hi - lo) / 255.0f;
    if (!(scale >= SMALLEST_SCALE)) {
        return old;
    }
    return (struct fqt_grid){scale, fqt_fround((0.0f - lo) / scale, 0, 255)};
}

/* The new grid of weights in lowest..highest; the old one while it still fits (hysteresis), because each new grid
 * rounds all weights. */
static struct fqt_grid adapt_grid(struct fqt_grid old, int32_t lowest, int32_t highest) {
    float unit = old.scale / WEIGHT_UNIT;
    float lo = (float)lowest * unit;
    float hi = (float)highest * unit;
    float lo_old = (float)-old.zero * old.scale;
    float hi_old = (float)(255 - old.zero) * old.scale;
    float slack = old.scale * 0.5f;
    if (lo >= lo_old - slack && hi <= hi_old + slack && (hi - lo) >= 0.875f * (hi_old - lo_old)) {
        return old;
    }
    return fqt_grid_of_range(lo, hi, old);
}

#if FQT_WITH_WEIGHT_RANGES
/* That, or what is done instead (SPEC.md 16.1). index: of the grid. */
static struct fqt_grid next_grid(const struct fqt_update *u, struct fqt_grid old, int32_t index, int32_t lowest,
                                 int32_t highest) {
    if (u->weight_range == FQT_HYSTERESIS) {
        return adapt_grid(old, lowest, highest);
    }
    float unit = old.scale / WEIGHT_UNIT;
    struct fqt_grid_range range = {(float)lowest * unit, (float)highest * unit};
    if (u->weight_range == FQT_MOVING_AVERAGE) {
        struct fqt_grid_range *average = &u->ranges[index];
        average->lo = average->lo + u->range_rate * (range.lo - average->lo);
        average->hi = average->hi + u->range_rate * (range.hi - average->hi);
        range = *average;
    }
    return fqt_grid_of_range(range.lo, range.hi, old);
}
#endif

/* ---- Eq. 5 ---- */

/* Staging: n gradients have 4 n bytes. The third n take the new weights, the last n the residuals, as the first half is
 * needed on the way. */

const uint8_t *fqt_staged_weights(const int32_t *gradient, int32_t size) {
    return (const uint8_t *)gradient + 2 * (size_t)size;
}

/* Stochastic rounding to 2^-fraction_bits of a step, elements first..end-1: the byte takes the nearest whole step, the
 * residual the rest. m: old scale / new scale / 65536. */
static void round_weights(const struct fqt_update *u, float m, int32_t zero, int32_t first, int32_t end,
                          int32_t *moved) {
    uint8_t *bytes = (uint8_t *)moved;
    int32_t bits = u->fraction_bits;
    uint32_t key = u->key;
    struct fqt_rescaler fine = fqt_rescaler_of(m * (float)(1 << bits));
    for (int32_t i = first; i < end; i++) {
        int32_t value = fqt_rescale_by(moved[i], fine, fqt_random_word(key, (uint32_t)i));
        int32_t whole = shifted(value, bits);
        int32_t w = fqt_clamp(whole + zero, 0, 255);
        int32_t residual = w == whole + zero ? value - whole * (1 << bits) : 0;
        bytes[2 * i] = (uint8_t)w; /* a pair of bytes overtakes no moved weight that is still to be read */
        bytes[2 * i + 1] = (uint8_t)residual;
    }
}

/* Pairs of bytes, weight and residual, to their places. */
static void stage_weights(int32_t size, int32_t *moved) {
    uint8_t *bytes = (uint8_t *)moved;
    for (int32_t i = 0; i < size; i++) {
        bytes[2 * size + i] = bytes[2 * i];
        bytes[3 * size + i] = bytes[2 * i + 1];
    }
}

void fqt_restore_residuals(int32_t *gradient, int32_t size) {
    const int8_t *residuals = (const int8_t *)gradient + 3 * (size_t)size;
    for (int32_t i = 0; i < size; i++) {
        gradient[i] = residuals[i]; /* word i covers no byte 3 n + j with j > i */
    }
}

/* One grid and its channels first..end-1: moved weights into pairs of bytes. Returns the new grid. */
static struct fqt_grid update_grid(const struct fqt_update *u, struct fqt_grid grid, int32_t first, int32_t end,
                                   const uint8_t *w, int32_t *gradient, const int32_t *chosen) {
    struct span moved = {0, 0};
    for (int32_t co = first; co < end; co++) {
        int32_t start = co * u->fan_in;
        move_channel(u, grid, channel_rate(u, chosen[co]), w + start, gradient + start, &moved);
    }
#if FQT_WITH_WEIGHT_RANGES
    int32_t index = first; /* a grid has one channel, or there is one grid */
    struct fqt_grid new_grid = next_grid(u, grid, index, moved.lowest, moved.highest);
#else
    struct fqt_grid new_grid = adapt_grid(grid, moved.lowest, moved.highest);
#endif
    float m = (grid.scale / new_grid.scale) / WEIGHT_UNIT;
    round_weights(u, m, new_grid.zero, first * u->fan_in, end * u->fan_in, gradient);
    return new_grid;
}

void fqt_update_weights_u8(const struct fqt_update *u, int32_t grids, float *scale, int32_t *zero, const uint8_t *w,
                           int32_t *gradient, const int32_t *chosen) {
    int32_t channels = u->outputs / grids; /* of each */
    for (int32_t i = 0; i < grids; i++) {
        struct fqt_grid grid = {scale[i], zero[i]};
        grid = update_grid(u, grid, i * channels, (i + 1) * channels, w, gradient, chosen);
        scale[i] = grid.scale;
        zero[i] = grid.zero;
    }
    stage_weights(u->outputs * u->fan_in, gradient);
}

void fqt_update_bias_u8(const struct fqt_update *u, float error_scale, const int32_t *bias, int32_t *bias_gradient) {
    float m = ((u->learning_rate * error_scale) / (float)u->batch) * FQT_BIAS_ONE;
    for (int32_t co = 0; co < u->outputs; co++) {
        /* Both within 2^30: no overflow. */
        int32_t moved = bias[co] - fqt_rescale(bias_gradient[co], m, FQT_NEAREST);
        bias_gradient[co] = fqt_clamp(moved, 1 - FQT_WIDE_LIMIT, FQT_WIDE_LIMIT - 1);
    }
}

/* ---- float32 ---- */

/* One channel: new weights over its gradient. */
static void update_channel_f32(int32_t n, float rate, const float *w, float *gradient) {
    float sum = 0.0f;
    for (int32_t i = 0; i < n; i++) {
        sum = sum + gradient[i];
    }
    float mean = sum / (float)n;
    float squares = 0.0f;
    for (int32_t i = 0; i < n; i++) {
        float d = gradient[i] - mean;
        squares = squares + d * d;
    }
    float sigma = fqt_sqrt(squares / (float)n);
    for (int32_t i = 0; i < n; i++) {
        gradient[i] = sigma > 0.0f ? w[i] - rate * ((gradient[i] - mean) / sigma) : w[i];
    }
}

void fqt_update_weights_f32(const struct fqt_update *u, const float *w, float *gradient, const int32_t *chosen) {
    for (int32_t co = 0; co < u->outputs; co++) {
        int32_t start = co * u->fan_in;
        update_channel_f32(u->fan_in, channel_rate(u, chosen[co]), w + start, gradient + start);
    }
}

void fqt_update_bias_f32(const struct fqt_update *u, const float *bias, float *bias_gradient) {
    for (int32_t co = 0; co < u->outputs; co++) {
        bias_gradient[co] = bias[co] - u->learning_rate * (bias_gradient[co] / (float)u->batch);
    }
}
