/* SPDX-License-Identifier: Apache-2.0 */
/** The sample queue when it is full: what is dropped is counted, and which sample it is, is the policy's choice. */
#include "sample_queue.h"
#include "settings.h"

#include <zephyr/ztest.h>

#define PLACES 3u
#define SAMPLE_BYTES 8u

static uint8_t bytes[PLACES * (sizeof(struct sample) + SAMPLE_BYTES)] __aligned(8);
const struct settings_memory settings_queue = {bytes, sizeof bytes};

static void *set_up(void) {
    zassert_equal(sample_queue_init(SAMPLE_BYTES), PLACES);
    return NULL;
}

/* A sensor that cannot wait; returns whether its sample was taken. */
static bool offer(uint32_t label) {
    struct sample *sample = sample_queue_claim(K_NO_WAIT);
    if (sample == NULL) {
        return false;
    }
    sample->label = label;
    sample_queue_submit(sample);
    return true;
}

static void take_and_release(uint32_t label) {
    struct sample *sample = sample_queue_take();
    zassert_equal(sample->label, label, "got %u, expected %u", sample->label, label);
    sample_queue_release(sample);
}

ZTEST(sample_queue, test_full_queue_drops_by_its_policy) {
    const bool oldest = IS_ENABLED(CONFIG_FQT_APP_QUEUE_DROP_OLDEST);
    const uint32_t before = sample_queue_dropped();
    for (uint32_t label = 0; label < PLACES; label++) {
        zassert_true(offer(label));
    }
    zassert_equal(sample_queue_dropped(), before, "nothing is dropped while there is room");
    zassert_equal(offer(PLACES), oldest);
    zassert_equal(offer(PLACES + 1), oldest);
    zassert_equal(sample_queue_dropped(), before + 2);
    for (uint32_t label = 0; label < PLACES; label++) {
        take_and_release(oldest ? label + 2 : label);
    }
    zassert_true(offer(9), "there is room again");
    zassert_equal(sample_queue_dropped(), before + 2);
    take_and_release(9);
}

ZTEST(sample_queue, test_samples_that_are_being_learnt_are_never_dropped) {
    struct sample *held[PLACES];
    const uint32_t before = sample_queue_dropped();
    for (uint32_t label = 0; label < PLACES; label++) {
        zassert_true(offer(label));
        held[label] = sample_queue_take();
    }
    zassert_false(offer(PLACES), "all places are in training's hands");
    zassert_equal(sample_queue_dropped(), before + 1);
    for (uint32_t label = 0; label < PLACES; label++) {
        zassert_equal(held[label]->label, label);
        sample_queue_release(held[label]);
    }
}

ZTEST(sample_queue, test_who_waits_loses_nothing_while_there_is_room_in_time) {
    const uint32_t before = sample_queue_dropped();
    struct sample *sample = sample_queue_claim(K_MSEC(10));
    zassert_not_null(sample);
    sample_queue_release(sample);
    zassert_equal(sample_queue_dropped(), before);
}

ZTEST_SUITE(sample_queue, NULL, set_up, NULL, NULL, NULL);
