/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a layer's error to the input. Most sums are nearer to 0 than one that has been seen before: they are not
 * the largest and saturate nowhere, which one comparison tells. Those come in runs, in assembly because a compiler
 * spills. */
#include "error_finish.h"

#include "blocks.h"
#include "elements.h"
#include "packed.h"

#ifdef FQT_BLOCKS

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

#define LIFT(sum)                                                                                                      \
    "add " sum ", " sum ", r8\n"                                                                                       \
    "cmp " sum ", r9\n"                                                                                                \
    "bhi 2f\n"
#define REQUANTIZE(sum)                                                                                                \
    "add " sum ", " sum ", r10\n"                                                                                      \
    "asr " sum ", " sum ", r11\n"                                                                                      \
    "smmulr " sum ", " sum ", r12\n"

/* r0 x, r1 dx, r2 sums, r3 quads, r4-r7 four sums, r8-r12 line. USUB8 leaves for SEL which x pass. */
#define NEAR_QUADS(load_sums)                                                                                          \
    "push {r4-r11, lr}\n"                                                                                              \
    "ldr lr, [sp, #36]\n"                                                                                              \
    "ldm lr, {r4-r6, r8-r12}\n"                                                                                        \
    "push {r5, r6}\n" load_sums LIFT("r4") LIFT("r5") LIFT("r6") LIFT("r7") REQUANTIZE("r4") REQUANTIZE("r5")          \
        REQUANTIZE("r6") REQUANTIZE("r7") "bfi r4, r5, #8, #8\n"                                                       \
                                          "bfi r4, r6, #16, #8\n"                                                      \
                                          "bfi r4, r7, #24, #8\n"                                                      \
                                          "ldrd r6, r7, [sp]\n"                                                        \
                                          "ldr r5, [r0], #4\n"                                                         \
                                          "usub8 r5, r5, r6\n"                                                         \
                                          "movs r6, #0\n"                                                              \
                                          "usub8 r5, r7, r5\n"                                                         \
                                          "sel r4, r4, r6\n"                                                           \
                                          "str r4, [r1], #4\n"                                                         \
                                          "subs r3, r3, #1\n"                                                          \
                                          "bne 1b\n"                                                                   \
                                          "2:\n"                                                                       \
                                          "mov r0, r3\n"                                                               \
                                          "add sp, sp, #8\n"                                                           \
                                          "pop {r4-r11, pc}\n"

/* Quads of errors while all sums, `step` bytes apart, are near, at least one; returns how many are left. */
__attribute__((naked)) static int32_t near_quads(const uint8_t *x, int8_t *dx, const int32_t *sums, int32_t quads,
                                                 const struct line *line, int32_t step) {
    __asm__(NEAR_QUADS("1:\n"
                       "ldr lr, [sp, #48]\n"
                       "ldr r4, [r2]\n"
                       "ldr r5, [r2, lr]\n"
                       "ldr r6, [r2, lr, lsl #1]\n"
                       "add r2, r2, lr, lsl #1\n"
                       "ldr r7, [r2, lr]\n"
                       "add r2, r2, lr, lsl #1\n"));
}

/* Of neighbours, with the sums of 0 in few steps. */
__attribute__((naked)) static int32_t sparse_quads(const uint8_t *x, int8_t *dx, const int32_t *sums, int32_t quads,
                                                   const struct line *line) {
    __asm__(NEAR_QUADS("b 1f\n"
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
                       "beq 3b\n"));
}

/* Whether a multiplier fits. */
static bool has_near(struct fqt_requantizer r) {
    return r.post >= 16;
}

static void set_quantization(struct line *line, const struct fqt_error_quantization *q) {
    const struct fqt_requantizer r = q->requantizer;
    line->first = packed_bytes(q->lowest + 1);
    line->passing = packed_bytes(n_passing(q) - 1);
    line->pre = r.pre;
    line->multiplier = has_near(r) && n_passing(q) > 0 ? (int32_t)r.mantissa << (32 - r.post) : 0;
}

static int32_t near_errors(const struct line *line, int32_t n, const int32_t *sums, int32_t step, const uint8_t *x,
                           int8_t *dx) {
    int32_t quads = n / GROUP;
    if (quads == 0) {
        return 0;
    }
    bool sparse = step == 1 && 2 * (uint32_t)line->lift == line->range; /* nothing is subtracted */
    int32_t left = sparse ? sparse_quads(x, dx, sums, quads, line)
                          : near_quads(x, dx, sums, quads, line, step * (int32_t)sizeof *sums);
    return (quads - left) * GROUP;
}

#else

#define GROUP 1

static void set_quantization(struct line *line, const struct fqt_error_quantization *q) {
    const struct fqt_requantizer r = q->requantizer;
    line->first = (uint32_t)q->lowest + 1;
    line->passing = (uint32_t)n_passing(q);
    line->pre = r.pre;
    line->multiplier = r.mantissa;
    line->post = r.post;
    line->post_half = (int32_t)1 << (r.post - 1);
}

static bool has_near(struct fqt_requantizer r) {
    (void)r;
    return true;
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

static int32_t near_errors(const struct line *line, int32_t n, const int32_t *sums, int32_t step, const uint8_t *x,
                           int8_t *dx) {
    (void)step; /* 1 */
    return near_run(x, dx, sums, n, line);
}

#else

static int32_t near_errors(const struct line *line, int32_t n, const int32_t *sums, int32_t step, const uint8_t *x,
                           int8_t *dx) {
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
    if (size > finish->near && has_near(r) && (size + fqt_requantizer_half(r)) >> r.pre <= INT16_MAX &&
        fqt_requantize(size, r) <= FQT_ERROR_MAX) {
        finish->near = size; /* so does -size: half is rounded up */
    }
    return fqt_clamp(fqt_requantize(sum, r), -FQT_ERROR_MAX, FQT_ERROR_MAX);
}

void fqt_finish_errors(struct fqt_error_finish *finish, int32_t n, const int32_t *sums, int32_t step, int32_t minus,
                       const uint8_t *x, int8_t *dx) {
    const struct fqt_error_quantization *q = finish->q;
    if (q->accumulate) {
        finish->largest = fqt_max(finish->largest, fqt_errors_from_u8(q, n, sums, step, minus, x, dx));
        return;
    }
    struct line line;
    set_quantization(&line, q);
    for (int32_t i = 0; i < n;) {
        line.lift = finish->near - minus;
        line.range = 2 * (uint32_t)finish->near;
        line.raise = fqt_requantizer_half(q->requantizer) - finish->near;
        i += near_errors(&line, n - i, sums + i * step, step, x + i, dx + i);
        for (int32_t end = fqt_min(n, i + GROUP); i < end; i++) {
            bool passes = x[i] > q->lowest && x[i] < q->highest;
            dx[i] = (int8_t)(passes ? any_error(finish, sums[i * step] - minus) : 0);
        }
    }
}

#endif
