/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include "inference.h"
#include "sample_queue.h"
#include "training.h"

#include <stdio.h>
#include <zephyr/kernel.h>

/* A Q16 number in units of 1/parts, rounded. */
static unsigned int in_parts(uint32_t q16, uint32_t parts) {
    return (unsigned int)(((uint64_t)q16 * parts + 32768) >> 16);
}

static unsigned int microseconds(uint64_t cycles) {
    return (unsigned int)k_cyc_to_us_near64(cycles);
}

void status_line(char line[STATUS_BYTES]) {
    struct training_statistics t = training_statistics_now();
    struct inference_statistics i = inference_statistics_now();
    unsigned int loss = in_parts(t.loss, 1000);
    unsigned int accuracy = in_parts(t.accuracy, 100);
    (void)snprintf(line, STATUS_BYTES, "fqt: step %u loss %u.%03u accuracy %u.%02u inference_us %u/%u/%u step_us %u",
                   (unsigned int)t.steps, loss / 1000, loss % 1000, accuracy / 100, accuracy % 100,
                   microseconds(i.count == 0 ? 0 : i.least), microseconds(i.count == 0 ? 0 : i.sum / i.count),
                   microseconds(i.greatest), microseconds(t.step_cycles));
}

void status_counts(char line[STATUS_BYTES]) {
    struct training_statistics t = training_statistics_now();
    struct inference_statistics i = inference_statistics_now();
    (void)snprintf(
        line, STATUS_BYTES, "fqt: training %s updates %u rejected %u dropped %u inferences %u late %u delay_us %u",
        t.running ? "running" : "stopped", (unsigned int)t.updates, (unsigned int)t.rejected,
        (unsigned int)sample_queue_dropped(), (unsigned int)i.count, (unsigned int)i.late, microseconds(i.delay));
}

uint32_t status_losses(void) {
    return training_statistics_now().rejected + sample_queue_dropped() + inference_statistics_now().late;
}

void status_checksum(char line[STATUS_BYTES]) {
    uint32_t steps, updates;
    uint32_t checksum = training_checksum(&steps, &updates);
    (void)snprintf(line, STATUS_BYTES, "fqt: checksum 0x%08x step %u updates %u", (unsigned int)checksum,
                   (unsigned int)steps, (unsigned int)updates);
}
