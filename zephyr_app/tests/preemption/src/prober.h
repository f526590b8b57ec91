/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The inference thread of the test: interrupts training, infers the probe sample and compares all bytes of the logits
 * with those of whole versions of the network, recorded in an undisturbed run.
 */
#ifndef FQT_TEST_PROBER_H
#define FQT_TEST_PROBER_H

#include <stdbool.h>
#include <stdint.h>

#define PROBER_PRIORITY 2

/** What the thread has seen. A mistake is a result that belongs to no version allowed at that moment. */
struct probes {
    uint32_t inferences; /**< that interrupted training */
    uint32_t updating;   /**< of those: while a minibatch was being ended */
    uint32_t finishing;  /**< of those: while a commit was pending, which the inference then finished */
    uint32_t old;        /**< results of the version before the update in progress, or of the only one */
    uint32_t new;        /**< results of the version that the update in progress makes */
    uint32_t mistakes;
};

/** Starts the thread; it sleeps. */
void prober_start(void);

/** Forgets all versions and counts. */
void prober_reset(void);

/** Records the network's logits as those of the next version. Undisturbed runs only. */
void prober_record(void);

/** Versions whose logits differ from those of the one before. */
uint32_t prober_distinct(void);

/** Lets a timer wake the thread again and again: after each inference it sleeps up to 2 times as long as one takes. */
void prober_run_by_timer(bool on);

/** Wakes the thread now: returns after it has inferred. For the training thread. */
void prober_wake(void);

/** What was seen since prober_forget(). */
struct probes prober_probes(void);

/** Starts counting anew. */
void prober_forget(void);

#endif
