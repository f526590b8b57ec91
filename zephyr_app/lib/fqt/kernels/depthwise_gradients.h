/* SPDX-License-Identifier: Apache-2.0 */
/* The innermost loops of the blocked depthwise convolution's weight gradients: sums over outputs, one for each lane. */
#ifndef FQT_DEPTHWISE_GRADIENTS_H
#define FQT_DEPTHWISE_GRADIENTS_H

#include "depthwise_lanes.h"

/* Rows of outputs that have three neighbouring taps inside the input, which are as far apart as their inputs. */
struct gradient_rows {
    const int8_t *e;  /* the first output's */
    const uint8_t *x; /* what its first tap is on */
    int32_t e_step, x_step, e_row, x_row;
    int32_t e_columns; /* from a row's first error to behind its last one */
    int32_t rows;      /* at least 1, as columns */
    int32_t offset;    /* minus the zero point */
    struct sums sums[3];
};

#if LANES == 4

/* Sums of n errors. */
static inline struct sums sums_of_errors(int32_t n, const int8_t *e, int32_t e_step) {
    struct sums s = {{0}};
    for (; n > 0; n--) {
        s = add_word(s, packed_load(e), (lane_weight){pair_of(1, 1), pair_of(1, 1)}, true);
        e += e_step;
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
        s = add_word(s, packed_load(e), factors, true);
        e += e_step;
        x += x_step;
    }
    int32_t at_1 = at[1] - at[0];
    int32_t at_2 = at[2] - at[0];
    int32_t at_3 = at[3] - at[0];
    for (; n > 0; n--) {
        lane_weight factors = {even_pair_u8(offset, x[0] | (uint32_t)x[at_2] << 16),
                               even_pair_u8(offset, x[at_1] | (uint32_t)x[at_3] << 16)};
        s = add_word(s, packed_load(e), factors, true);
        e += e_step;
        x += x_step;
    }
    return s;
}

#if defined(__ARM_FEATURE_SIMD32)
/* The inputs x0 and x1 are there already, and stay for the next outputs' taps. */
#define THREE_TAPS(x0, x1, x2, turn)                                                                                   \
    "ldr " x2 ", [r0, r1]\n"                                                                                           \
    "ldr lr, [r0]\n"                                                                                                   \
    "add r0, r2\n"                                                                                                     \
    "uxtab16 " x2 ", r3, " x2 turn "\n"                                                                                \
    "sxtb16 lr, lr" turn "\n"                                                                                          \
    "smlabb r4, lr, " x0 ", r4\n"                                                                                      \
    "smlatt r7, lr, " x0 ", r7\n"                                                                                      \
    "smlabb r5, lr, " x1 ", r5\n"                                                                                      \
    "smlatt r8, lr, " x1 ", r8\n"                                                                                      \
    "smlabb r6, lr, " x2 ", r6\n"                                                                                      \
    "smlatt r9, lr, " x2 ", r9\n"                                                                                      \
    "ldr lr, [sp]\n"                                                                                                   \
    "cmp r0, lr\n"
/* Two lanes, in the bottom and the top of pairs. r0 errors, r1 from them to the third tap's input, r2 step, r3 offsets,
 * r4-r9 sums. Stack: end of the row; first error of the next, from there to its input; rows left; p; r7. */
#define THREE_TAPS_OF_PAIRS(turn, bottom0, bottom1, bottom2, top0, top1, top2)                                         \
    __asm__ volatile(                                                                                                  \
        "push {r0, r7}\n"                                                                                              \
        "sub sp, #16\n"                                                                                                \
        "ldrd r1, r2, [r0]\n"                                                                                          \
        "sub r2, r2, r1\n"                                                                                             \
        "ldr r3, [r0, #28]\n"                                                                                          \
        "strd r1, r2, [sp, #4]\n"                                                                                      \
        "str r3, [sp, #12]\n"                                                                                          \
        "ldr r2, [r0, #8]\n"                                                                                           \
        "ldr r3, [r0, #32]\n"                                                                                          \
        "pkhbt r3, r3, r3, lsl #16\n"                                                                                  \
        "ldr r4, [r0, #" bottom0 "]\n"                                                                                 \
        "ldr r5, [r0, #" bottom1 "]\n"                                                                                 \
        "ldr r6, [r0, #" bottom2 "]\n"                                                                                 \
        "ldr r7, [r0, #" top0 "]\n"                                                                                    \
        "ldr r8, [r0, #" top1 "]\n"                                                                                    \
        "ldr r9, [r0, #" top2 "]\n"                                                                                    \
        "1:\n"                                                                                                         \
        "ldr r12, [sp, #16]\n"                                                                                         \
        "ldrd r0, r1, [sp, #4]\n"                                                                                      \
        "ldrd r10, r11, [r12, #16]\n"                                                                                  \
        "ldr lr, [r12, #24]\n"                                                                                         \
        "add lr, r0\n"                                                                                                 \
        "str lr, [sp]\n"                                                                                               \
        "sub r11, r11, r10\n"                                                                                          \
        "add r10, r0\n"                                                                                                \
        "add r11, r1\n"                                                                                                \
        "strd r10, r11, [sp, #4]\n"                                                                                    \
        "ldr r10, [r0, r1]\n"                                                                                          \
        "uxtab16 r10, r3, r10" turn "\n"                                                                               \
        "add r1, r2\n"                                                                                                 \
        "ldr r11, [r0, r1]\n"                                                                                          \
        "uxtab16 r11, r3, r11" turn "\n"                                                                               \
        "add r1, r2\n"                                                                                                 \
        "2:\n" THREE_TAPS("r10", "r11", "r12", turn) "beq 3f\n" THREE_TAPS(                                            \
            "r11", "r12", "r10", turn) "beq 3f\n" THREE_TAPS("r12", "r10", "r11", turn) "bne 2b\n"                     \
                                                                                        "3:\n"                         \
                                                                                        "ldr r10, [sp, #12]\n"         \
                                                                                        "subs r10, #1\n"               \
                                                                                        "str r10, [sp, #12]\n"         \
                                                                                        "bne 1b\n"                     \
                                                                                        "ldr r0, [sp, #16]\n"          \
                                                                                        "str r4, [r0, #" bottom0 "]\n" \
                                                                                        "str r5, [r0, #" bottom1 "]\n" \
                                                                                        "str r6, [r0, #" bottom2 "]\n" \
                                                                                        "str r7, [r0, #" top0 "]\n"    \
                                                                                        "str r8, [r0, #" top1 "]\n"    \
                                                                                        "str r9, [r0, #" top2 "]\n"    \
                                                                                        "add sp, #16\n"                \
                                                                                        "pop {r0, r7}\n"               \
        : "+r"(rows)                                                                                                   \
        :                                                                                                              \
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory")

/* p->sums += products. */
__attribute__((noinline)) static void add_three_taps(struct gradient_rows *p) {
    register struct gradient_rows *rows __asm__("r0") = p;
    THREE_TAPS_OF_PAIRS("", "36", "52", "68", "44", "60", "76");
    THREE_TAPS_OF_PAIRS(", ror #8", "40", "56", "72", "48", "64", "80");
}
#else
/* p->sums += products. */
static void add_three_taps(struct gradient_rows *p) {
    static const int32_t at[4] = {0, 1, 2, 3};
    for (; p->rows > 0; p->rows--) {
        for (int32_t i = 0; i < 3; i++) {
            p->sums[i] = add_products(p->sums[i], p->e_columns / p->e_step, p->e, p->e_step, p->x + i * p->x_step,
                                      p->x_step, at, -p->offset);
        }
        p->e += p->e_row;
        p->x += p->x_row;
    }
}
#endif

/* Whether add_three_taps() does these steps. */
static inline bool have_three_taps(const int32_t *channel, int32_t e_step, int32_t x_step) {
    return channel[3] - channel[0] == 3 && e_step == x_step;
}

#else

/* Sums of n errors. */
static inline struct sums sums_of_errors(int32_t n, const int8_t *e, int32_t e_step) {
    int32_t sum = 0;
    for (const int8_t *end = e + n * e_step; e != end; e += e_step) {
        sum += *e;
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

/* Whether add_three_taps() does these steps. */
static inline bool have_three_taps(const int32_t *channel, int32_t e_step, int32_t x_step) {
    (void)channel;
    (void)e_step;
    (void)x_step;
    return true;
}

#define LOAD_SUM(at, sum) "ldr r1, [r0, #" at "]\nmov " sum ", r1\n"
#define STORE_SUM(at, sum) "mov r1, " sum "\nstr r1, [r0, #" at "]\n"
#define LOAD_INPUT(x) "ldrb " x ", [r6]\nadd " x ", lr\nadd r6, r12\n"
/* The inputs x0 and x1 are there already, and stay for the next outputs' taps. */
#define THREE_TAPS(x0, x1, x2)                                                                                         \
    LOAD_INPUT(x2)                                                                                                     \
    "ldrb r0, [r5]\n"                                                                                                  \
    "sxtb r0, r0\n"                                                                                                    \
    "add r5, r11\n"                                                                                                    \
    "muls " x0 ", r0\n"                                                                                                \
    "add r8, " x0 "\n"                                                                                                 \
    "mov r1, r0\n"                                                                                                     \
    "muls r1, " x1 "\n"                                                                                                \
    "add r9, r1\n"                                                                                                     \
    "muls r0, " x2 "\n"                                                                                                \
    "add r10, r0\n"                                                                                                    \
    "cmp r5, r7\n"

/* p->sums += products. r5 errors, r7 their end, r6 inputs, r8-r10 sums; e, x and rows go to the end. */
__attribute__((noinline)) static void add_three_taps(struct gradient_rows *p) {
    register struct gradient_rows *rows __asm__("r0") = p;
    __asm__ volatile(
        ".syntax unified\n"
        "push {r0, r7}\n" LOAD_SUM("8", "r11") LOAD_SUM("12", "r12") LOAD_SUM("32", "lr") LOAD_SUM("36", "r8")
            LOAD_SUM("40", "r9") LOAD_SUM(
                "44", "r10") "1:\n"
                             "ldr r5, [r0]\n"
                             "ldr r6, [r0, #4]\n"
                             "ldr r1, [r0, #16]\n"
                             "adds r1, r5\n"
                             "str r1, [r0]\n"
                             "ldr r1, [r0, #20]\n"
                             "adds r1, r6\n"
                             "str r1, [r0, #4]\n"
                             "ldr r7, [r0, #24]\n"
                             "adds r7, r5\n" LOAD_INPUT("r2")
                                 LOAD_INPUT("r3") "2:\n" THREE_TAPS("r2", "r3", "r4") "beq 3f\n" THREE_TAPS(
                                     "r3", "r4", "r2") "beq 3f\n" THREE_TAPS("r4", "r2",
                                                                             "r3") "bne 2b\n"
                                                                                   "3:\n"
                                                                                   "ldr r0, [sp]\n"
                                                                                   "ldr r1, [r0, #28]\n"
                                                                                   "subs r1, #1\n"
                                                                                   "str r1, [r0, #28]\n"
                                                                                   "bne 1b\n" STORE_SUM("36", "r8")
                                                                                       STORE_SUM("40", "r9") STORE_SUM(
                                                                                           "44", "r10") "pop {r0, r7}\n"
        : "+r"(rows)
        :
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

#endif

#endif
