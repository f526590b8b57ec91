/* SPDX-License-Identifier: Apache-2.0 */
/** The training thread: learns what the sample queue brings, in the time that is left. */
#ifndef FQT_APP_TRAINING_H
#define FQT_APP_TRAINING_H

#include <fqt/fqt.h>
#include <stdbool.h>
#include <stdint.h>

/** Means are those of the last 64 samples. */
struct training_statistics {
    bool running;
    uint32_t runs_ended; /**< by stop, or by the number of steps that start was given */
    uint32_t steps;      /**< samples learnt */
    uint32_t updates;
    uint32_t rejected;    /**< samples with a label that the model does not know */
    uint32_t loss;        /**< mean, Q16 */
    uint32_t accuracy;    /**< Q16 */
    uint32_t step_cycles; /**< mean, without the threads that interrupted */
};

/** Starts the thread, and training if CONFIG_FQT_APP_AUTOSTART. learner_init() and inference_start() come first. */
void training_init(void);

/** Whether training_init() is done: before, nothing else may be called. The shell is there earlier. */
bool training_ready(void);

/** Learns the next samples: so many, 0 for until training_stop(). */
void training_start(uint32_t steps);

/** Stops. The step in progress is complete when this returns. For threads below inference's priority, as are the
 * following. */
void training_stop(void);

/** A consistent copy. Waits for the end of the step in progress. */
struct training_statistics training_statistics_now(void);

/** Shows all that was learnt (learner_visit()); returns its checksum. Waits likewise, and nothing is learnt meanwhile.
 */
uint32_t training_visit(fqt_observer *visit, void *user);

/** Checksum of all that was learnt, and after how many steps and updates. Waits likewise. */
uint32_t training_checksum(uint32_t *steps, uint32_t *updates);

#endif
