/* SPDX-License-Identifier: Apache-2.0 */
/** Samples from a UART (stream_protocol.h) in place of those in flash: the chosen node zephyr,uart-pipe. */
#ifndef FQT_APP_SAMPLE_STREAM_H
#define FQT_APP_SAMPLE_STREAM_H

#include <stdint.h>

/** A label that stands for the end of an epoch. */
#define SAMPLE_EPOCH UINT32_MAX

/** Training has done with a sample or epoch. From its thread. */
void sample_stream_done(void);

#endif
