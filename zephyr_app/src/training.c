/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include "learner.h"
#include "priorities.h"
#include "recent.h"
#include "sample_queue.h"
#include "sample_stream.h"
#include "simulated.h"

static K_THREAD_STACK_DEFINE(stack, CONFIG_FQT_APP_STACK_SIZE);
static struct k_thread thread;

/* Who trains or looks at the network's state holds this. Inference never does. */
static K_MUTEX_DEFINE(lock);
static K_CONDVAR_DEFINE(started);

static bool ready;
static bool running;
static uint32_t steps_left; /* 0: no limit */
static uint32_t runs_ended;
static uint32_t steps;
static uint32_t rejected;
static struct recent losses;
static struct recent hits;
static struct recent cycles;

/* What this thread has used of the processor so far. */
static uint64_t own_cycles(void) {
    k_thread_runtime_stats_t used;
    return k_thread_runtime_stats_get(&thread, &used) == 0 ? used.execution_cycles : 0;
}

static void end_run(void) {
    runs_ended += running ? 1 : 0;
    running = false;
}

static void learn(const struct sample *sample) {
    uint64_t start = own_cycles();
    struct fqt_loss result;
    if (learner_train(sample->bytes, sample->label, &result) != FQT_OK) {
        rejected++;
        return;
    }
    simulate_work(SIMULATED_STEP_US);
    recent_add(&cycles, (uint32_t)(own_cycles() - start));
    recent_add(&losses, result.loss);
    recent_add(&hits, result.prediction == sample->label ? 65536 : 0);
    steps++;
    if (steps_left > 0 && --steps_left == 0) {
        end_run();
    }
}

static void run(void *a, void *b, void *c) {
    for (;;) {
        struct sample *sample = sample_queue_take();
        (void)k_mutex_lock(&lock, K_FOREVER);
        while (!running) {
            (void)k_condvar_wait(&started, &lock, K_FOREVER);
        }
        if (IS_ENABLED(CONFIG_FQT_APP_SOURCE_STREAM) && sample->label == SAMPLE_EPOCH) {
            learner_update();
        } else {
            learn(sample);
        }
        (void)k_mutex_unlock(&lock);
        sample_queue_release(sample);
        if (IS_ENABLED(CONFIG_FQT_APP_SOURCE_STREAM)) {
            sample_stream_done();
        }
    }
}

void training_init(void) {
    running = IS_ENABLED(CONFIG_FQT_APP_AUTOSTART);
    steps_left = CONFIG_FQT_APP_STEPS;
    k_tid_t id = k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, NULL, NULL, NULL, TRAINING_PRIORITY,
                                 0, K_NO_WAIT);
    k_thread_name_set(id, "training");
    ready = true; /* last: the shell, which asks, preempts who sets it */
}

bool training_ready(void) {
    return ready;
}

void training_start(uint32_t count) {
    (void)k_mutex_lock(&lock, K_FOREVER);
    running = true;
    steps_left = count;
    (void)k_condvar_signal(&started);
    (void)k_mutex_unlock(&lock);
}

void training_stop(void) {
    (void)k_mutex_lock(&lock, K_FOREVER);
    end_run();
    (void)k_mutex_unlock(&lock);
}

struct training_statistics training_statistics_now(void) {
    (void)k_mutex_lock(&lock, K_FOREVER);
    struct training_statistics copy = {
        .running = running,
        .runs_ended = runs_ended,
        .steps = steps,
        .updates = learner_updates(),
        .rejected = rejected,
        .loss = recent_mean(&losses),
        .accuracy = recent_mean(&hits),
        .step_cycles = recent_mean(&cycles),
    };
    (void)k_mutex_unlock(&lock);
    return copy;
}

uint32_t training_visit(fqt_observer *visit, void *user) {
    (void)k_mutex_lock(&lock, K_FOREVER);
    learner_visit(visit, user);
    uint32_t checksum = learner_checksum();
    (void)k_mutex_unlock(&lock);
    return checksum;
}

uint32_t training_checksum(uint32_t *at_steps, uint32_t *updates) {
    (void)k_mutex_lock(&lock, K_FOREVER);
    uint32_t checksum = learner_checksum();
    *at_steps = steps;
    *updates = learner_updates();
    (void)k_mutex_unlock(&lock);
    return checksum;
}
