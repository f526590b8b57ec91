/* SPDX-License-Identifier: Apache-2.0 */
#include "inference.h"

#include "learner.h"
#include "priorities.h"
#include "simulated.h"

/* Of a period, for all other threads: without it, inference that takes nearly a period starves them. */
#define SHARE_OF_OTHERS 8

struct question {
    const uint8_t *sample;
    struct inference_answer *answer;
    struct k_sem *answered;
};

static K_THREAD_STACK_DEFINE(stack, CONFIG_FQT_APP_STACK_SIZE);
static struct k_thread thread;
K_MSGQ_DEFINE(questions, sizeof(struct question), 1, sizeof(void *));
static struct inference_statistics statistics = {.least = UINT32_MAX};

static struct inference_answer infer(const uint8_t *sample) {
    struct inference_answer answer;
    uint32_t start = k_cycle_get_32();
    answer.prediction = learner_infer(sample);
    simulate_work(SIMULATED_INFERENCE_US);
    answer.cycles = k_cycle_get_32() - start;
    statistics.count++;
    statistics.sum += answer.cycles;
    statistics.least = MIN(statistics.least, answer.cycles);
    statistics.greatest = MAX(statistics.greatest, answer.cycles);
    return answer;
}

static int64_t period_ticks(void) {
    return k_ms_to_ticks_ceil64(CONFIG_FQT_APP_INFERENCE_PERIOD_MS);
}

/* Answers questions until the period is over. */
static void answer_until(int64_t tick) {
    struct question question;
    while (k_msgq_get(&questions, &question, K_TIMEOUT_ABS_TICKS(tick)) == 0) {
        *question.answer = infer(question.sample);
        k_sem_give(question.answered);
    }
}

/* How late an inference starts, in cycles: beside the earliest start so far, moved on by whole periods. */
static void count_delay(int64_t periods) {
    static uint32_t earliest;
    static bool begun;
    const uint32_t cycles_per_tick = (uint32_t)(sys_clock_hw_cycles_per_sec() / CONFIG_SYS_CLOCK_TICKS_PER_SEC);
    uint32_t now = k_cycle_get_32();
    earliest += (uint32_t)periods * (uint32_t)period_ticks() * cycles_per_tick;
    int32_t delay = (int32_t)(now - earliest);
    if (!begun || delay < 0) {
        earliest = now;
        begun = true;
    } else {
        statistics.delay = MAX(statistics.delay, (uint32_t)delay);
    }
}

static void run(void *a, void *b, void *c) {
    const struct sample_set *samples = learner_samples();
    const int64_t period = period_ticks();
    const int64_t rest = DIV_ROUND_UP(period, SHARE_OF_OTHERS);
    int64_t next = k_uptime_ticks();
    int64_t passed = 0; /* periods since the last inference */
    for (uint32_t i = 0;; i = (i + 1) % samples->count) {
        answer_until(next);
        count_delay(passed);
        (void)infer(sample_set_bytes(samples, i));
        int64_t before = next;
        next += period;
        for (int64_t now = k_uptime_ticks(); next < now + rest; next += period) {
            statistics.late++;
        }
        passed = (next - before) / period;
    }
}

void inference_start(void) {
    k_tid_t id = k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, NULL, NULL, NULL,
                                 INFERENCE_PRIORITY, 0, K_NO_WAIT);
    k_thread_name_set(id, "inference");
}

struct inference_answer inference_ask(const uint8_t *sample) {
    struct inference_answer answer;
    struct k_sem answered;
    (void)k_sem_init(&answered, 0, 1);
    struct question question = {sample, &answer, &answered};
    (void)k_msgq_put(&questions, &question, K_FOREVER);
    (void)k_sem_take(&answered, K_FOREVER);
    return answer;
}

void inference_statistics_reset(void) {
    k_sched_lock();
    statistics = (struct inference_statistics){.least = UINT32_MAX};
    k_sched_unlock();
}

struct inference_statistics inference_statistics_now(void) {
    k_sched_lock(); /* only the inference thread writes them */
    struct inference_statistics copy = statistics;
    k_sched_unlock();
    return copy;
}
