/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The network, its trainer and the memory that they live in.
 *
 * Who may call what: learner_infer() only the inference thread; learner_train(), learner_update(),
 * learner_visit() and learner_checksum() only who holds
 * training's lock.
 */
#ifndef FQT_APP_LEARNER_H
#define FQT_APP_LEARNER_H

#include "sample_set.h"

#include <fqt/fqt.h>
#include <stdbool.h>

/** Opens the embedded model and samples and lays out all memory. Says on the console what is missing; false then.
 * Before it has succeeded, nothing else may be called. */
bool learner_init(void);

/** The embedded samples. */
const struct sample_set *learner_samples(void);

/** Class of a sample. */
uint32_t learner_infer(const uint8_t *sample);

/** Trains on a sample. Fails for an unknown label; nothing has changed then. */
enum fqt_status learner_train(const uint8_t *sample, uint32_t label, struct fqt_loss *loss);

/** Ends a minibatch that is not full. */
void learner_update(void);

/** Classes that the model tells apart. */
uint32_t learner_classes(void);

/** Shows all that was learnt, in the order of SPEC.md section 11. */
void learner_visit(fqt_observer *visit, void *user);

/** Updates so far. */
uint32_t learner_updates(void);

/** Checksum of all that was learnt (SPEC.md section 11). */
uint32_t learner_checksum(void);

#endif
