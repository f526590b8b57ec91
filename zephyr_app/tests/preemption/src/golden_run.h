/* SPDX-License-Identifier: Apache-2.0 */
/** A golden trajectory, step by step, while others look on. */
#ifndef FQT_TEST_GOLDEN_RUN_H
#define FQT_TEST_GOLDEN_RUN_H

#include <fqt/train_step.h>
#include <stdbool.h>
#include <stdint.h>

/** A run in progress, for who interrupts it. */
extern struct fqt_network run_network;
extern struct fqt_trainer run_trainer;
extern volatile bool run_is_training; /**< inside a call of the library that trains */
extern volatile bool run_is_updating; /**< inside the one that ends a minibatch */

/** Prepares the trajectory of a golden file from its start. Asserts that it can be run here. */
void run_open(const uint8_t *image, const uint8_t *end);

/** A sample that inference can use meanwhile: the first one. */
const uint8_t *run_probe(void);

/** Updates that the whole run makes. */
uint32_t run_updates(void);

/** Trains to the end; asserts after each step that loss, prediction and checksum are the golden ones. after_update may
 * be NULL. */
void run_train(void (*after_update)(void));

#endif
