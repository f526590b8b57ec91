/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax cross-entropy by a table of 2^-x (SPEC.md 4.7): loss, prediction and the error at the logits. */
#include <fqt/kernels.h>

#include <stddef.h>

#define LOG2_E_Q16 94548.46f /* log2(e) * 2^16 */
#define LN_2_Q16 45426u      /* ln(2) * 2^16 */

int32_t fqt_largest_u8(int32_t classes, const uint8_t *logits) {
    int32_t best = 0;
    for (int32_t i = 1; i < classes; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

int32_t fqt_largest_f32(int32_t classes, const float *logits) {
    int32_t best = 0;
    for (int32_t i = 1; i < classes; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* -log(share of the label), Q16. A numerator of 0 counts as 1. */
static uint32_t loss_q16(uint32_t sum, uint32_t label_numerator) {
    uint32_t bits = fqt_log2_q16(sum) - fqt_log2_q16(label_numerator > 0 ? label_numerator : 1);
    return (uint32_t)(((uint64_t)bits * LN_2_Q16) >> 16);
}

/* Numerator of a class `distance` steps of k / 2^16 binary exponents below the largest. */
static uint32_t numerator_u8(int32_t distance, int32_t k) {
    return fqt_exp2_negative((uint32_t)distance * (uint32_t)k);
}

/* floor((numerator * 127 + more) / sum) for 0 <= more < sum, whose dividend may take more than 32 bits. */
static uint32_t share_u8(uint32_t numerator, uint32_t more, uint32_t sum) {
    uint32_t dividend = numerator * FQT_ERROR_MAX;
    uint32_t share = dividend / sum;
    return dividend - share * sum >= sum - more ? share + 1 : share;
}

struct fqt_loss fqt_softmax_cross_entropy_u8(int32_t classes, int32_t label, float scale, const uint32_t *key,
                                             const uint8_t *logits, int8_t *e) {
    int32_t prediction = fqt_largest_u8(classes, logits);
    int32_t largest = logits[prediction];
    int32_t k = fqt_fround(scale * LOG2_E_Q16, 0, 8388607);
    uint32_t sum = 0;
    for (int32_t i = 0; i < classes; i++) {
        sum += numerator_u8(largest - logits[i], k);
    }
    for (int32_t i = 0; i < classes; i++) {
        uint32_t word = key == NULL ? FQT_NEAREST : fqt_random_word(*key, (uint32_t)i);
        uint32_t more = (uint32_t)(((uint64_t)(word >> 1) * sum) >> 31);
        uint32_t share = share_u8(numerator_u8(largest - logits[i], k), more, sum);
        e[i] = (int8_t)((int32_t)share - (i == label ? FQT_ERROR_MAX : 0));
    }
    return (struct fqt_loss){loss_q16(sum, numerator_u8(largest - logits[label], k)), (uint32_t)prediction};
}

static uint32_t numerator_f32(float distance) {
    return fqt_exp2_negative((uint32_t)fqt_fround(distance * LOG2_E_Q16, 0, 1 << 30));
}

struct fqt_loss fqt_softmax_cross_entropy_f32(int32_t classes, int32_t label, const float *logits, float *e) {
    int32_t prediction = fqt_largest_f32(classes, logits);
    float largest = logits[prediction];
    uint32_t sum = 0;
    for (int32_t i = 0; i < classes; i++) {
        sum += numerator_f32(largest - logits[i]);
    }
    for (int32_t i = 0; i < classes; i++) {
        e[i] = (float)numerator_f32(largest - logits[i]) / (float)sum - (i == label ? 1.0f : 0.0f);
    }
    return (struct fqt_loss){loss_q16(sum, numerator_f32(largest - logits[label])), (uint32_t)prediction};
}
