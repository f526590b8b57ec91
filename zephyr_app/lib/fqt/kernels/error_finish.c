/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a layer's error to the input. Most sums are nearer to 0 than one that has been seen before: they are not
 * the largest and saturate nowhere, which one comparison tells. Those come in runs, in assembly because a compiler
 * spills. */
#include "error_finish.h"

#include "blocks.h"
#include "elements.h"
#include "packed.h"

/* GROUP: errors that a run leaves, if not near, to be finished one by one; ACCUMULATES: whether runs do. */

/* What a run of near sums needs, in the order of assembly's registers. */
struct line {
    int32_t post_half;
    uint32_t first;   /* x that passes; DSP: here and below, four times */
    uint32_t passing; /* values of x from there on; DSP: less one */
    int32_t lift;     /* sum + lift is in 0..range if the sum is near */
    uint32_t range;
    int32_t raise; /* from there to what fqt_requantize_raised() takes */
    int32_t pre;
    int32_t multiplier; /* DSP: behind its point, so that SMMULR shifts and rounds */
    int32_t post;
};

/* Values of x that pass. */
static int32_t n_passing(const struct fqt_error_quantization *q) {
    return fqt_max(fqt_min(q->highest, UINT8_MAX + 1) - q->lowest - 1, 0);
}

#pragma GCC diagnostic ignored "-Wunused-parameter" /* assembly finds them in r0-r3 */

#ifdef FQT_BLOCKS_DSP

#define GROUP 4
#define ACCUMULATES true

/* r0 x, r1 dx, r2 sums, r3 quads, r4-r7 four sums, r8-r12 line: lift, range, raise, pre, multiplier. */
#define BEGIN                                                                                                          \
    "push {r4-r11, lr}\n"                                                                                              \
    "ldr lr, [sp, #36]\n"                                                                                              \
    "ldm lr, {r4-r6, r8-r12}\n"                                                                                        \
    "push {r5, r6}\n"
#define LOAD_SUMS                                                                                                      \
    "ldr lr, [sp, #48]\n"                                                                                              \
    "ldr r4, [r2]\n"                                                                                                   \
    "ldr r5, [r2, lr]\n"                                                                                               \
    "ldr r6, [r2, lr, lsl #1]\n"                                                                                       \
    "add r2, r2, lr, lsl #1\n"                                                                                         \
    "ldr r7, [r2, lr]\n"                                                                                               \
    "add r2, r2, lr, lsl #1\n"
#define LIFT(sum)                                                                                                      \
    "add " sum ", " sum ", r8\n"                                                                                       \
    "cmp " sum ", r9\n"                                                                                                \
    "bhi 2f\n"
#define DOWN(sum)                                                                                                      \
    "add " sum ", " sum ", r10\n"                                                                                      \
    "asr " sum ", " sum ", r11\n"                                                                                      \
    "smmulr " sum ", " sum ", r12\n"
#define UP(sum)                                                                                                        \
    "add " sum ", " sum ", r10\n"                                                                                      \
    "lsl " sum ", " sum ", r11\n"                                                                                      \
    "smmulr " sum ", " sum ", r12\n"
/* USUB8 leaves for SEL which x pass. */
#define STORE_QUAD                                                                                                     \
    "bfi r4, r5, #8, #8\n"                                                                                             \
    "bfi r4, r6, #16, #8\n"                                                                                            \
    "bfi r4, r7, #24, #8\n"                                                                                            \
    "ldrd r6, r7, [sp]\n"                                                                                              \
    "ldr r5, [r0], #4\n"                                                                                               \
    "usub8 r5, r5, r6\n"                                                                                               \
    "movs r6, #0\n"                                                                                                    \
    "usub8 r5, r7, r5\n"                                                                                               \
    "sel r4, r4, r6\n"                                                                                                 \
    "str r4, [r1], #4\n"                                                                                               \
    "subs r3, r3, #1\n"                                                                                                \
    "bne 1b\n"                                                                                                         \
    "2:\n"                                                                                                             \
    "mov r0, r3\n"                                                                                                     \
    "add sp, sp, #8\n"                                                                                                 \
    "pop {r4-r11, pc}\n"
#define NEAR_QUAD(REQUANTIZE)                                                                                          \
    LIFT("r4")                                                                                                         \
    LIFT("r5") LIFT("r6") LIFT("r7") REQUANTIZE("r4") REQUANTIZE("r5") REQUANTIZE("r6") REQUANTIZE("r7") STORE_QUAD

/* Quads of errors while all sums, `step` bytes apart, are near, at least one; returns how many are left. */
__attribute__((naked)) static int32_t near_quads(const uint8_t *x, int8_t *dx, const int32_t *sums, int32_t quads,
                                                 const struct line *line, int32_t step) {
    __asm__(BEGIN "1:\n" LOAD_SUMS NEAR_QUAD(DOWN));
}

/* Of multipliers that do not fit, sums being so small: these are shifted up instead. */
__attribute__((naked)) static int32_t small_quads(const uint8_t *x, int8_t *dx, const int32_t *sums, int32_t quads,
                                                  const struct line *line, int32_t step) {
    __asm__(BEGIN "1:\n" LOAD_SUMS NEAR_QUAD(UP));
}

/* Of neighbours, with the sums of 0 in few steps. */
__attribute__((naked)) static int32_t sparse_quads(const uint8_t *x, int8_t *dx, const int32_t *sums, int32_t quads,
                                                   const struct line *line) {
    __asm__(BEGIN "b 1f\n"
                  "3:\n"
                  "str lr, [r1], #4\n"
                  "adds r0, r0, #4\n"
                  "subs r3, r3, #1\n"
                  "beq 2f\n"
                  "1:\n"
                  "ldm r2!, {r4-r7}\n"
                  "orr lr, r4, r5\n"
                  "orr lr, lr, r6\n"
                  "orrs lr, lr, r7\n"
                  "beq 3b\n" NEAR_QUAD(DOWN));
}

#define RESCALE(sum)                                                                                                   \
    "add " sum ", " sum ", r10\n"                                                                                      \
    "asr " sum ", " sum ", r11\n"                                                                                      \
    "ssat " sum ", #16, " sum "\n"                                                                                     \
    "smmulr " sum ", " sum ", r12\n"
#define IN_RANGE(sum)                                                                                                  \
    "add lr, " sum ", r8\n"                                                                                            \
    "cmp lr, r9\n"                                                                                                     \
    "bhi 2f\n"

/* Onto the errors that are there; the line's range is that of their totals. */
__attribute__((naked)) static int32_t accumulated_quads(const uint8_t *x, int8_t *dx, const int32_t *sums,
                                                        int32_t quads, const struct line *line, int32_t step) {
    __asm__(BEGIN "1:\n" LOAD_SUMS RESCALE("r4") RESCALE("r5") RESCALE("r6")
                RESCALE("r7") "ldr lr, [r1]\n"
                              "sxtab r4, r4, lr\n"
                              "sxtab r5, r5, lr, ror #8\n"
                              "sxtab r6, r6, lr, ror #16\n"
                              "sxtab r7, r7, lr, ror #24\n" IN_RANGE("r4") IN_RANGE("r5") IN_RANGE("r6") IN_RANGE("r7")
                                  STORE_QUAD);
}

/* Whether SMMULR's 32 bits to the right of the point are too few for the mantissa. `pre` is 0 then. */
static bool is_small(struct fqt_requantizer r) {
    return r.post < 16;
}

static void set_quantization(struct line *line, const struct fqt_error_quantization *q) {
    const struct fqt_requantizer r = q->requantizer;
    line->first = packed_bytes(q->lowest + 1);
    line->passing = packed_bytes(n_passing(q) - 1);
    line->pre = is_small(r) ? 16 - r.post : r.pre;
    line->multiplier = n_passing(q) > 0 ? (int32_t)r.mantissa << (is_small(r) ? 16 : 32 - r.post) : 0;
}

static int32_t near_errors(const struct fqt_error_quantization *q, const struct line *line, int32_t n,
                           const int32_t *sums, int32_t step, const uint8_t *x, int8_t *dx) {
    int32_t quads = n / GROUP;
    int32_t bytes = step * (int32_t)sizeof *sums;
    int32_t left;
    if (quads == 0 || line->multiplier == 0 || (q->accumulate && is_small(q->requantizer))) {
        return 0;
    }
    if (is_small(q->requantizer)) {
        left = small_quads(x, dx, sums, quads, line, bytes);
    } else if (q->accumulate) {
        left = accumulated_quads(x, dx, sums, quads, line, bytes);
    } else if (step == 1 && 2 * (uint32_t)line->lift == line->range) { /* nothing is subtracted */
        left = sparse_quads(x, dx, sums, quads, line);
    } else {
        left = near_quads(x, dx, sums, quads, line, bytes);
    }
    return (quads - left) * GROUP;
}

#else

#define GROUP 1
#define ACCUMULATES false

static void set_quantization(struct line *line, const struct fqt_error_quantization *q) {
    const struct fqt_requantizer r = q->requantizer;
    line->first = (uint32_t)q->lowest + 1;
    line->passing = (uint32_t)n_passing(q);
    line->pre = r.pre;
    line->multiplier = r.mantissa;
    line->post = r.post;
    line->post_half = (int32_t)1 << (r.post - 1);
}

#ifdef FQT_BLOCKS_ARMV6M

/* Errors of sums while all are near, at least one; returns how many. r0, r1 ends of x and dx, r2 sums, r3 index up to
 * 0, r4 sum, r5-r7 pre, multiplier, post, r8-r12 -first, passing, lift, range, raise, lr half of post. */
__attribute__((naked)) static int32_t near_run(const uint8_t *x, int8_t *dx, const int32_t *sums, int32_t n,
                                               const struct line *line) {
    __asm__(".syntax unified\n"
            "push {r3-r7, lr}\n"
            "mov r4, r8\n"
            "mov r5, r9\n"
            "mov r6, r10\n"
            "mov r7, r11\n"
            "push {r4-r7}\n"
            "adds r0, r0, r3\n"
            "adds r1, r1, r3\n"
            "rsbs r3, r3, #0\n"
            "ldr r4, [sp, #40]\n"
            "ldm r4!, {r5-r7}\n"
            "mov lr, r5\n"
            "rsbs r6, r6, #0\n"
            "mov r8, r6\n"
            "mov r9, r7\n"
            "ldm r4!, {r5-r7}\n"
            "mov r10, r5\n"
            "mov r11, r6\n"
            "mov r12, r7\n"
            "ldm r4!, {r5-r7}\n"
            "1:\n"
            "ldrb r4, [r0, r3]\n"
            "add r4, r4, r8\n"
            "cmp r4, r9\n"
            "bhs 3f\n"
            "ldm r2!, {r4}\n"
            "add r4, r4, r10\n"
            "cmp r4, r11\n"
            "bhi 4f\n"
            "add r4, r4, r12\n"
            "asrs r4, r4, r5\n"
            "muls r4, r6, r4\n"
            "add r4, r4, lr\n"
            "asrs r4, r4, r7\n"
            "2:\n"
            "strb r4, [r1, r3]\n"
            "adds r3, r3, #1\n"
            "bmi 1b\n"
            "b 4f\n"
            "3:\n"
            "adds r2, r2, #4\n"
            "movs r4, #0\n"
            "b 2b\n"
            "4:\n"
            "ldr r4, [sp, #16]\n"
            "adds r0, r3, r4\n"
            "pop {r4-r7}\n"
            "mov r8, r4\n"
            "mov r9, r5\n"
            "mov r10, r6\n"
            "mov r11, r7\n"
            "pop {r3-r7, pc}\n");
}

static int32_t near_errors(const struct fqt_error_quantization *q, const struct line *line, int32_t n,
                           const int32_t *sums, int32_t step, const uint8_t *x, int8_t *dx) {
    (void)q;
    (void)step; /* 1 */
    return near_run(x, dx, sums, n, line);
}

#else

static int32_t near_errors(const struct fqt_error_quantization *q, const struct line *line, int32_t n,
                           const int32_t *sums, int32_t step, const uint8_t *x, int8_t *dx) {
    (void)q;
    for (int32_t i = 0; i < n; i++) {
        int32_t error = 0;
        if (x[i] - line->first < line->passing) {
            uint32_t lifted = (uint32_t)sums[i * step] + (uint32_t)line->lift;
            if (lifted > line->range) {
                return i;
            }
            int32_t shifted = (int32_t)(lifted + (uint32_t)line->raise) >> line->pre;
            error = (shifted * line->multiplier + line->post_half) >> line->post;
        }
        dx[i] = (int8_t)error;
    }
    return n;
}

#endif
#endif

/* The error of a sum that may be larger than all before. */
static int32_t any_error(struct fqt_error_finish *finish, int32_t sum) {
    const struct fqt_requantizer r = finish->q->requantizer;
    int32_t size = sum < 0 ? -sum : sum;
    finish->largest = fqt_max(finish->largest, size);
    if (size > finish->near && (size + fqt_requantizer_half(r)) >> r.pre <= INT16_MAX &&
        fqt_requantize(size, r) <= FQT_ERROR_MAX) {
        finish->near = size; /* so does -size: half is rounded up */
    }
    return fqt_clamp(fqt_requantize(sum, r), -FQT_ERROR_MAX, FQT_ERROR_MAX);
}

/* Onto an error that is there. */
static int32_t any_total(struct fqt_error_finish *finish, int32_t sum, int32_t error) {
    int32_t total = fqt_requantize(sum, finish->q->requantizer) + error;
    finish->largest = fqt_max(finish->largest, total < 0 ? -total : total);
    finish->near = fqt_min(finish->largest, FQT_ERROR_MAX);
    return fqt_clamp(total, -FQT_ERROR_MAX, FQT_ERROR_MAX);
}

void fqt_finish_errors(struct fqt_error_finish *finish, int32_t n, const int32_t *sums, int32_t step, int32_t minus,
                       const uint8_t *x, int8_t *dx) {
    const struct fqt_error_quantization *q = finish->q;
    const int32_t half = fqt_requantizer_half(q->requantizer);
    struct line line;
    if ((q->accumulate && !ACCUMULATES) || fqt_errors_are_random(q)) {
        finish->largest = fqt_max(finish->largest, fqt_errors_from_u8(q, n, sums, step, minus, x, dx));
        return;
    }
    set_quantization(&line, q);
    for (int32_t i = 0; i < n;) {
        line.lift = q->accumulate ? finish->near : finish->near - minus;
        line.range = 2 * (uint32_t)finish->near;
        line.raise = q->accumulate ? half - minus : half - finish->near;
        i += near_errors(q, &line, n - i, sums + i * step, step, x + i, dx + i);
        for (int32_t end = fqt_min(n, i + GROUP); i < end; i++) {
            int32_t sum = sums[i * step] - minus;
            if (x[i] <= q->lowest || x[i] >= q->highest) {
                dx[i] = 0;
            } else {
                dx[i] = (int8_t)(q->accumulate ? any_total(finish, sum, dx[i]) : any_error(finish, sum));
            }
        }
    }
}
