/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks for cores whose SMLAD makes two products (Cortex-M4, M7). In assembly, because each needs all 14
 * registers: a compiler spills. */
#include "blocks.h"

#ifdef FQT_BLOCKS_DSP

#include <arm_acle.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* assembly finds them in r0-r3 */

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* A row's quad, and what is left of one, 1-3 bytes of r3: r12 four bytes, r8-r11 elements of two vectors. */
#define PRODUCTS_OF_2(first, second)                                                                                   \
    "uxtb16 lr, r12\n"                                                                                                 \
    "uxtb16 r12, r12, ror #8\n"                                                                                        \
    "smlad " first ", r8, lr, " first "\n"                                                                             \
    "smlad " second ", r10, lr, " second "\n"                                                                          \
    "smlad " first ", r9, r12, " first "\n"                                                                            \
    "smlad " second ", r11, r12, " second "\n"
#define ROW_OF_2(row, first, second) "ldr r12, [" row "], #4\n" PRODUCTS_OF_2(first, second)
#define QUAD_2X2 "ldm r0!, {r8-r11}\n" ROW_OF_2("r1", "r4", "r5") ROW_OF_2("r2", "r6", "r7")
#define LOAD_REST(bytes, row, rest, byte)                                                                              \
    "ldrb " bytes ", [" row "]\n"                                                                                      \
    "cmp " rest ", #2\n"                                                                                               \
    "itt ge\n"                                                                                                         \
    "ldrbge " byte ", [" row ", #1]\n"                                                                                 \
    "orrge " bytes ", " bytes ", " byte ", lsl #8\n"                                                                   \
    "itt gt\n"                                                                                                         \
    "ldrbgt " byte ", [" row ", #2]\n"                                                                                 \
    "orrgt " bytes ", " bytes ", " byte ", lsl #16\n"
#define REST_OF_2(row, first, second) LOAD_REST("r12", row, "r3", "lr") PRODUCTS_OF_2(first, second)

/* Rows' quads to r3, what is left of them to the stack, r9 from a row's end to the next one. */
#define SPLIT_ROWS                                                                                                     \
    "and r4, r3, #3\n"                                                                                                 \
    "bic r2, r3, #3\n"                                                                                                 \
    "mov r1, r8\n"                                                                                                     \
    "mov r8, r9\n"                                                                                                     \
    "sub r9, r9, r2\n"                                                                                                 \
    "lsr r3, r3, #2\n"                                                                                                 \
    "push {r4}\n"

/* Two rows a pass: r0 panel, r1, r2 rows, r3 quads, r4-r7 sums, r8-r11 vectors, r12 and lr bytes. Between passes r8
 * step, r9 from a row's end to the next one, r10 rows, r11 acc, r12 and lr start. */
__attribute__((naked)) void fqt_rows_2(const struct fqt_rows *rows) {
    __asm__("push {r4-r11, lr}\n"
            "ldm r0, {r0, r3, r8-r12, lr}\n" SPLIT_ROWS "subs r3, r3, #4\n"
            "push {r0, r3, r8-r12, lr}\n"
            "1:\n"
            "cmp r10, #1\n"
            "beq 8f\n"
            "add r2, r1, r8\n"
            "ldrd r4, r6, [r12], #8\n"
            "ldrd r5, r7, [lr], #8\n"
            "strd r12, lr, [sp, #24]\n"
            "2:\n"
            "cmp r3, #0\n"
            "blt 4f\n"
            "3:\n" QUAD_2X2 QUAD_2X2 QUAD_2X2 QUAD_2X2 "subs r3, r3, #4\n"
            "bge 3b\n"
            "4:\n"
            "adds r3, r3, #4\n"
            "beq 6f\n"
            "5:\n" QUAD_2X2 "subs r3, r3, #1\n"
            "bne 5b\n"
            "6:\n"
            "ldr r3, [sp, #32]\n"
            "cbz r3, 7f\n"
            "ldm r0, {r8-r11}\n" REST_OF_2("r1", "r4", "r5")
                REST_OF_2("r2", "r6", "r7") "7:\n"
                                            "ldm sp, {r0, r3, r8-r12, lr}\n"
                                            "strd r4, r6, [r11], #8\n"
                                            "strd r5, r7, [r11, #4 * " TEXT(
                                                FQT_PAIR_ROWS) " - 8]\n"
                                                               "add r1, r2, r9\n"
                                                               "subs r10, r10, #2\n"
                                                               "strd r10, r11, [sp, #16]\n"
                                                               "bgt 1b\n"
                                                               "add sp, sp, #36\n"
                                                               "pop {r4-r11, pc}\n"
                                                               "8:\n" /* the last of an odd number, twice */
                                                               "mov r2, r1\n"
                                                               "ldr r4, [r12]\n"
                                                               "ldr r5, [lr]\n"
                                                               "b 2b\n");
}

/* A row's quad: r8, r9 vector, r10 four bytes. */
#define PRODUCTS_OF_4(sum)                                                                                             \
    "uxtb16 r11, r10\n"                                                                                                \
    "uxtb16 r10, r10, ror #8\n"                                                                                        \
    "smlad " sum ", r8, r11, " sum "\n"                                                                                \
    "smlad " sum ", r9, r10, " sum "\n"
#define ROW_OF_4(row, sum) "ldr r10, [" row "], #4\n" PRODUCTS_OF_4(sum)
#define REST_OF_4(row, rest, sum) LOAD_REST("r10", row, rest, "r11") PRODUCTS_OF_4(sum)
#define QUAD_1X1 "ldm r0!, {r8, r9}\n" ROW_OF_4("r1", "r4")
#define QUAD_1X4 QUAD_1X1 ROW_OF_4("r2", "r5") ROW_OF_4("r3", "r6") ROW_OF_4("r12", "r7")

/* Four rows a pass: r0 panel, r1, r2, r3, r12 rows, lr quads, r4-r7 sums, r8, r9 vector, r10, r11 bytes. Between passes
 * as above, but r12 start and lr quads. Then one row a pass: r2 panel, r3 what is left of quads, r5 rows, r6 acc, r7
 * from a row's end to the next one, r12 start. */
__attribute__((naked)) void fqt_rows_1(const struct fqt_rows *rows) {
    __asm__("push {r4-r11, lr}\n"
            "ldm r0, {r0, r3, r8-r12}\n" SPLIT_ROWS "mov lr, r3\n"
            "push {r0, r8-r12, lr}\n"
            "subs r10, r10, #4\n"
            "blt 6f\n"
            "1:\n"
            "ldm r12!, {r4-r7}\n"
            "str r12, [sp, #20]\n"
            "add r2, r1, r8\n"
            "add r3, r2, r8\n"
            "add r12, r3, r8\n"
            "subs lr, lr, #2\n"
            "blt 3f\n"
            "2:\n" QUAD_1X4 QUAD_1X4 "subs lr, lr, #2\n"
            "bge 2b\n"
            "3:\n"
            "adds lr, lr, #2\n"
            "beq 4f\n" QUAD_1X4 "4:\n"
            "ldr lr, [sp, #28]\n"
            "cmp lr, #0\n"
            "beq 5f\n"
            "ldm r0, {r8, r9}\n" REST_OF_4("r1", "lr", "r4") REST_OF_4("r2", "lr", "r5") REST_OF_4("r3", "lr", "r6")
                REST_OF_4("r12", "lr", "r7") "5:\n"
                                             "mov r1, r12\n"
                                             "ldm sp, {r0, r8-r12, lr}\n"
                                             "stm r11!, {r4-r7}\n"
                                             "add r1, r1, r9\n"
                                             "sub r10, r10, #4\n"
                                             "strd r10, r11, [sp, #12]\n"
                                             "cmp r10, #4\n"
                                             "bge 1b\n"
                                             "subs r10, r10, #4\n"
                                             "6:\n"
                                             "adds r5, r10, #4\n"
                                             "beq 5f\n"
                                             "mov r2, r0\n"
                                             "ldr r3, [sp, #28]\n"
                                             "mov r6, r11\n"
                                             "mov r7, r9\n"
                                             "7:\n"
                                             "ldr r4, [r12], #4\n"
                                             "mov r0, r2\n"
                                             "ldr lr, [sp, #24]\n"
                                             "adds lr, lr, #1\n"
                                             "lsrs lr, lr, #1\n"
                                             "beq 3f\n"
                                             "bcc 2f\n" /* an odd number of quads */
                                             "1:\n" QUAD_1X1 "2:\n" QUAD_1X1 "subs lr, lr, #1\n"
                                             "bne 1b\n"
                                             "3:\n"
                                             "cbz r3, 4f\n"
                                             "ldm r0, {r8, r9}\n" REST_OF_4("r1", "r3", "r4") "4:\n"
                                                                                              "str r4, [r6], #4\n"
                                                                                              "add r1, r1, r7\n"
                                                                                              "subs r5, r5, #1\n"
                                                                                              "bne 7b\n"
                                                                                              "5:\n"
                                                                                              "add sp, sp, #32\n"
                                                                                              "pop {r4-r11, pc}\n");
}

/* A row: r0 its sum, r1, r10-r12 its pairs. */
#define SMALL_ROW                                                                                                      \
    "ldm r2!, {r0, r1, r10-r12}\n"                                                                                     \
    "smlad r0, r4, r1, r0\n"                                                                                           \
    "smlad r0, r5, r10, r0\n"                                                                                          \
    "smlad r0, r6, r11, r0\n"                                                                                          \
    "smlad r0, r7, r12, r0\n"                                                                                          \
    "ldrd r1, r10, [r2], #8\n"                                                                                         \
    "smlad r0, r8, r1, r0\n"                                                                                           \
    "smlad r0, r9, r10, r0\n"                                                                                          \
    "str r0, [lr], #4\n"

/* r2 rows, r3 how many, r4-r9 the window, lr acc. */
__attribute__((naked)) void fqt_small_window(const uint8_t *x, const int32_t at[FQT_SMALL_READS],
                                             const struct fqt_small_rows *rows, int32_t *acc) {
    __asm__("push {r4-r11, lr}\n"
            "mov lr, r3\n"
            "ldr r3, [r2, #4]\n"
            "add r2, r2, #8\n"
            "ldm r1, {r4-r6}\n"
            "ldr r10, [r0, r4]\n"
            "ldr r11, [r0, r5]\n"
            "ldr r12, [r0, r6]\n"
            "uxtb16 r4, r10\n"
            "uxtb16 r5, r10, ror #8\n"
            "uxtb16 r6, r11\n"
            "uxtb16 r7, r11, ror #8\n"
            "uxtb16 r8, r12\n"
            "uxtb16 r9, r12, ror #8\n"
            "1:\n" SMALL_ROW SMALL_ROW "subs r3, r3, #2\n"
            "bgt 1b\n"
            "pop {r4-r11, pc}\n");
}

/* r10: what the output of the sum at `at` is before the clamp, usat: where to. r0 plus, r1 least, r2 acc, r3 span,
 * r4-r7 shifts, mantissa, offset. Beyond those seen, 4 passes once more without looking. */
#define OUTPUT(at, result)                                                                                             \
    "ldr r11, [r2, #" at "]\n"                                                                                         \
    "add r11, r11, r0\n"                                                                                               \
    "sub r12, r11, r1\n"                                                                                               \
    "cmp r12, r3\n"                                                                                                    \
    "bhi 4f\n"                                                                                                         \
    "asr r11, r11, r4\n"                                                                                               \
    "ssat r11, #16, r11\n"                                                                                             \
    "mla r11, r11, r6, r7\n"                                                                                           \
    "asr r11, r11, r5\n"                                                                                               \
    "usat " result ", #8, r11\n"
#define NEXT_OUTPUT(at, shift) OUTPUT(at, "r11") "orr r10, r10, r11, lsl #" shift "\n"

/* Four outputs a pass: r8 y, r9 how many are left, r10 outputs. */
__attribute__((naked)) bool fqt_put_outputs(const struct fqt_outputs *outputs, int32_t plus, const int32_t *acc,
                                            int32_t count, uint8_t *y) {
    __asm__("push {r4-r11, lr}\n"
            "ldr r8, [sp, #36]\n"
            "mov r9, r3\n"
            "mov r12, r1\n"
            "ldm r0, {r1, r3-r7, r10, r11}\n"
            "push {r3, r10, r11}\n"
            "mov r0, r12\n"
            "1:\n" OUTPUT("0", "r10") NEXT_OUTPUT("4", "8") NEXT_OUTPUT("8", "16")
                NEXT_OUTPUT("12", "24") "ldrd r11, r12, [sp, #4]\n"
                                        "usub8 lr, r10, r11\n"
                                        "sel r10, r10, r11\n"
                                        "usub8 lr, r12, r10\n"
                                        "sel r10, r10, r12\n"
                                        "subs r9, r9, #4\n"
                                        "blt 2f\n"
                                        "str r10, [r8], #4\n"
                                        "add r2, r2, #16\n"
                                        "bgt 1b\n"
                                        "b 3f\n"
                                        "2:\n"
                                        "strb r10, [r8], #1\n"
                                        "lsr r10, r10, #8\n"
                                        "subs r9, r9, #1\n"
                                        "cmn r9, #4\n"
                                        "bne 2b\n"
                                        "3:\n"
                                        "pop {r10-r12}\n"
                                        "subs r0, r3, r10\n"
                                        "it ne\n"
                                        "movne r0, #1\n"
                                        "pop {r4-r11, pc}\n"
                                        "4:\n"
                                        "mov r3, #-1\n"
                                        "b 1b\n");
}

/* r0 panel, its end on the stack, r1 bytes, r4-r11 sums, r2, r3 vectors, r12 and lr bytes of two elements. */
#define PAIR_4X2(extend)                                                                                               \
    "ldm r0!, {r12, lr}\n"                                                                                             \
    "ldrh r12, [r12, r1]\n"                                                                                            \
    "ldrh lr, [lr, r1]\n"                                                                                              \
    "orr r12, r12, lr, lsl #16\n" extend " lr, r12\n" extend " r12, r12, ror #8\n"                                     \
    "ldm r0!, {r2, r3}\n"                                                                                              \
    "smlad r4, r2, lr, r4\n"                                                                                           \
    "smlad r8, r2, r12, r8\n"                                                                                          \
    "smlad r5, r3, lr, r5\n"                                                                                           \
    "smlad r9, r3, r12, r9\n"                                                                                          \
    "ldm r0!, {r2, r3}\n"                                                                                              \
    "smlad r6, r2, lr, r6\n"                                                                                           \
    "smlad r10, r2, r12, r10\n"                                                                                        \
    "smlad r7, r3, lr, r7\n"                                                                                           \
    "smlad r11, r3, r12, r11\n"

/* r2: the panel's end, whose quads are 48 bytes. */
#define END_4X2                                                                                                        \
    "add r2, r2, r2, lsl #1\n"                                                                                         \
    "add r2, r0, r2, lsl #4\n"
#define LOOP_4X2(extend)                                                                                               \
    "1:\n" PAIR_4X2(extend) PAIR_4X2(extend) "ldr r2, [sp]\n"                                                          \
                                             "cmp r0, r2\n"                                                            \
                                             "bne 1b\n"

__attribute__((naked)) void fqt_columns_4x2_u8(const union fqt_word *panel, const uint8_t *bytes, int32_t quads,
                                               int32_t acc[8]) {
    __asm__(END_4X2 "push {r2-r11, r12, lr}\n"
                    "ldm r3, {r4-r11}\n" LOOP_4X2("uxtb16") "pop {r2, r3}\n"
                                                            "stm r3, {r4-r11}\n"
                                                            "pop {r4-r11, r12, pc}\n");
}

/* Four sums times r12 onto the gradients at r1. */
#define ADD_GRADIENTS(a, b, c, d)                                                                                      \
    "ldrd r0, r2, [r1]\n"                                                                                              \
    "mla " a ", " a ", r12, r0\n"                                                                                      \
    "mla " b ", " b ", r12, r2\n"                                                                                      \
    "ldrd r0, r2, [r1, #8]\n"                                                                                          \
    "mla " c ", " c ", r12, r0\n"                                                                                      \
    "mla " d ", " d ", r12, r2\n"                                                                                      \
    "stm r1, {" a ", " b ", " c ", " d "}\n"

__attribute__((naked)) void fqt_gradients(const union fqt_word *panel, const int8_t *e, int32_t quads,
                                          int32_t *const gradients[2], int32_t factor) {
    __asm__(END_4X2
            "push {r2-r11, r12, lr}\n"
            "movs r4, #0\n"
            "movs r5, #0\n"
            "movs r6, #0\n"
            "movs r7, #0\n"
            "mov r8, r4\n"
            "mov r9, r4\n"
            "mov r10, r4\n"
            "mov r11, r4\n" LOOP_4X2(
                "sxtb16") "pop {r2, r3}\n"
                          "ldr r12, [sp, #40]\n"
                          "ldr r1, [r3]\n" ADD_GRADIENTS("r4", "r5", "r6", "r7") "ldr r1, [r3, #4]\n" ADD_GRADIENTS(
                              "r8", "r9", "r10", "r11") "pop {r4-r11, r12, pc}\n");
}

/* r0 panel, r1 bytes, r2 quads, r4-r7 sums, r8, r9, r11 bytes of two elements, r10 vector. */
#define PAIR_1X4                                                                                                       \
    "ldm r0!, {r8, r9, r10}\n"                                                                                         \
    "ldr r8, [r8, r1]\n"                                                                                               \
    "ldr r9, [r9, r1]\n"                                                                                               \
    "pkhbt r11, r8, r9, lsl #16\n"                                                                                     \
    "pkhtb r9, r9, r8, asr #16\n"                                                                                      \
    "uxtb16 r8, r11\n"                                                                                                 \
    "smlad r4, r10, r8, r4\n"                                                                                          \
    "uxtb16 r11, r11, ror #8\n"                                                                                        \
    "smlad r5, r10, r11, r5\n"                                                                                         \
    "uxtb16 r8, r9\n"                                                                                                  \
    "smlad r6, r10, r8, r6\n"                                                                                          \
    "uxtb16 r9, r9, ror #8\n"                                                                                          \
    "smlad r7, r10, r9, r7\n"

__attribute__((naked)) void fqt_columns_1x4(const union fqt_word *panel, const uint8_t *bytes, int32_t quads,
                                            int32_t acc[4]) {
    __asm__("push {r4-r11}\n"
            "ldm r3, {r4-r7}\n"
            "1:\n" PAIR_1X4 PAIR_1X4 "subs r2, r2, #1\n"
            "bne 1b\n"
            "stm r3, {r4-r7}\n"
            "pop {r4-r11}\n"
            "bx lr\n");
}

/* Four elements more: r12 holds (0, 2), lr (1, 3); r2 factor. */
#define FOUR_PRODUCTS(a, b, c, d)                                                                                      \
    "ldm r1!, {r12, lr}\n"                                                                                             \
    "smlabb " a ", r12, r2, " a "\n"                                                                                   \
    "smlabb " b ", lr, r2, " b "\n"                                                                                    \
    "smlatb " c ", r12, r2, " c "\n"                                                                                   \
    "smlatb " d ", lr, r2, " d "\n"

#define EIGHT_PRODUCTS                                                                                                 \
    "ldm r0, {r4-r11}\n" FOUR_PRODUCTS("r4", "r5", "r6", "r7")                                                         \
        FOUR_PRODUCTS("r8", "r9", "r10", "r11") "stm r0!, {r4-r11}\n"

/* r0 gradient, r1 panel, r2 factor: |2^8 127| fits 16 bits, r3 quads. */
__attribute__((naked)) void fqt_rank_one(int32_t *gradient, const union fqt_word *panel, int32_t factor,
                                         int32_t quads) {
    __asm__("push {r4-r11, lr}\n"
            "subs r3, r3, #4\n"
            "blt 2f\n"
            "1:\n" EIGHT_PRODUCTS EIGHT_PRODUCTS "subs r3, r3, #4\n"
            "bge 1b\n"
            "2:\n"
            "adds r3, r3, #4\n"
            "beq 4f\n"
            "3:\n"
            "ldm r0, {r4-r7}\n" FOUR_PRODUCTS("r4", "r5", "r6", "r7") "stm r0!, {r4-r7}\n"
                                                                      "subs r3, r3, #1\n"
                                                                      "bne 3b\n"
                                                                      "4:\n"
                                                                      "pop {r4-r11, pc}\n");
}

/* r0 sums, r1 bytes, r2 n, r3 factor, r12 -zero twice, r4-r7 four sums, r8, r9 their bytes. */
__attribute__((naked)) void fqt_axpy_u8(int32_t *sums, const uint8_t *bytes, int32_t n, int32_t factor, int32_t zero) {
    __asm__("push {r4-r9}\n"
            "ldr r12, [sp, #24]\n"
            "rsb r12, r12, #0\n"
            "pkhbt r12, r12, r12, lsl #16\n"
            "subs r2, r2, #4\n"
            "blt 2f\n"
            "1:\n"
            "ldr r8, [r1], #4\n"
            "ldm r0, {r4-r7}\n"
            "uxtab16 r9, r12, r8\n"
            "uxtab16 r8, r12, r8, ror #8\n"
            "smlabb r4, r9, r3, r4\n"
            "smlabb r5, r8, r3, r5\n"
            "smlatb r6, r9, r3, r6\n"
            "smlatb r7, r8, r3, r7\n"
            "stm r0!, {r4-r7}\n"
            "subs r2, r2, #4\n"
            "bge 1b\n"
            "2:\n"
            "adds r2, r2, #4\n"
            "beq 4f\n"
            "3:\n"
            "ldrb r8, [r1], #1\n"
            "ldr r4, [r0]\n"
            "uxtab16 r8, r12, r8\n"
            "smlabb r4, r8, r3, r4\n"
            "str r4, [r0], #4\n"
            "subs r2, r2, #1\n"
            "bne 3b\n"
            "4:\n"
            "pop {r4-r9}\n"
            "bx lr\n");
}

__attribute__((naked)) void fqt_clear(void *words, int32_t quads) {
    __asm__("push {r4, r5}\n"
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
    int32_t i = 0;
    for (; i < count && (p + i) % FQT_QUAD != 0; i++) {
        fqt_set_offset(panel, n, p + i, first);
        first += step;
    }
    union fqt_word *at = panel + FQT_COLUMN_AT(n, p + i);
    for (; i + FQT_QUAD <= count; i += FQT_QUAD) {
        at[0].word = first;
        at[1].word = first + 2 * step;
        at[n + 2].word = first + step;
        at[n + 3].word = first + 3 * step;
        first += FQT_QUAD * step;
        at += 2 * (n + 2);
    }
    for (; i < count; i++) {
        fqt_set_offset(panel, n, p + i, first);
        first += step;
    }
}

static uint32_t load(const void *bytes) {
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* A number in both halves of a word. */
static uint32_t twice(int32_t value) {
    return (uint32_t)value << 16 | ((uint32_t)value & 0xffffu);
}

/* Bytes 1 and 3 to where UXTB16 and SXTB16 find them. */
static uint32_t odd_bytes(uint32_t bytes) {
    return bytes >> 8 | bytes << 24;
}

#define ROW_QUAD                                                                                                       \
    "ldr r5, [r1], #4\n"                                                                                               \
    "uxtab16 r6, r3, r5\n"                                                                                             \
    "uxtab16 r7, r3, r5, ror #8\n"                                                                                     \
    "usada8 r4, r5, r9, r4\n"                                                                                          \
    "strd r6, r7, [r0]\n"                                                                                              \
    "add r0, r0, r8\n"

/* r0 at, r1 bytes, r2 quads, r3 -zero twice; step: bytes from quad to quad. Returns the sum of the bytes. */
__attribute__((naked)) static int32_t fill_row_quads(union fqt_word *at, const uint8_t *x, int32_t quads,
                                                     uint32_t minus_zero, int32_t step) {
    __asm__("push {r4-r9}\n"
            "ldr r8, [sp, #24]\n"
            "movs r4, #0\n"
            "mov r9, r4\n"
            "subs r2, r2, #2\n"
            "blt 2f\n"
            "1:\n" ROW_QUAD ROW_QUAD "subs r2, r2, #2\n"
            "bge 1b\n"
            "2:\n"
            "adds r2, r2, #2\n"
            "beq 3f\n" ROW_QUAD "3:\n"
            "mov r0, r4\n"
            "pop {r4-r9}\n"
            "bx lr\n");
}

int32_t fqt_fill_row(union fqt_word *panel, int32_t n, int32_t v, int32_t k, const uint8_t *x, int32_t count,
                     int32_t zero) {
    int32_t sum = -count * zero;
    for (; count > 0 && k % FQT_QUAD != 0; count--) {
        fqt_set_row(panel, n, v, k++, *x - zero);
        sum += *x++;
    }
    int32_t quads = count / FQT_QUAD;
    sum += fill_row_quads(panel + ((k >> 2) * n + v) * 2, x, quads, twice(-zero), 8 * n);
    for (int32_t i = quads * FQT_QUAD; i < count; i++) {
        fqt_set_row(panel, n, v, k + i, x[i] - zero);
        sum += x[i];
    }
    return sum;
}

/* A quad of an error vector: its halves to `even` and `odd`, its sum onto `sum`; r4 holds (1, 1). */
#define ERROR_QUAD(e, even, odd, sum)                                                                                  \
    "ldr " odd ", [" e "], #4\n"                                                                                       \
    "sxtb16 " even ", " odd "\n"                                                                                       \
    "sxtb16 " odd ", " odd ", ror #8\n"                                                                                \
    "smlad " sum ", " even ", r4, " sum "\n"                                                                           \
    "smlad " sum ", " odd ", r4, " sum "\n"
#define ERROR_QUADS                                                                                                    \
    ERROR_QUAD("r1", "r8", "r10", "r5")                                                                                \
    ERROR_QUAD("r2", "r9", "r11", "r6")                                                                                \
    "strd r8, r9, [r0], #24\n"                                                                                         \
    "strd r10, r11, [r0], #24\n"

/* Quads of two neighbouring vectors of four; r0 at: the first one's word of the first pair, r1 and r2 errors, r3 quads,
 * sums: where to put theirs. */
__attribute__((naked)) static void fill_two_vectors(union fqt_word *at, const int8_t *e0, const int8_t *e1,
                                                    int32_t quads, int32_t sums[2]) {
    __asm__("push {r4-r11}\n"
            "mov r4, #0x00010001\n"
            "movs r5, #0\n"
            "movs r6, #0\n"
            "subs r3, r3, #2\n"
            "blt 2f\n"
            "1:\n" ERROR_QUADS ERROR_QUADS "subs r3, r3, #2\n"
            "bge 1b\n"
            "2:\n"
            "adds r3, r3, #2\n"
            "beq 3f\n" ERROR_QUADS "3:\n"
            "ldr r3, [sp, #32]\n"
            "strd r5, r6, [r3]\n"
            "pop {r4-r11}\n"
            "bx lr\n");
}

/* Quads of one vector; at: its word of the first pair, step: from pair to pair. Returns the errors' sum. */
static int32_t fill_error_quads(union fqt_word *at, int32_t step, const int8_t *e, int32_t quads) {
    int32_t sum = 0;
    for (; quads > 0; quads--) {
        uint32_t bytes = load(e);
        int32_t even = __sxtb16((int32_t)bytes);
        int32_t odd = __sxtb16((int32_t)odd_bytes(bytes));
        at[0].word = even;
        at[step].word = odd;
        sum = __smlad(even, 0x00010001, __smlad(odd, 0x00010001, sum));
        at += 2 * step;
        e += FQT_QUAD;
    }
    return sum;
}

static void fill_zero_quads(union fqt_word *at, int32_t step, int32_t quads) {
    for (; quads > 0; quads--) {
        at[0].word = 0;
        at[step].word = 0;
        at += 2 * step;
    }
}

static int32_t fill_column(union fqt_word *panel, int32_t n, int32_t v, int32_t p, const int8_t *e, int32_t count) {
    int32_t sum = 0;
    int32_t i = 0;
    if (p % FQT_QUAD == 0) {
        int32_t quads = count / FQT_QUAD;
        union fqt_word *at = panel + FQT_COLUMN_AT(n, p) + 2 + v;
        i = quads * FQT_QUAD;
        if (e == NULL) {
            fill_zero_quads(at, n + 2, quads);
        } else {
            sum = fill_error_quads(at, n + 2, e, quads);
        }
    }
    for (; i < count; i++) {
        int32_t error = e == NULL ? 0 : e[i];
        fqt_set_column(panel, n, v, p + i, error);
        sum += error;
    }
    return sum;
}

void fqt_fill_columns(union fqt_word *panel, int32_t p, const int8_t *const e[4], int32_t j, int32_t count,
                      int32_t sums[4]) {
    for (int32_t v = 0; v < 4; v += 2) {
        if (p % FQT_QUAD == 0 && count % FQT_QUAD == 0 && e[v] != NULL && e[v + 1] != NULL) {
            union fqt_word *at = panel + FQT_COLUMN_AT(4, p) + 2 + v;
            fill_two_vectors(at, e[v] + j, e[v + 1] + j, count / FQT_QUAD, sums + v);
        } else {
            sums[v] = fill_column(panel, 4, v, p, e[v] == NULL ? NULL : e[v] + j, count);
            sums[v + 1] = fill_column(panel, 4, v + 1, p, e[v + 1] == NULL ? NULL : e[v + 1] + j, count);
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
    int32_t i = 0;
    for (; i < count && (p + i) % FQT_QUAD != 0; i++) {
        fqt_set_column(panel, FQT_GRADIENT_VECTORS, v, p + i, x[i * step] - zero);
    }
    union fqt_word *pair = panel + FQT_COLUMN_AT(FQT_GRADIENT_VECTORS, p + i) + 2 + v;
    const uint8_t *from = x + i * step;
    uint32_t minus_zero = twice(-zero);
    for (; i + FQT_QUAD <= count; i += FQT_QUAD) {
        uint32_t even = step == 1 ? load(from) : from[0] | (uint32_t)from[2 * step] << 16;
        uint32_t odd = step == 1 ? odd_bytes(even) : from[step] | (uint32_t)from[3 * step] << 16;
        pair[0].word = (int32_t)__uxtab16(minus_zero, even);
        pair[FQT_GRADIENT_VECTORS + 2].word = (int32_t)__uxtab16(minus_zero, odd);
        pair += 2 * (FQT_GRADIENT_VECTORS + 2);
        from += i + FQT_QUAD < count ? FQT_QUAD * step : 0;
    }
    for (; i < count; i++) {
        fqt_set_column(panel, FQT_GRADIENT_VECTORS, v, p + i, x[i * step] - zero);
    }
}

/* One element of four vectors; `at`: its half of the first. */
static void put_neighbours(int16_t *at, uint32_t bytes, uint32_t minus_zero) {
    uint32_t even = __uxtab16(minus_zero, bytes);
    uint32_t odd = __uxtab16(minus_zero, odd_bytes(bytes));
    at[0] = (int16_t)even;
    at[2] = (int16_t)odd;
    at[4] = (int16_t)(even >> 16);
    at[6] = (int16_t)(odd >> 16);
}

void fqt_fill_neighbours(union fqt_word *panel, int32_t p, const uint8_t *x, int32_t step, int32_t count,
                         int32_t zero) {
    uint32_t minus_zero = twice(-zero);
    while (count > 0) {
        union fqt_word *pair = panel + FQT_COLUMN_AT(FQT_GRADIENT_VECTORS, p) + 2;
        if (p % FQT_QUAD == 0 && count >= FQT_QUAD) {
            put_neighbours(pair[0].half, load(x), minus_zero);
            put_neighbours(pair[FQT_GRADIENT_VECTORS + 2].half, load(x + step), minus_zero);
            put_neighbours(pair[0].half + 1, load(x + 2 * step), minus_zero);
            put_neighbours(pair[FQT_GRADIENT_VECTORS + 2].half + 1, load(x + 3 * step), minus_zero);
            p += FQT_QUAD;
            count -= FQT_QUAD;
            x += count > 0 ? FQT_QUAD * step : 0;
        } else {
            put_neighbours(pair->half + FQT_COLUMN_HALF(p), load(x), minus_zero);
            p++;
            count--;
            x += count > 0 ? step : 0;
        }
    }
}

#endif
