/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of a few channels at a time (SPEC.md 4.1-4.4). A block's weights are unpacked once and stay on
 * the stack while it walks over all positions, in rectangles of windows that have the same taps inside the map. */
#include "depthwise_conv2d_blocked.h"

#include "blocks.h"
#include "window.h"

#ifdef FQT_BLOCKS

#include "depthwise_gradients.h"
#include "depthwise_requantize.h"

/* Columns of a map and their channels. The last block starts early where columns are left over, and leaves out those
 * that are done. Lanes that fewer columns than lanes leave over read what follows in the map, for nothing. */
struct block {
    int32_t first;    /* column */
    int32_t from, to; /* lanes that count */
    int32_t channel[LANES];
};

static struct block block_at(int32_t column, int32_t columns, const struct fqt_channels *kept) {
    struct block b;
    b.first = fqt_max(0, fqt_min(column, columns - LANES));
    b.from = column - b.first;
    b.to = fqt_min(LANES, columns);
    for (int32_t i = 0; i < LANES; i++) {
        b.channel[i] = fqt_kept_channel(kept, b.first + (i < b.to ? i : 0));
    }
    return b;
}

bool fqt_depthwise_is_blocked(const struct fqt_geometry *g, int32_t n, const struct fqt_requantizer *requantizers) {
    for (int32_t i = 0; i < n; i++) {
        if (!lane_requantizer_exists(requantizers[i])) {
            return false;
        }
    }
    bool steps = (g->stride_h == 1 || g->dilation_h == 1) && (g->stride_w == 1 || g->dilation_w == 1);
    return g->out_c >= LANES && g->kernel_h * g->kernel_w <= LANE_TAPS && steps;
}

/* The weights of a tap; w: at the first channel's. */
__attribute__((noinline)) static lane_weight unpack_weight(const struct block *b, int32_t taps, int32_t grids,
                                                           const int32_t *zero_w, const uint8_t *w) {
    int32_t value[LANES];
    for (int32_t i = 0; i < LANES; i++) {
        value[i] = w[b->channel[i] * taps] - zero_w[fqt_grid_index(grids, b->channel[i])];
    }
    return lane_weight_of(value);
}

/* ---- Runs ---- */

/* Windows along an axis: where the next one starts on the map, how far they are apart, how many are left. */
struct line {
    int32_t start, advance, left;
    int32_t taps, dilation, size; /* of a window; of the map */
};

/* Windows in a row with the same taps inside the map. */
struct run {
    struct taps taps; /* of the first */
    int32_t n;
};

static struct run next_run(struct line *line) {
    int32_t inside = line->size - (line->taps - 1) * line->dilation; /* whole windows start before this */
    struct run run = {{0, line->taps, line->start}, 1};
    if (line->start >= 0 && line->start < inside) {
        run.n = fqt_min(line->left, divided_up(inside - line->start, line->advance));
    } else {
        run.taps = taps_of(line->start, 1, 0, line->taps, line->dilation, line->size);
    }
    line->start += run.n * line->advance;
    line->left -= run.n;
    return run;
}

/* ---- Forward, Eq. 3 ---- */

/* Extremes of a lane's sums: the least seen, and how far the greatest is above it. */
struct lane_extremes {
    int32_t least;
    uint32_t span;
};

/* Outputs whose windows have the same taps. */
struct forward_field {
    struct lane_window window;
    struct sums bias;  /* and half a step of the first shift */
    struct sums start; /* that, and what the zero point of the map takes off */
    int32_t zero_x;
    struct lane_requantizer requantizers[LANES];
    struct lane_extremes extremes[LANES];
    int32_t zero_y;
    int32_t tracked; /* whether somebody asks for the extremes */
    uint8_t *y;
    int32_t rows, columns;
    int32_t map_row, map_column, y_row, y_column; /* steps */
    int32_t map_step, y_step;                     /* of a line */
    int32_t next_map;                             /* from a window's third row */
    uint32_t lower, upper;                        /* a byte for each lane */
    uint32_t range;                               /* upper - lower */
};

/* Of raised sums, from those of the sums; before any was seen, the least is above them all. */
static struct lane_extremes lane_extremes_of(struct fqt_extremes seen, int32_t half) {
    if (seen.least > seen.greatest) {
        return (struct lane_extremes){INT32_MAX, 0};
    }
    return (struct lane_extremes){seen.least + half, (uint32_t)seen.greatest - (uint32_t)seen.least};
}

static inline bool is_beyond(const struct lane_extremes *seen, int32_t sum) {
    return (uint32_t)sum - (uint32_t)seen->least > seen->span;
}

/* Rare: kept out of the loop's registers. */
__attribute__((noinline)) static void widen_lanes(struct lane_extremes *seen, struct sums sums) {
    for (int32_t i = 0; i < LANES; i++, seen++) {
        int32_t sum = sums.lane[i];
        int32_t greatest = seen->least == INT32_MAX ? sum : fqt_max(sum, (int32_t)((uint32_t)seen->least + seen->span));
        seen->least = fqt_min(sum, seen->least);
        seen->span = (uint32_t)greatest - (uint32_t)seen->least;
    }
}

static inline void track(struct lane_extremes *seen, struct sums sums) {
    bool beyond = is_beyond(&seen[0], sums.lane[0]);
#if LANES == 4
    beyond = beyond || is_beyond(&seen[1], sums.lane[1]) || is_beyond(&seen[2], sums.lane[2]) ||
             is_beyond(&seen[3], sums.lane[3]);
#endif
    if (beyond) {
        widen_lanes(seen, sums);
    }
}

#if LANES == 4
static inline void put_outputs(struct forward_field *f, struct sums sums, uint8_t *y) {
    if (f->tracked) {
        track(f->extremes, sums);
    }
    packed_store(y, packed_clamp(lane_bytes(f->requantizers, sums, f->zero_y), f->lower, f->upper));
}
#else
static inline void put_outputs(struct forward_field *f, struct sums sums, uint8_t *y) {
    if (f->tracked) {
        track(f->extremes, sums);
    }
    *y = (uint8_t)(lane_limit(lane_requantize(f->requantizers[0], sums.lane[0]), f->range) + f->lower);
}

/* Of two neighbours, step by step: each constant is loaded once. */
static inline void put_two_outputs(struct forward_field *f, int32_t first, int32_t second, uint8_t *y) {
    if (f->tracked) {
        track(f->extremes, (struct sums){{first}});
        track(f->extremes, (struct sums){{second}});
    }
    const struct lane_requantizer *r = &f->requantizers[0];
    int32_t shift = r->shift;
    first = fqt_saturate_16(first >> shift);
    second = fqt_saturate_16(second >> shift);
    int32_t mantissa = r->mantissa;
    first *= mantissa;
    second *= mantissa;
    int32_t offset = r->offset;
    first += offset;
    second += offset;
    int32_t post = r->post;
    uint32_t range = f->range;
    uint32_t a = lane_limit(first >> post, range);
    uint32_t b = lane_limit(second >> post, range);
    uint32_t lower = f->lower;
    y[0] = (uint8_t)(a + lower);
    y[f->y_column] = (uint8_t)(b + lower);
}

/* All but the last one of an odd number of columns. */
__attribute__((noinline)) static void forward_neighbours(struct forward_field *f) {
    int32_t step = f->window.map_column;
    int32_t next_row = f->window.map_row - 2 * step;
    for (int32_t row = 0; row < f->rows; row++) {
        const uint8_t *map = f->window.map + row * f->map_row;
        uint8_t *y = f->y + row * f->y_row;
        for (int32_t n = f->columns; n > 1; n -= 2) {
            int32_t first = f->start.lane[0];
            int32_t second = first;
            add_neighbours(&first, &second, &f->window, next_row, map, false);
            put_two_outputs(f, first, second, y);
            map += 2 * step;
            y += 2 * f->y_column;
        }
    }
    int32_t done = f->columns & -2;
    f->window.map += done * step;
    f->y += done * f->y_column;
    f->columns -= done;
}
#endif

/* n outputs, steps apart. A function of its own: the registers are for its loops. */
__attribute__((noinline)) static void forward_line(struct forward_field *f, const uint8_t *map, uint8_t *y, int32_t n) {
    enum shape shape = shape_of(&f->window);
    f->next_map = f->map_step - 2 * f->window.map_row;
    for (; shape == SHAPE_3X3 && n > 0; n--) {
        put_outputs(f, add_3x3(f->start, &f->window, &map, false), y);
        map += f->next_map;
        y += f->y_step;
    }
    for (; n > 0; n--) {
        KEEP_ONE_LOOP(shape);
        put_outputs(f, add_window(f->start, shape, &f->window, map, false), y);
        map += f->map_step;
        y += f->y_step;
    }
}

static void forward_field(struct forward_field *f) {
    bool down = f->columns == 1; /* one line of them, then */
    f->map_step = down ? f->map_row : f->map_column;
    f->y_step = down ? f->y_row : f->y_column;
    for (int32_t row = 0; row < (down ? 1 : f->rows); row++) {
        forward_line(f, f->window.map + row * f->map_row, f->y + row * f->y_row, down ? f->rows : f->columns);
    }
}

static void forward_windows(struct forward_field *f) {
#if LANES == 1
    if (are_neighbours(&f->window, f->map_column)) {
        forward_neighbours(f);
    }
#endif
    if (f->columns > 0) {
        forward_field(f);
    }
}

/* No step leaves 32 bits: each product and its part of the zero point together are one of the exact sum's. */
static void take_zero_off(struct forward_field *f) {
    const lane_weight *w = f->window.w;
    struct sums start = f->bias;
    for (int32_t row = f->window.rows; row > 0; row--) {
        for (int32_t column = f->window.columns; column > 0; column--) {
            start = add_multiple(start, -f->zero_x, *w++);
        }
        w += f->window.w_row - f->window.columns;
    }
    f->start = start;
}

/* x, y: at the block's first channel. f: without what belongs to a window. */
static void block_forward(const struct fqt_geometry *g, const lane_weight *weights, const uint8_t *x, uint8_t *y,
                          struct forward_field *f) {
    struct line down = {-g->pad_top, g->stride_h, g->out_h, g->kernel_h, g->dilation_h, g->in_h};
    while (down.left > 0) {
        struct run v = next_run(&down);
        struct line across = {-g->pad_left, g->stride_w, g->out_w, g->kernel_w, g->dilation_w, g->in_w};
        f->rows = v.n;
        f->window.rows = v.taps.last - v.taps.first;
        int32_t at = 0;
        while (across.left > 0) {
            struct run h = next_run(&across);
            f->columns = h.n;
            f->window.columns = h.taps.last - h.taps.first;
            f->window.map = x + (v.taps.in * g->in_w + h.taps.in) * g->in_c;
            f->window.w = weights + v.taps.first * g->kernel_w + h.taps.first;
            take_zero_off(f);
            f->y = y + at;
            forward_windows(f);
            at += h.n * f->y_column;
        }
        y += v.n * f->y_row;
    }
}

void fqt_depthwise_blocked_forward(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                   const uint8_t *x, const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    struct forward_field f = {
        .zero_x = q->zero_x,
        .zero_y = q->zero_y,
        .tracked = extremes != NULL,
        .window.map_row = g->dilation_h * g->in_w * g->in_c,
        .window.map_column = g->dilation_w * g->in_c,
        .window.w_row = g->kernel_w,
        .map_row = g->stride_h * g->in_w * g->in_c,
        .map_column = g->stride_w * g->in_c,
        .y_row = g->out_w * g->out_c,
        .y_column = g->out_c,
        .lower = (uint32_t)q->lower * LANE_BYTES,
        .upper = (uint32_t)q->upper * LANE_BYTES,
        .range = (uint32_t)(q->upper - q->lower),
    };
    int32_t taps = g->kernel_h * g->kernel_w;
    for (int32_t c = 0; c < g->out_c; c += LANES) {
        struct block b = block_at(c, g->out_c, NULL);
        lane_weight weights[LANE_TAPS];
        for (int32_t tap = 0; tap < taps; tap++) {
            weights[tap] = unpack_weight(&b, taps, q->grids, q->zero_w, w + tap);
        }
        for (int32_t i = 0; i < LANES; i++) {
            int32_t grid = fqt_grid_index(q->grids, b.first + i);
            int32_t half = fqt_requantizer_half(q->requantizers[grid]);
            f.requantizers[i] = lane_requantizer_of(q->requantizers[grid], q->zero_y - q->lower);
            f.bias.lane[i] = q->bias_acc[b.first + i] + half;
            if (f.tracked) {
                f.extremes[i] = lane_extremes_of(extremes[grid], half);
            }
        }
        block_forward(g, weights, x + b.first, y + b.first, &f);
        for (int32_t i = 0; f.tracked && i < LANES; i++) {
            int32_t grid = fqt_grid_index(q->grids, b.first + i);
            int32_t least = f.extremes[i].least - fqt_requantizer_half(q->requantizers[grid]);
            fqt_widen(extremes + grid, least);
            fqt_widen(extremes + grid, (int32_t)((uint32_t)least + f.extremes[i].span));
        }
    }
}

/* ---- Error to the input, Eq. 1 and 4: the convolution of the errors with the turned kernel ---- */

/* Inputs `stride` apart have the same turned taps on the outputs that read them. Of such inputs along an axis: the
 * first tap, how many there are (stride apart), how many those of lower phases are, and the output that the first has
 * it on, were there any. */
struct phase {
    int32_t tap, taps, before, output;
};

static struct phase phase_of(int32_t in, int32_t stride, int32_t pad, int32_t kernel, int32_t dilation) {
    int32_t distance = in + pad - (kernel - 1) * dilation;
    struct phase phase = {0, 0, 0, 0};
    while ((distance + phase.tap) % stride != 0) {
        phase.before += phase.tap < kernel ? divided_up(kernel - phase.tap, stride) : 0;
        phase.tap++;
    }
    phase.taps = phase.tap < kernel ? divided_up(kernel - phase.tap, stride) : 0;
    phase.output = (distance + phase.tap) / stride;
    return phase;
}

/* Last tap first, phase after phase along both axes. zero_w: [grids]. */
__attribute__((noinline)) static void unpack_phases(const struct fqt_geometry *g, const struct block *b, int32_t grids,
                                                    const int32_t *zero_w, const uint8_t *w, lane_weight *weights) {
    int32_t taps = g->kernel_h * g->kernel_w;
    const uint8_t *last = w + taps - 1;
    for (int32_t first_row = 0; first_row < g->stride_h; first_row++) {
        for (int32_t first = 0; first < g->stride_w; first++) {
            for (int32_t row = first_row; row < g->kernel_h; row += g->stride_h) {
                for (int32_t column = first; column < g->kernel_w; column += g->stride_w) {
                    const uint8_t *tap = last - row * g->kernel_w - column;
                    *weights++ = unpack_weight(b, taps, grids, zero_w, tap);
                }
            }
        }
    }
}

/* How sums become errors: fqt_errors_u8() with all taken out that does not depend on the sum. */
struct error_output {
    struct lane_requantizer requantizers[LANES]; /* all the same */
    int32_t half;                                /* of it; sums are raised by that */
    int32_t first;                               /* input that passes, and how many do */
    uint32_t passing;
    int32_t largest; /* |sum| or |total| seen */
    int32_t least;   /* raised sum as large as that, and how far the greatest is above it */
    uint32_t span;
    int32_t accumulate;
    uint32_t low, high; /* the least and greatest input that pass, if some do, in four bytes */
};

/* Inputs that the same taps read. */
struct input_field {
    struct lane_window window;
    struct error_output output;
    int32_t factor[LANES];
    int32_t scaled;     /* whether some factor is not 1 */
    int32_t start;      /* of all sums: half, or 0 if they are scaled */
    int32_t fours;      /* whether four errors at once */
    int32_t neighbours; /* these side by side */
    int32_t channel[LANES];
    int32_t from, to; /* lanes */
    const uint8_t *x;
    int8_t *dx;
    int32_t rows, columns;
    int32_t map_row, map_column, x_row, x_column; /* steps */
    int32_t map_step, x_step;                     /* of a line */
    int32_t next_map;                             /* from a window's third row */
};

__attribute__((noinline)) static void set_error_output(struct error_output *o, const struct fqt_error_quantization *q) {
    for (int32_t i = 0; i < LANES; i++) {
        o->requantizers[i] = lane_requantizer_of(q->requantizer, 0);
    }
    o->half = fqt_requantizer_half(q->requantizer);
    o->first = q->lowest + 1;
    o->passing = (uint32_t)fqt_max(0, q->highest - q->lowest - 1);
    o->largest = 0;
    o->least = o->half;
    o->span = 0;
    o->accumulate = q->accumulate;
    o->low = packed_bytes(q->lowest + 1);
    o->high = packed_bytes(fqt_min(255, q->highest - 1));
}

static inline bool is_larger(const struct error_output *o, int32_t raised) {
    return (uint32_t)raised - (uint32_t)o->least > o->span;
}

static inline bool passes(const struct error_output *o, uint8_t x) {
    return (uint32_t)(x - o->first) < o->passing;
}

/* Rare: kept out of the loop's registers. */
__attribute__((noinline)) static void see(struct error_output *o, int32_t value) {
    o->largest = fqt_max(o->largest, value < 0 ? -value : value);
    o->least = o->half - o->largest;
    o->span = 2 * (uint32_t)o->largest;
}

__attribute__((noinline)) static int8_t accumulated_error(struct error_output *o, int32_t raised, int8_t error) {
    int32_t total = error + lane_requantize(o->requantizers[0], raised);
    see(o, total);
    return (int8_t)fqt_clamp(total, -FQT_ERROR_MAX, FQT_ERROR_MAX);
}

static inline void put_error(struct error_output *o, int32_t raised, const uint8_t *x, int8_t *dx) {
    if (!passes(o, *x)) {
        *dx = 0;
    } else if (o->accumulate) {
        *dx = accumulated_error(o, raised, *dx);
    } else {
        if (is_larger(o, raised)) {
            see(o, raised - o->half);
        }
        int32_t error = lane_requantize(o->requantizers[0], raised);
        *dx = (int8_t)((int32_t)lane_limit(error + FQT_ERROR_MAX, 2 * FQT_ERROR_MAX) - FQT_ERROR_MAX);
    }
}

#if LANES == 4
/* Rare: kept out of the loop's registers. */
__attribute__((noinline)) static void see_passing(struct error_output *o, struct sums raised, uint32_t inputs,
                                                  int32_t from) {
    for (int32_t i = from; i < LANES; i++) {
        if (passes(o, (uint8_t)(inputs >> 8 * i))) {
            see(o, raised.lane[i] - o->half);
        }
    }
}

/* Four errors at once, not accumulating; nothing is seen of those before `from`. Some input passes. */
ALWAYS_INLINE uint32_t four_errors(struct error_output *o, struct sums raised, uint32_t inputs, int32_t from) {
    if (is_larger(o, raised.lane[0]) || is_larger(o, raised.lane[1]) || is_larger(o, raised.lane[2]) ||
        is_larger(o, raised.lane[3])) {
        see_passing(o, raised, inputs, from);
    }
    uint32_t bytes = lane_bytes(o->requantizers, raised, 128); /* 128 too high */
    uint32_t errors = packed_max_u8(bytes, packed_bytes(128 - FQT_ERROR_MAX)) ^ packed_bytes(128);
    return errors & packed_within(inputs, o->low, o->high);
}

/* Of neighbours. */
static inline void put_errors(struct error_output *o, struct sums raised, const uint8_t *x, int8_t *dx) {
    packed_store(dx, four_errors(o, raised, packed_load(x), 0));
}
#endif

static inline struct sums raised_sums(const struct input_field *f, struct sums sums) {
    return f->scaled ? scaled(sums, f->factor, f->output.half) : sums;
}

#if LANES == 4
__attribute__((noinline)) static void put_some(struct input_field *f, const struct sums *sums, const uint8_t *x,
                                               int8_t *dx) {
    for (int32_t i = f->from; i < f->to; i++) {
        int32_t at = f->channel[i] - f->channel[0];
        put_error(&f->output, sums->lane[i], x + at, dx + at);
    }
}

/* Of lanes apart; those before `from` have been put, and errors may lie where their inputs were. */
__attribute__((noinline)) static void put_apart(struct input_field *f, const struct sums *raised, const uint8_t *x,
                                                int8_t *dx) {
    int32_t at_1 = f->channel[1] - f->channel[0];
    int32_t at_2 = f->channel[2] - f->channel[0];
    int32_t at_3 = f->channel[3] - f->channel[0];
    uint32_t inputs = x[0] | (uint32_t)x[at_1] << 8 | (uint32_t)x[at_2] << 16 | (uint32_t)x[at_3] << 24;
    uint32_t errors = four_errors(&f->output, *raised, inputs, f->from);
    if (f->from == 0) {
        dx[0] = (int8_t)(errors & 255);
    }
    if (f->from <= 1) {
        dx[at_1] = (int8_t)(errors >> 8 & 255);
    }
    if (f->from <= 2) {
        dx[at_2] = (int8_t)(errors >> 16 & 255);
    }
    dx[at_3] = (int8_t)(errors >> 24);
}

ALWAYS_INLINE void put_lanes(struct input_field *f, struct sums sums, const uint8_t *x, int8_t *dx) {
    struct sums raised = raised_sums(f, sums);
    if (f->neighbours) {
        put_errors(&f->output, raised, x, dx);
    } else {
        struct sums copy = raised;
        (f->fours ? put_apart : put_some)(f, &copy, x, dx);
    }
}
#else
static inline void put_lanes(struct input_field *f, struct sums sums, const uint8_t *x, int8_t *dx) {
    put_error(&f->output, raised_sums(f, sums).lane[0], x, dx);
}
#endif

#if LANES == 1
/* All but the last one of an odd number of columns. */
__attribute__((noinline)) static void input_neighbours(struct input_field *f) {
    int32_t step = f->window.map_column;
    int32_t next_row = f->window.map_row - 2 * step;
    for (int32_t row = 0; row < f->rows; row++) {
        const uint8_t *map = f->window.map + row * f->map_row;
        const uint8_t *x = f->x + row * f->x_row;
        int8_t *dx = f->dx + row * f->x_row;
        for (int32_t n = f->columns; n > 1; n -= 2) {
            int32_t first = f->start;
            int32_t second = first;
            add_neighbours(&first, &second, &f->window, next_row, map, true);
            put_lanes(f, (struct sums){{first}}, x, dx);
            put_lanes(f, (struct sums){{second}}, x + f->x_column, dx + f->x_column);
            map += 2 * step;
            x += 2 * f->x_column;
            dx += 2 * f->x_column;
        }
    }
    int32_t done = f->columns & -2;
    f->window.map += done * step;
    f->x += done * f->x_column;
    f->dx += done * f->x_column;
    f->columns -= done;
}
#endif

/* n inputs, steps apart. */
__attribute__((noinline)) static void input_line(struct input_field *f, const uint8_t *map, const uint8_t *x,
                                                 int8_t *dx, int32_t n) {
    enum shape shape = shape_of(&f->window);
#if LANES == 4
    f->next_map = f->map_step - 2 * f->window.map_row;
    for (; shape == SHAPE_3X3 && f->neighbours && n > 0; n--) {
        struct sums sums = add_3x3(sums_of(f->start), &f->window, &map, true);
        put_errors(&f->output, raised_sums(f, sums), x, dx);
        map += f->next_map;
        x += f->x_step;
        dx += f->x_step;
    }
#endif
    for (; n > 0; n--) {
        KEEP_ONE_LOOP(shape);
        put_lanes(f, add_window(sums_of(f->start), shape, &f->window, map, true), x, dx);
        map += f->map_step;
        x += f->x_step;
        dx += f->x_step;
    }
}

static void input_field(struct input_field *f) {
#if LANES == 1
    if (are_neighbours(&f->window, f->map_column)) {
        input_neighbours(f);
    }
#endif
    bool down = f->columns == 1; /* one line of them, then */
    f->map_step = down ? f->map_row : f->map_column;
    f->x_step = down ? f->x_row : f->x_column;
    for (int32_t row = 0; f->columns > 0 && row < (down ? 1 : f->rows); row++) {
        int32_t at = row * f->x_row;
        input_line(f, f->window.map + row * f->map_row, f->x + at, f->dx + at, down ? f->rows : f->columns);
    }
}

/* Inputs of one phase along both axes. e: at the block's first column; x, dx: at the phase's first input; weights: the
 * phase's. f: without what belongs to a window. */
static void phase_backward_input(struct line down, struct line across, const lane_weight *weights, const int8_t *e,
                                 const uint8_t *x, int8_t *dx, struct input_field *f) {
    f->window.w_row = across.taps;
    while (down.left > 0) {
        struct run v = next_run(&down);
        struct line line = across;
        int32_t at = 0;
        while (line.left > 0) {
            struct run h = next_run(&line);
            f->rows = v.n;
            f->columns = h.n;
            f->window.rows = v.taps.last - v.taps.first;
            f->window.columns = h.taps.last - h.taps.first;
            f->window.map = (const uint8_t *)e + v.taps.in * f->map_row + h.taps.in * f->map_column;
            f->window.w = weights + v.taps.first * across.taps + h.taps.first;
            f->x = x + at;
            f->dx = dx + at;
            input_field(f);
            at += h.n * f->x_column;
        }
        x += v.n * f->x_row;
        dx += v.n * f->x_row;
    }
}

static void block_backward_input(const struct fqt_geometry *g, const lane_weight *weights, const int8_t *e,
                                 const uint8_t *x, int8_t *dx, struct input_field *f) {
    for (int32_t iy = 0; iy < fqt_min(g->stride_h, g->in_h); iy++) {
        struct phase row = phase_of(iy, g->stride_h, g->pad_top, g->kernel_h, g->dilation_h);
        struct line down = {row.output, 1, divided_up(g->in_h - iy, g->stride_h), row.taps, g->dilation_h, g->out_h};
        for (int32_t ix = 0; ix < fqt_min(g->stride_w, g->in_w); ix++) {
            struct phase column = phase_of(ix, g->stride_w, g->pad_left, g->kernel_w, g->dilation_w);
            struct line across = {
                column.output, 1, divided_up(g->in_w - ix, g->stride_w), column.taps, g->dilation_w, g->out_w,
            };
            int32_t at = (iy * g->in_w + ix) * g->in_c;
            const lane_weight *first = weights + row.before * g->kernel_w + row.taps * column.before;
            phase_backward_input(down, across, first, e, x + at, dx + at, f);
        }
    }
}

/* The errors of inputs that no kept channel reads. */
__attribute__((noinline)) static int32_t others_backward_input(const struct fqt_geometry *g,
                                                               const struct fqt_error_quantization *q,
                                                               const struct fqt_channels *kept, const uint8_t *x,
                                                               int8_t *dx) {
    int32_t largest = 0;
    for (int32_t p = g->in_h * g->in_w; p > 0; p--) {
        int32_t j = 0;
        for (int32_t c = 0; q->accumulate && c < g->in_c; c++) {
            static const int32_t nothing = 0;
            if (j < kept->count && kept->indices[j] == c) {
                j++;
            } else {
                largest = fqt_max(largest, fqt_errors_u8(q, 1, &nothing, x + c, dx + c));
            }
        }
        if (!q->accumulate) {
            /* All are 0: the kept ones move to the front and back again. */
            for (j = 0; j < kept->count; j++) {
                dx[j] = dx[kept->indices[j]];
            }
            fqt_clear_bytes(dx + kept->count, g->in_c - kept->count);
            while (j-- > 0) {
                int8_t error = dx[j];
                dx[j] = 0;
                dx[kept->indices[j]] = error;
            }
        }
        x += g->in_c;
        dx += g->in_c;
    }
    return largest;
}

int32_t fqt_depthwise_blocked_backward_input(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                             const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                             const struct fqt_channels *kept) {
    int32_t columns = fqt_n_kept(kept, g->out_c);
    struct input_field f = {
        .window.map_row = g->dilation_h * g->out_w * columns,
        .window.map_column = g->dilation_w * columns,
        .map_row = g->out_w * columns,
        .map_column = columns,
        .x_row = g->stride_h * g->in_w * g->in_c,
        .x_column = g->stride_w * g->in_c,
    };
    set_error_output(&f.output, q);
    for (int32_t j = 0; j < columns; j += LANES) {
        struct block b = block_at(j, columns, kept);
        lane_weight weights[LANE_TAPS];
        unpack_phases(g, &b, q->grids, q->zero_w, w, weights);
        f.from = b.from;
        f.to = b.to;
        f.fours = b.to == LANES && !q->accumulate && f.output.passing > 0 && f.output.first < 256;
        f.neighbours = f.fours && kept == NULL && b.from == 0;
        f.scaled = false;
        for (int32_t i = 0; i < LANES; i++) {
            f.channel[i] = b.channel[i];
            f.factor[i] = q->factors[fqt_grid_index(q->grids, b.channel[i])];
            f.scaled |= f.factor[i] != 1;
        }
        f.start = f.scaled ? 0 : f.output.half;
        block_backward_input(g, weights, e + b.first, x + b.channel[0], dx + b.channel[0], &f);
    }
    return kept == NULL ? f.output.largest : fqt_max(f.output.largest, others_backward_input(g, q, kept, x, dx));
}

/* ---- Weight gradient, Eq. 2: for each tap, the outputs that have it inside the input ---- */

/* Along one axis: outputs first..last-1 have a tap on an input, the first one on input `in`. */
struct span {
    int32_t first, last, in;
};

static struct span span_of(int32_t tap, int32_t stride, int32_t pad, int32_t dilation, int32_t in_size,
                           int32_t out_size) {
    int32_t origin = tap * dilation - pad;
    int32_t first = origin < 0 ? divided_up(-origin, stride) : 0;
    int32_t last = origin < in_size ? fqt_min(out_size, divided_up(in_size - origin, stride)) : 0;
    return (struct span){first, last, origin + first * stride};
}

/* A block's share of the work. */
struct gradient_block {
    const struct fqt_geometry *g;
    const int8_t *e; /* at the block's first column of `columns` */
    const uint8_t *x;
    int32_t columns, zero_x, factor;
    const struct block *b;
    bool three; /* whether add_three_taps() does its steps */
};

static const int8_t *errors_at(const struct gradient_block *p, int32_t oy, int32_t ox) {
    return p->e + (oy * p->g->out_w + ox) * p->columns;
}

/* Of outputs first..last-1 in all rows. v, h: the tap's. */
ALWAYS_INLINE struct sums add_columns(const struct gradient_block *p, struct sums sums, struct span v, struct span h,
                                      int32_t first, int32_t last) {
    const struct fqt_geometry *g = p->g;
    if (first >= last) {
        return sums;
    }
    const int8_t *e = errors_at(p, v.first, first);
    const uint8_t *x = p->x + (v.in * g->in_w + h.in + (first - h.first) * g->stride_w) * g->in_c;
    int32_t e_row = g->out_w * p->columns;
    int32_t x_row = g->stride_h * g->in_w * g->in_c;
    if (last - first == 1) {
        return add_products(sums, v.last - v.first, e, e_row, x, x_row, p->b->channel, p->zero_x);
    }
    for (int32_t oy = v.first; oy < v.last; oy++) {
        sums = add_products(sums, last - first, e, p->columns, x, g->stride_w * g->in_c, p->b->channel, p->zero_x);
        e += e_row;
        x += x_row;
    }
    return sums;
}

/* Kept apart: there are few such columns. */
__attribute__((noinline)) static struct sums add_side(const struct gradient_block *p, struct sums sums, struct span v,
                                                      struct span h, int32_t first, int32_t last) {
    return add_columns(p, sums, v, h, first, last);
}

static struct span columns_of_tap(const struct fqt_geometry *g, int32_t kx) {
    return span_of(kx, g->stride_w, g->pad_left, g->dilation_w, g->in_w, g->out_w);
}

static void add_gradients(const struct gradient_block *p, struct sums sums, int32_t ky, int32_t kx, int32_t *gradient) {
    const struct fqt_geometry *g = p->g;
    for (int32_t i = p->b->from; i < p->b->to; i++) {
        gradient[(p->b->channel[i] * g->kernel_h + ky) * g->kernel_w + kx] += sums.lane[i] * p->factor;
    }
}

/* Taps kx.. of outputs first..last-1 at once, which have all three inside; of the other outputs one by one. */
static void add_three(const struct gradient_block *p, struct span v, int32_t ky, int32_t kx, struct span h,
                      int32_t last, int32_t *gradient) {
    const struct fqt_geometry *g = p->g;
    int32_t first = h.first;
    struct gradient_rows rows = {
        .e = errors_at(p, v.first, first),
        .x = p->x + (v.in * g->in_w + h.in) * g->in_c + p->b->channel[0],
        .e_step = p->columns,
        .x_step = g->stride_w * g->in_c,
        .e_row = g->out_w * p->columns,
        .x_row = g->stride_h * g->in_w * g->in_c,
        .e_columns = (last - first) * p->columns,
        .rows = v.last - v.first,
        .offset = -p->zero_x,
    };
    add_three_taps(&rows);
    for (int32_t i = 0; i < 3; i++) {
        h = columns_of_tap(g, kx + i);
        struct sums sums = add_side(p, rows.sums[i], v, h, h.first, first);
        add_gradients(p, add_side(p, sums, v, h, last, h.last), ky, kx + i, gradient);
    }
}

static void add_row_of_taps(const struct gradient_block *p, int32_t ky, int32_t *gradient) {
    const struct fqt_geometry *g = p->g;
    struct span v = span_of(ky, g->stride_h, g->pad_top, g->dilation_h, g->in_h, g->out_h);
    int32_t left = v.first < v.last ? g->kernel_w : 0;
    for (int32_t kx = 0; left > 0;) {
        struct span h = columns_of_tap(g, kx);
        int32_t last = left >= 3 && p->three ? columns_of_tap(g, kx + 2).last : 0;
        int32_t taps = last - h.first >= 4 ? 3 : 1; /* a narrow map is not worth it */
        if (taps == 3) {
            add_three(p, v, ky, kx, h, last, gradient);
        } else {
            add_gradients(p, add_columns(p, (struct sums){{0}}, v, h, h.first, h.last), ky, kx, gradient);
        }
        kx += taps;
        left -= taps;
    }
}

void fqt_depthwise_blocked_backward_weight(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                           const int8_t *e, const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                           const struct fqt_channels *kept) {
    int32_t columns = fqt_n_kept(kept, g->out_c);
    for (int32_t j = 0; j < columns; j += LANES) {
        struct block b = block_at(j, columns, kept);
        bool three = g->stride_w == g->dilation_w && have_three_taps(b.channel, columns, g->stride_w * g->in_c);
        struct gradient_block p = {g, e + b.first, x, columns, zero_x, 1 << fraction_bits, &b, three};
        struct sums errors = sums_of_errors(g->out_h * g->out_w, e + b.first, columns);
        for (int32_t i = b.from; i < b.to; i++) {
            bias_gradient[b.channel[i]] += errors.lane[i];
        }
        for (int32_t ky = 0; ky < g->kernel_h; ky++) {
            add_row_of_taps(&p, ky, gradient);
        }
    }
}

#endif
