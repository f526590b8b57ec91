/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks for Cortex-M0 and M0+. In assembly, because a compiler leaves r8-r12 alone, where the sums have room: ADD
 * reaches them. */
#include "blocks.h"

#ifdef FQT_BLOCKS_ARMV6M

#pragma GCC diagnostic ignored "-Wunused-parameter" /* assembly finds them in r0-r3 */

#define SAVE                                                                                                           \
    ".syntax unified\n"                                                                                                \
    "push {r3-r7, lr}\n"                                                                                               \
    "mov r4, r8\n"                                                                                                     \
    "mov r5, r9\n"                                                                                                     \
    "mov r6, r10\n"                                                                                                    \
    "mov r7, r11\n"                                                                                                    \
    "push {r4-r7}\n"
#define LOAD_SUMS                                                                                                      \
    "ldm r3!, {r4-r7}\n"                                                                                               \
    "mov r8, r4\n"                                                                                                     \
    "mov r9, r5\n"                                                                                                     \
    "mov r10, r6\n"                                                                                                    \
    "mov r11, r7\n"
#define STORE_SUMS                                                                                                     \
    "mov r4, r8\n"                                                                                                     \
    "mov r5, r9\n"                                                                                                     \
    "mov r6, r10\n"                                                                                                    \
    "mov r7, r11\n"                                                                                                    \
    "ldr r3, [sp, #16]\n"                                                                                              \
    "stm r3!, {r4-r7}\n"
#define RESTORE                                                                                                        \
    "pop {r4-r7}\n"                                                                                                    \
    "mov r8, r4\n"                                                                                                     \
    "mov r9, r5\n"                                                                                                     \
    "mov r10, r6\n"                                                                                                    \
    "mov r11, r7\n"                                                                                                    \
    "pop {r3-r7, pc}\n"

/* sum += byte * element. */
#define PRODUCT(sum, byte, element)                                                                                    \
    "ldrb r7, [" byte "]\n"                                                                                            \
    "muls r7, " element ", r7\n"                                                                                       \
    "add " sum ", " sum ", r7\n"

/* Element `at` of eight: r1-r4 rows, r8-r11 sums. */
#define ELEMENT_1X4(element, at)                                                                                       \
    PRODUCT("r8", "r1, #" at, element)                                                                                 \
    PRODUCT("r9", "r2, #" at, element) PRODUCT("r10", "r3, #" at, element) PRODUCT("r11", "r4, #" at, element)

#define ADVANCE_4(bytes)                                                                                               \
    "adds r1, r1, #" bytes "\n"                                                                                        \
    "adds r2, r2, #" bytes "\n"                                                                                        \
    "adds r3, r3, #" bytes "\n"                                                                                        \
    "adds r4, r4, #" bytes "\n"

/* Four rows a pass: r0 panel, r12 its end, r5, r6 elements; an odd quad starts in the middle, and what is left of quads
 * goes one by one. Then one row a pass: r1 row, r2 sum, r3-r6 elements, r8 rows, r9 start, r10 acc, r11 from a row's
 * end to the next one, r12 the quads' end, lr the panel's. Stack: panel, the quads' end, its end, step, rows, start,
 * acc, from a row's end to the next one. */
__attribute__((naked)) void fqt_rows_1(const struct fqt_rows *rows) {
    __asm__(SAVE
            "sub sp, #32\n"
            "ldm r0!, {r1-r7}\n"
            "str r1, [sp]\n"
            "str r4, [sp, #12]\n"
            "str r5, [sp, #16]\n"
            "str r6, [sp, #24]\n"
            "str r7, [sp, #20]\n"
            "subs r4, r4, r2\n"
            "str r4, [sp, #28]\n"
            "lsls r4, r2, #2\n"
            "adds r4, r4, r1\n"
            "str r4, [sp, #8]\n"
            "lsrs r2, r2, #2\n"
            "lsls r2, r2, #4\n"
            "adds r2, r2, r1\n"
            "str r2, [sp, #4]\n"
            "mov r1, r3\n"
            "b 7f\n"
            "1:\n"
            "str r5, [sp, #16]\n"
            "ldr r6, [sp, #20]\n"
            "ldm r6!, {r2-r5}\n"
            "str r6, [sp, #20]\n"
            "mov r8, r2\n"
            "mov r9, r3\n"
            "mov r10, r4\n"
            "mov r11, r5\n"
            "ldr r5, [sp, #12]\n"
            "adds r2, r1, r5\n"
            "adds r3, r2, r5\n"
            "adds r4, r3, r5\n"
            "ldr r0, [sp]\n"
            "ldr r5, [sp, #4]\n"
            "mov r12, r5\n"
            "subs r5, r5, r0\n"
            "beq 4f\n"
            "lsls r5, r5, #27\n"
            "beq 2f\n"
            "subs r1, r1, #4\n"
            "subs r2, r2, #4\n"
            "subs r3, r3, #4\n"
            "subs r4, r4, #4\n"
            "b 3f\n"
            "2:\n"
            "ldm r0!, {r5, r6}\n" ELEMENT_1X4("r5", "0")
                ELEMENT_1X4("r6", "1") "ldm r0!, {r5, r6}\n" ELEMENT_1X4("r5", "2") ELEMENT_1X4(
                    "r6",
                    "3") "3:\n"
                         "ldm r0!, {r5, r6}\n" ELEMENT_1X4("r5", "4")
                             ELEMENT_1X4("r6", "5") "ldm r0!, {r5, r6}\n" ELEMENT_1X4("r5", "6") ELEMENT_1X4("r6", "7")
                                 ADVANCE_4("8") "cmp r0, r12\n"
                                                "bne 2b\n"
                                                "4:\n"
                                                "ldr r5, [sp, #8]\n"
                                                "mov r12, r5\n"
                                                "cmp r0, r12\n"
                                                "beq 6f\n"
                                                "5:\n"
                                                "ldm r0!, {r5}\n" ELEMENT_1X4("r5", "0") ADVANCE_4(
                                                    "1") "cmp r0, r12\n"
                                                         "bne 5b\n"
                                                         "6:\n"
                                                         "ldr r5, [sp, #28]\n"
                                                         "adds r1, r4, r5\n"
                                                         "ldr r0, [sp, #24]\n"
                                                         "mov r4, r8\n"
                                                         "mov r5, r9\n"
                                                         "mov r6, r10\n"
                                                         "mov r7, r11\n"
                                                         "stm r0!, {r4-r7}\n"
                                                         "str r0, [sp, #24]\n"
                                                         "ldr r5, [sp, #16]\n"
                                                         "7:\n"
                                                         "subs r5, r5, #4\n"
                                                         "blt 8f\n"
                                                         "b 1b\n"
                                                         "8:\n"
                                                         "adds r5, r5, #4\n"
                                                         "beq 6f\n"
                                                         "mov r8, r5\n"
                                                         "add r2, sp, #4\n"
                                                         "ldm r2!, {r3, r4}\n"
                                                         "mov r12, r3\n"
                                                         "mov lr, r4\n"
                                                         "adds r2, r2, #8\n"
                                                         "ldm r2!, {r3-r5}\n"
                                                         "mov r9, r3\n"
                                                         "mov r10, r4\n"
                                                         "mov r11, r5\n"
                                                         "1:\n"
                                                         "mov r3, r9\n"
                                                         "ldm r3!, {r2}\n"
                                                         "mov r9, r3\n"
                                                         "ldr r0, [sp]\n"
                                                         "cmp r0, r12\n"
                                                         "beq 3f\n"
                                                         "2:\n"
                                                         "ldm r0!, {r3-r6}\n" PRODUCT("r2", "r1, #0", "r3")
                                                             PRODUCT("r2", "r1, #1", "r4") PRODUCT("r2", "r1, #2", "r5")
                                                                 PRODUCT("r2", "r1, #3",
                                                                         "r6") "adds r1, r1, #4\n"
                                                                               "cmp r0, r12\n"
                                                                               "bne 2b\n"
                                                                               "3:\n"
                                                                               "cmp r0, lr\n"
                                                                               "beq 5f\n"
                                                                               "4:\n"
                                                                               "ldm r0!, {r3}\n" PRODUCT(
                                                                                   "r2", "r1",
                                                                                   "r3") "adds r1, r1, #1\n"
                                                                                         "cmp r0, lr\n"
                                                                                         "bne 4b\n"
                                                                                         "5:\n"
                                                                                         "mov r3, r10\n"
                                                                                         "stm r3!, {r2}\n"
                                                                                         "mov r10, r3\n"
                                                                                         "add r1, r11\n"
                                                                                         "mov r3, r8\n"
                                                                                         "subs r3, r3, #1\n"
                                                                                         "mov r8, r3\n"
                                                                                         "bne 1b\n"
                                                                                         "6:\n"
                                                                                         "add sp, #32\n" RESTORE);
}

/* Four channels of an element, their weights in r4-r7. */
#define SMALL_READ                                                                                                     \
    "ldm r2!, {r3}\n"                                                                                                  \
    "ldrb r3, [r0, r3]\n"                                                                                              \
    "ldm r1!, {r4-r7}\n"                                                                                               \
    "muls r4, r3, r4\n"                                                                                                \
    "add r8, r8, r4\n"                                                                                                 \
    "muls r5, r3, r5\n"                                                                                                \
    "add r9, r9, r5\n"                                                                                                 \
    "muls r6, r3, r6\n"                                                                                                \
    "add r10, r10, r6\n"                                                                                               \
    "muls r7, r3, r7\n"                                                                                                \
    "add r11, r11, r7\n"

/* r0 x, r1 words, r2 at, r12 its end, lr its begin. Stack: acc and its end. */
__attribute__((naked)) void fqt_small_window(const uint8_t *x, const int32_t at[FQT_SMALL_READS],
                                             const struct fqt_small_rows *rows, int32_t *acc) {
    __asm__(SAVE "ldm r2!, {r4, r5}\n"
                 "lsls r4, r4, #2\n"
                 "adds r4, r4, r1\n"
                 "mov r12, r4\n"
                 "mov lr, r1\n"
                 "mov r1, r2\n"
                 "lsls r5, r5, #2\n"
                 "adds r5, r5, r3\n"
                 "push {r3, r5}\n"
                 "1:\n"
                 "ldm r1!, {r4-r7}\n"
                 "mov r8, r4\n"
                 "mov r9, r5\n"
                 "mov r10, r6\n"
                 "mov r11, r7\n"
                 "mov r2, lr\n"
                 "2:\n" SMALL_READ SMALL_READ SMALL_READ "cmp r2, r12\n"
                 "bne 2b\n"
                 "ldr r3, [sp]\n"
                 "mov r4, r8\n"
                 "mov r5, r9\n"
                 "mov r6, r10\n"
                 "mov r7, r11\n"
                 "stm r3!, {r4-r7}\n"
                 "str r3, [sp]\n"
                 "ldr r4, [sp, #4]\n"
                 "cmp r3, r4\n"
                 "blo 1b\n"
                 "add sp, #8\n" RESTORE);
}

/* r0 acc, r7 end of y, r1 minus outputs left, r2 sum, r3 output, r4 and r5 shifts, r6 mantissa, r8 plus, r9 -least, r10
 * span, r11 offset, r12 and lr limits. What is rare comes last. */
__attribute__((naked)) bool fqt_put_outputs(const struct fqt_outputs *outputs, int32_t plus, const int32_t *acc,
                                            int32_t count, uint8_t *y) {
    __asm__(SAVE "mov r8, r1\n"
                 "ldm r0!, {r1, r4}\n"
                 "rsbs r1, r1, #0\n"
                 "mov r9, r1\n"
                 "mov r10, r4\n"
                 "ldm r0!, {r4-r7}\n"
                 "mov r11, r7\n"
                 "ldm r0!, {r1, r7}\n"
                 "mov r12, r1\n"
                 "mov lr, r7\n"
                 "mov r0, r2\n"
                 "ldr r7, [sp, #40]\n"
                 "adds r7, r7, r3\n"
                 "rsbs r1, r3, #0\n"
                 "movs r3, #0\n"
                 "str r3, [sp, #16]\n"
                 "1:\n"
                 "ldm r0!, {r2}\n"
                 "add r2, r8\n"
                 "mov r3, r2\n"
                 "add r3, r9\n"
                 "cmp r3, r10\n"
                 "bhi 5f\n"
                 "2:\n"
                 "asrs r2, r2, r4\n"
                 "sxth r3, r2\n"
                 "cmp r3, r2\n"
                 "bne 6f\n"
                 "3:\n"
                 "muls r3, r6, r3\n"
                 "add r3, r11\n"
                 "asrs r3, r3, r5\n"
                 "cmp r3, r12\n"
                 "blt 7f\n"
                 "cmp r3, lr\n"
                 "bgt 8f\n"
                 "4:\n"
                 "strb r3, [r7, r1]\n"
                 "adds r1, r1, #1\n"
                 "bne 1b\n"
                 "ldr r0, [sp, #16]\n" RESTORE "5:\n" /* beyond those seen: look no more */
                 "movs r3, #1\n"
                 "str r3, [sp, #16]\n"
                 "rsbs r3, r3, #0\n"
                 "mov r10, r3\n"
                 "b 2b\n"
                 "6:\n" /* saturates */
                 "asrs r3, r2, #31\n"
                 "movs r2, #1\n"
                 "lsls r2, r2, #15\n"
                 "subs r2, r2, #1\n"
                 "eors r3, r3, r2\n"
                 "b 3b\n"
                 "7:\n"
                 "mov r3, r12\n"
                 "b 4b\n"
                 "8:\n"
                 "mov r3, lr\n"
                 "b 4b\n");
}

/* An element: r4 its value, r5 its bytes. */
#define COLUMNS_1X4                                                                                                    \
    "ldm r0!, {r4, r5}\n"                                                                                              \
    "adds r5, r5, r1\n" PRODUCT("r8", "r5, #0", "r4") PRODUCT("r9", "r5, #1", "r4") PRODUCT("r10", "r5, #2", "r4")     \
        PRODUCT("r11", "r5, #3", "r4")

/* r0 panel, r1 bytes, r2 quads. */
__attribute__((naked)) void fqt_columns_1x4(const union fqt_word *panel, const uint8_t *bytes, int32_t quads,
                                            int32_t acc[4]) {
    __asm__(SAVE LOAD_SUMS "1:\n" COLUMNS_1X4 COLUMNS_1X4 COLUMNS_1X4 COLUMNS_1X4 "subs r2, r2, #1\n"
                           "bne 1b\n" STORE_SUMS RESTORE);
}

/* An element of eight columns: two more sums in r12 and lr, two in r2 and r3. */
#define COLUMNS_1X8                                                                                                    \
    COLUMNS_1X4 PRODUCT("r12", "r5, #4", "r4") PRODUCT("lr", "r5, #5", "r4") PRODUCT("r2", "r5, #6", "r4")             \
        PRODUCT("r3", "r5, #7", "r4")

/* r0 panel, r6 its end, whose quads are 32 bytes; r1 bytes. */
__attribute__((naked)) void fqt_columns_1x8(const union fqt_word *panel, const uint8_t *bytes, int32_t quads,
                                            int32_t acc[8]) {
    __asm__(SAVE "lsls r2, r2, #5\n"
                 "adds r2, r2, r0\n"
                 "mov r12, r2\n" LOAD_SUMS "ldm r3!, {r4, r5}\n"
                 "mov lr, r5\n"
                 "ldm r3!, {r2, r5}\n"
                 "mov r3, r5\n"
                 "mov r6, r12\n"
                 "mov r12, r4\n"
                 "1:\n" COLUMNS_1X8 COLUMNS_1X8 "cmp r0, r6\n"
                 "bne 1b\n"
                 "mov r0, r2\n"
                 "mov r1, r3\n" STORE_SUMS "mov r4, r12\n"
                 "mov r5, lr\n"
                 "mov r6, r0\n"
                 "mov r7, r1\n"
                 "stm r3!, {r4-r7}\n" RESTORE);
}

/* An element: r3, r4 two vectors, r5 offset; bytes behind r1 and r2. The last two products take the vectors' place. */
#define COLUMNS_2X2                                                                                                    \
    "ldm r0!, {r3, r4, r5}\n"                                                                                          \
    "ldrsb r6, [r5, r1]\n"                                                                                             \
    "mov r7, r6\n"                                                                                                     \
    "muls r7, r3, r7\n"                                                                                                \
    "add r8, r8, r7\n"                                                                                                 \
    "muls r6, r4, r6\n"                                                                                                \
    "add r9, r9, r6\n"                                                                                                 \
    "ldrsb r6, [r5, r2]\n"                                                                                             \
    "muls r3, r6, r3\n"                                                                                                \
    "add r10, r10, r3\n"                                                                                               \
    "muls r4, r6, r4\n"                                                                                                \
    "add r11, r11, r4\n"

/* Two sums times r2 onto gradients. */
#define ADD_GRADIENTS(a, b, gradients)                                                                                 \
    "mov r4, " a "\n"                                                                                                  \
    "mov r5, " b "\n"                                                                                                  \
    "muls r4, r2, r4\n"                                                                                                \
    "muls r5, r2, r5\n"                                                                                                \
    "ldr r6, [" gradients "]\n"                                                                                        \
    "ldr r7, [" gradients ", #4]\n"                                                                                    \
    "adds r4, r4, r6\n"                                                                                                \
    "adds r5, r5, r7\n"                                                                                                \
    "stm " gradients "!, {r4, r5}\n"

/* r0 panel, r12 its end. */
__attribute__((naked)) void fqt_gradients(const union fqt_word *panel, const int8_t *e, int32_t quads,
                                          int32_t *const gradients[2], int32_t factor) {
    __asm__(SAVE "movs r4, #0\n"
                 "mov r8, r4\n"
                 "mov r9, r4\n"
                 "mov r10, r4\n"
                 "mov r11, r4\n"
                 "lsls r3, r2, #4\n" /* a quad is 48 bytes */
                 "lsls r2, r2, #5\n"
                 "adds r3, r3, r2\n"
                 "adds r3, r3, r0\n"
                 "mov r12, r3\n"
                 "adds r2, r1, #1\n"
                 "1:\n" COLUMNS_2X2 COLUMNS_2X2 COLUMNS_2X2 COLUMNS_2X2 "cmp r0, r12\n"
                 "bne 1b\n"
                 "ldr r3, [sp, #16]\n"
                 "ldr r2, [sp, #40]\n"
                 "ldm r3!, {r0, r1}\n" ADD_GRADIENTS("r8", "r9", "r0") ADD_GRADIENTS("r10", "r11", "r1") RESTORE);
}

#define ADD_PRODUCT(element, at)                                                                                       \
    "ldr r7, [r0, #" at "]\n"                                                                                          \
    "adds " element ", " element ", r7\n"

/* r0 gradient, r1 panel, r2 factor, r12 the panel's end. */
__attribute__((naked)) void fqt_rank_one(int32_t *gradient, const union fqt_word *panel, int32_t factor,
                                         int32_t quads) {
    __asm__(".syntax unified\n"
            "push {r4-r7, lr}\n"
            "lsls r3, r3, #4\n"
            "adds r3, r3, r1\n"
            "mov r12, r3\n"
            "1:\n"
            "ldm r1!, {r3-r6}\n"
            "muls r3, r2, r3\n"
            "muls r4, r2, r4\n"
            "muls r5, r2, r5\n"
            "muls r6, r2, r6\n" ADD_PRODUCT("r3", "0") ADD_PRODUCT("r4", "4") ADD_PRODUCT("r5", "8")
                ADD_PRODUCT("r6", "12") "stm r0!, {r3-r6}\n"
                                        "cmp r1, r12\n"
                                        "bne 1b\n"
                                        "pop {r4-r7, pc}\n");
}

/* sum += factor (byte - zero). */
#define DIFFERENCE(sum, at)                                                                                            \
    "ldrb r2, [r1, #" at "]\n"                                                                                         \
    "add r2, r2, r12\n"                                                                                                \
    "muls r2, r3, r2\n"                                                                                                \
    "adds " sum ", " sum ", r2\n"

/* r0 sums, lr the end of their quads, r1 bytes, r3 factor, r12 -zero, r4-r7 four sums. */
__attribute__((naked)) void fqt_axpy_u8(int32_t *sums, const uint8_t *bytes, int32_t n, int32_t factor, int32_t zero) {
    __asm__(".syntax unified\n"
            "push {r2, r4-r7, lr}\n"
            "ldr r4, [sp, #24]\n"
            "rsbs r4, r4, #0\n"
            "mov r12, r4\n"
            "lsrs r2, r2, #2\n"
            "beq 2f\n"
            "lsls r2, r2, #4\n"
            "adds r2, r2, r0\n"
            "mov lr, r2\n"
            "1:\n"
            "ldm r0!, {r4-r7}\n"
            "subs r0, r0, #16\n" DIFFERENCE("r4", "0") DIFFERENCE("r5", "1") DIFFERENCE("r6", "2")
                DIFFERENCE("r7", "3") "adds r1, r1, #4\n"
                                      "stm r0!, {r4-r7}\n"
                                      "cmp r0, lr\n"
                                      "bne 1b\n"
                                      "2:\n"
                                      "pop {r5}\n"
                                      "lsls r5, r5, #30\n"
                                      "beq 4f\n"
                                      "lsrs r5, r5, #30\n"
                                      "3:\n"
                                      "ldr r4, [r0]\n" DIFFERENCE("r4", "0") "adds r1, r1, #1\n"
                                                                             "stm r0!, {r4}\n"
                                                                             "subs r5, r5, #1\n"
                                                                             "bne 3b\n"
                                                                             "4:\n"
                                                                             "pop {r4-r7, pc}\n");
}

__attribute__((naked)) void fqt_clear(void *words, int32_t quads) {
    __asm__(".syntax unified\n"
            "push {r4, r5}\n"
            "movs r2, #0\n"
            "movs r3, #0\n"
            "movs r4, #0\n"
            "movs r5, #0\n"
            "1:\n"
            "stm r0!, {r2-r5}\n"
            "subs r1, r1, #1\n"
            "bne 1b\n"
            "pop {r4, r5}\n"
            "bx lr\n");
}

void fqt_fill_offsets(union fqt_word *panel, int32_t n, int32_t p, int32_t first, int32_t step, int32_t count) {
    union fqt_word *at = panel + p * (n + 1) + n;
    for (int32_t i = 0; i < count; i++) {
        at->word = first;
        first += step;
        at += n + 1;
    }
}

int32_t fqt_fill_row(union fqt_word *panel, int32_t n, int32_t v, int32_t k, const uint8_t *x, int32_t count,
                     int32_t zero) {
    (void)n;
    (void)v;
    int32_t sum = 0;
    union fqt_word *at = panel + k;
    for (; count >= FQT_QUAD; count -= FQT_QUAD) {
        int32_t a = x[0] - zero;
        int32_t b = x[1] - zero;
        int32_t c = x[2] - zero;
        int32_t d = x[3] - zero;
        at[0].word = a;
        at[1].word = b;
        at[2].word = c;
        at[3].word = d;
        sum += a + b + c + d;
        x += FQT_QUAD;
        at += FQT_QUAD;
    }
    for (; count > 0; count--) {
        int32_t a = *x++ - zero;
        at++->word = a;
        sum += a;
    }
    return sum;
}

#define FILL_ERROR                                                                                                     \
    "ldrsb r4, [r1, r7]\n"                                                                                             \
    "adds r1, r1, #1\n"                                                                                                \
    "cmp r4, #0\n"                                                                                                     \
    "beq 3f\n"                                                                                                         \
    "stm r0!, {r4, r5}\n"                                                                                              \
    "adds r6, r6, r4\n"                                                                                                \
    "3:\n"                                                                                                             \
    "adds r5, r5, r3\n"

/* An odd count starts in the middle. r0 panel, r1 errors, r2 their end, r3 step, r4, r5 error and offset, r6 sum, r7 0.
 */
__attribute__((naked)) static union fqt_word *fill_errors(union fqt_word *panel, const int8_t *e, const int8_t *end,
                                                          int32_t step, int32_t first, int32_t *sum) {
    __asm__(".syntax unified\n"
            "push {r4-r7, lr}\n"
            "ldr r5, [sp, #20]\n"
            "movs r6, #0\n"
            "movs r7, #0\n"
            "subs r4, r2, r1\n"
            "beq 4f\n"
            "lsls r4, r4, #31\n"
            "bne 2f\n"
            "1:\n" FILL_ERROR "2:\n" FILL_ERROR "cmp r1, r2\n"
            "bne 1b\n"
            "4:\n"
            "ldr r1, [sp, #24]\n"
            "str r6, [r1]\n"
            "pop {r4-r7, pc}\n");
}

int32_t fqt_fill_errors(union fqt_word *panel, int32_t p, const int8_t *e, int32_t count, int32_t first, int32_t step,
                        int32_t *sum) {
    union fqt_word *from = panel + 2 * p;
    return (fill_errors(from, e, e + count, step, first, sum) - from) / 2;
}

void fqt_fill_column(union fqt_word *panel, int32_t v, int32_t p, const uint8_t *x, int32_t step, int32_t count,
                     int32_t zero) {
    union fqt_word *at = panel + p * (FQT_GRADIENT_VECTORS + 1) + v;
    const union fqt_word *end = at + count * (FQT_GRADIENT_VECTORS + 1);
    for (int32_t i = 0; at < end; i += step) {
        at->word = x[i] - zero;
        at += FQT_GRADIENT_VECTORS + 1;
    }
}

void fqt_fill_neighbours(union fqt_word *panel, int32_t p, const uint8_t *x, int32_t step, int32_t count,
                         int32_t zero) {
    union fqt_word *at = panel + p * (FQT_GRADIENT_VECTORS + 1);
    for (; count > 0; count--) {
        at[0].word = x[0] - zero;
        at[1].word = x[1] - zero;
        at += FQT_GRADIENT_VECTORS + 1;
        x += count > 1 ? step : 0;
    }
}

#endif
