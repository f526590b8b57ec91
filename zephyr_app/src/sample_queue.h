/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Labelled samples on their way to the training thread.
 *
 * A sensor's driver claims an empty sample, fills it (by DMA if it likes) and submits it; training takes it, learns it
 * where it lies, and releases it. First come, first learnt. Any number of sources; claim (K_NO_WAIT) and submit also
 * from interrupts.
 *
 * A source that cannot wait meets a full queue where training is slower than it. Then a sample is lost and counted:
 * the new one, or the oldest that waits (CONFIG_FQT_APP_QUEUE_DROP_OLDEST).
 */
#ifndef FQT_APP_SAMPLE_QUEUE_H
#define FQT_APP_SAMPLE_QUEUE_H

#include <stdint.h>
#include <zephyr/kernel.h>

struct sample {
    void *reserved; /* the kernel's, while the sample is queued */
    uint32_t label;
    uint8_t bytes[];
};

/** Makes as many empty samples as fit CONFIG_FQT_APP_QUEUE_BYTES; returns how many. Call it once, before the threads
 * start. */
uint32_t sample_queue_init(uint32_t sample_bytes);

/** An empty sample. If none came free in time, one is dropped: the oldest filled one, which is returned to be filled
 * anew, or the caller's: NULL. NULL also where all are being filled or learnt. */
struct sample *sample_queue_claim(k_timeout_t timeout);

/** Samples dropped so far. */
uint32_t sample_queue_dropped(void);

/** Hands a filled sample to training. Its label may be anything: training rejects those that the model does not know.
 */
void sample_queue_submit(struct sample *sample);

/** The oldest filled sample; waits for one. */
struct sample *sample_queue_take(void);

/** Gives a sample back. */
void sample_queue_release(struct sample *sample);

#endif
