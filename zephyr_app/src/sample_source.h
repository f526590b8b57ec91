/* SPDX-License-Identifier: Apache-2.0 */
/** The place of a sensor: feeds training with the samples in flash, in turn, for ever; or with those that a PC sends
 * (sample_stream.c), as Kconfig chooses. */
#ifndef FQT_APP_SAMPLE_SOURCE_H
#define FQT_APP_SAMPLE_SOURCE_H

/** Starts its thread. learner_init() and sample_queue_init() have to have succeeded. */
void sample_source_start(void);

#endif
