/* SPDX-License-Identifier: Apache-2.0 */
/** The place of a sensor: feeds the samples in flash to training, in turn, for ever. */
#ifndef FQT_APP_SAMPLE_SOURCE_H
#define FQT_APP_SAMPLE_SOURCE_H

/** Starts the thread. learner_init() and sample_queue_init() have to have succeeded. */
void sample_source_start(void);

#endif
