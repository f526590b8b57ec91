/* SPDX-License-Identifier: Apache-2.0 */
/** The status lines. */
#ifndef FQT_APP_STATUS_H
#define FQT_APP_STATUS_H

#include <stdint.h>

#define STATUS_BYTES 144

/**
 * Writes how training goes and how long things take, by integers alone:
 * "fqt: step 400 loss 0.412 accuracy 0.88 inference_us 312/350/401 step_us 5120"; the three are least, mean, greatest.
 */
void status_line(char line[STATUS_BYTES]);

/**
 * Writes the rest: "fqt: training running updates 50 rejected 0 dropped 0 inferences 1200 late 0 delay_us 12". late:
 * periods that had no inference; delay_us: of an inference's start, at most.
 */
void status_counts(char line[STATUS_BYTES]);

/** What went wrong so far: samples rejected or dropped, periods without an inference. */
uint32_t status_losses(void);

/** Writes "fqt: checksum 0x0123abcd step 400 updates 50". */
void status_checksum(char line[STATUS_BYTES]);

#endif
