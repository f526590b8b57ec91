/* SPDX-License-Identifier: Apache-2.0 */
#include "sample_queue.h"

#include "settings.h"

#include <zephyr/sys/util.h>

static K_FIFO_DEFINE(empty);
static K_FIFO_DEFINE(filled);
static atomic_t dropped;

uint32_t sample_queue_init(uint32_t sample_bytes) {
    size_t size = ROUND_UP(sizeof(struct sample) + sample_bytes, sizeof(void *));
    uint32_t count = (uint32_t)(settings_queue.size / size);
    for (uint32_t i = 0; i < count; i++) {
        k_fifo_put(&empty, settings_queue.bytes + i * size);
    }
    return count;
}

struct sample *sample_queue_claim(k_timeout_t timeout) {
    struct sample *sample = k_fifo_get(&empty, timeout);
    if (sample == NULL) {
        (void)atomic_inc(&dropped);
        sample = IS_ENABLED(CONFIG_FQT_APP_QUEUE_DROP_OLDEST) ? k_fifo_get(&filled, K_NO_WAIT) : NULL;
    }
    return sample;
}

uint32_t sample_queue_dropped(void) {
    return (uint32_t)atomic_get(&dropped);
}

void sample_queue_submit(struct sample *sample) {
    k_fifo_put(&filled, sample);
}

struct sample *sample_queue_take(void) {
    return k_fifo_get(&filled, K_FOREVER);
}

void sample_queue_release(struct sample *sample) {
    k_fifo_put(&empty, sample);
}
