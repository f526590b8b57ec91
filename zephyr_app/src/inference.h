/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The inference thread: one sample every CONFIG_FQT_APP_INFERENCE_PERIOD_MS, and whatever is asked for in between.
 *
 * Where an inference takes nearly a period or more, the next ones are left out, and counted, until others have had an
 * eighth of a period: the shell still answers, and the status says why so little is inferred and learnt.
 */
#ifndef FQT_APP_INFERENCE_H
#define FQT_APP_INFERENCE_H

#include <stdint.h>

/** Times from the start of an inference to its end, in cycles. */
struct inference_statistics {
    uint32_t count;
    uint32_t least;
    uint32_t greatest;
    uint64_t sum;
    uint32_t late;  /**< periods without an inference: the one before had taken too long */
    uint32_t delay; /**< of a start, at most, beside the earliest */
};

/** An answer to inference_ask(). */
struct inference_answer {
    uint32_t prediction;
    uint32_t cycles;
};

/** Starts the thread. learner_init() has to have succeeded. */
void inference_start(void);

/** Prediction of a sample that stays where it is meanwhile. For threads below inference's priority. */
struct inference_answer inference_ask(const uint8_t *sample);

/** Starts them anew. For threads below inference's priority. */
void inference_statistics_reset(void);

/** A consistent copy. */
struct inference_statistics inference_statistics_now(void);

#endif
