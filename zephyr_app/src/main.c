/* SPDX-License-Identifier: Apache-2.0 */
/* Starts the threads, then prints the status line while training goes on. */
#include "console.h"
#include "inference.h"
#include "learner.h"
#include "priorities.h"
#include "sample_queue.h"
#include "sample_source.h"
#include "stacks.h"
#include "status.h"
#include "training.h"

#ifdef CONFIG_FQT_APP_STACK_REPORT
static void show_stack(void *user, const char *line) {
    console_print("%s", line);
}
#endif

/* The status line; the counts when something was lost since they were said; once more when training has come to its
 * end, with the checksum of what it has learnt. */
static void report(bool ended) {
    static uint32_t losses;
    char line[STATUS_BYTES];
    status_line(line);
    console_print("%s", line);
    uint32_t now = status_losses();
    if (now != losses) {
        losses = now;
        status_counts(line);
        console_print("%s", line);
    }
    if (ended) {
        status_checksum(line);
        console_print("%s", line);
#ifdef CONFIG_FQT_APP_STACK_REPORT
        stacks_report(show_stack, NULL);
#endif
    }
}

/* Runs are counted, because a short one begins and ends between two looks. */
static void watch_training(void) {
    uint32_t reported = 0;
    for (;;) {
        k_msleep(CONFIG_FQT_APP_STATUS_PERIOD_MS);
        struct training_statistics now = training_statistics_now();
        bool ended = now.runs_ended != reported;
        if (now.running || ended) {
            report(ended);
        }
        reported = now.runs_ended;
    }
}

int main(void) {
    while (!learner_init()) {
        k_sleep(K_SECONDS(10)); /* and say it again to who listens later */
    }
    const struct sample_set *samples = learner_samples();
    console_print("fqt: %u samples of %u bytes, queue of %u", (unsigned int)samples->count,
                  (unsigned int)samples->sample_bytes, (unsigned int)sample_queue_init(samples->sample_bytes));
    inference_start();
    training_init();
    sample_source_start();
    watch_training();
    return 0;
}
