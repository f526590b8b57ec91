/* SPDX-License-Identifier: Apache-2.0 */
#include "sample_source.h"

#include "learner.h"
#include "priorities.h"
#include "sample_queue.h"

#include <string.h>

static K_THREAD_STACK_DEFINE(stack, CONFIG_FQT_APP_SOURCE_STACK_SIZE);
static struct k_thread thread;

static void run(void *a, void *b, void *c) {
    const struct sample_set *set = learner_samples();
    for (uint32_t i = 0;; i = (i + 1) % set->count) {
        struct sample *sample = sample_queue_claim(K_FOREVER);
        memcpy(sample->bytes, sample_set_bytes(set, i), set->sample_bytes);
        sample->label = sample_set_label(set, i);
        sample_queue_submit(sample);
    }
}

void sample_source_start(void) {
    k_tid_t id = k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, NULL, NULL, NULL, SOURCE_PRIORITY,
                                 0, K_NO_WAIT);
    k_thread_name_set(id, "source");
}
