/* SPDX-License-Identifier: Apache-2.0 */
#include "prober.h"

#include "golden_run.h"

#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/ztest.h>

#define MAX_VERSIONS 31
#define LOGITS_BYTES 40
#define ARENA_BYTES ((CONFIG_FQT_TEST_WORK_MEMORY) / 8)

static K_THREAD_STACK_DEFINE(stack, IS_ENABLED(CONFIG_FQT_PLAIN_KERNELS) ? 1024 : 2048);
static struct k_thread thread;
static K_SEM_DEFINE(wake, 0, 1);
static K_TIMER_DEFINE(timer, NULL, NULL);

static uint64_t arena[ARENA_BYTES / 8];
static uint8_t versions[MAX_VERSIONS][LOGITS_BYTES];
static uint32_t n_versions;
static struct probes probes;
static volatile bool by_timer;
static uint32_t duration; /* of an inference, in ticks, at least 1 */
static uint32_t random_counter;

/* Logits of the probe sample now. */
static const void *infer(size_t *bytes) {
    uint32_t prediction;
    const void *logits = NULL;
    enum fqt_status status = fqt_infer(&run_network, arena, sizeof arena, run_probe(), &prediction, &logits);
    zassert_equal(status, FQT_OK);
    *bytes = (size_t)fqt_tensor_bytes(&run_network.model, run_network.model.header->n_layers);
    return logits;
}

static bool is_version(uint32_t version, const void *logits, size_t bytes) {
    return version < n_versions && memcmp(versions[version], logits, bytes) == 0;
}

/* The allowed results. Outside of updates: the current version. While a commit is pending: the next one. Otherwise, in
 * an update: the current one before the commit, the next one after it. */
static void probe(void) {
    bool updating = run_is_updating;
    bool pending = run_network.pending != 0;
    uint32_t version = run_trainer.step;
    size_t bytes;
    const void *logits = infer(&bytes);
    bool old = is_version(version, logits, bytes) && !pending;
    bool new = is_version(version + 1, logits, bytes) && updating;
    probes.inferences++;
    probes.updating += updating;
    probes.finishing += pending;
    probes.old += old;
    probes.new += new && !old;
    probes.mistakes += !old && !new;
}

static void expired(struct k_timer *unused) {
    k_sem_give(&wake);
}

static void set_timer(void) {
    uint32_t ticks = 1 + fqt_random_word(1, random_counter++) % (2 * duration);
    k_timer_start(&timer, K_TICKS(ticks), K_NO_WAIT);
}

static void run(void *a, void *b, void *c) {
    for (;;) {
        (void)k_sem_take(&wake, K_FOREVER);
        if (run_is_training) {
            probe();
        }
        if (by_timer) {
            set_timer();
        }
    }
}

void prober_start(void) {
    k_timer_init(&timer, expired, NULL);
    (void)k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, NULL, NULL, NULL, PROBER_PRIORITY, 0,
                          K_NO_WAIT);
}

void prober_reset(void) {
    n_versions = 0;
    duration = UINT32_MAX;
    prober_forget();
}

void prober_record(void) {
    size_t bytes;
    int64_t start = k_uptime_ticks();
    const void *logits = infer(&bytes);
    duration =
        MIN(duration, 1 + (uint32_t)(k_uptime_ticks() - start)); /* the least: a busy host delays an emulated core */
    zassert_true(n_versions < MAX_VERSIONS && bytes <= LOGITS_BYTES);
    memcpy(versions[n_versions++], logits, bytes);
}

uint32_t prober_distinct(void) {
    uint32_t distinct = 0;
    for (uint32_t i = 1; i < n_versions; i++) {
        distinct += memcmp(versions[i - 1], versions[i], LOGITS_BYTES) != 0;
    }
    return distinct;
}

void prober_run_by_timer(bool on) {
    by_timer = on;
    if (on) {
        set_timer();
    } else {
        k_timer_stop(&timer);
    }
}

void prober_wake(void) {
    k_sem_give(&wake); /* the thread is above this one: it runs at once */
}

struct probes prober_probes(void) {
    return probes;
}

void prober_forget(void) {
    probes = (struct probes){0};
}
