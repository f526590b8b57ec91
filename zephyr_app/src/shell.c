/* SPDX-License-Identifier: Apache-2.0 */
/* The shell's `fqt` commands. What is typed is not trusted. */
#include "inference.h"
#include "learner.h"
#include "stacks.h"
#include "status.h"
#include "training.h"

#include <zephyr/kernel.h>
#include <zephyr/shell/shell.h>

#define GREATEST_NUMBER 999999999u

/* A number of 1 to 9 decimal digits and nothing else. */
static bool parse_number(const char *text, uint32_t *number) {
    uint32_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && value <= (GREATEST_NUMBER - 9) / 10; at++) {
        value = 10 * value + (uint32_t)(*at - '0');
    }
    *number = value;
    return at != text && *at == '\0';
}

/* Every command's first question. */
static bool ready(const struct shell *sh) {
    if (!training_ready()) {
        shell_error(sh, "fqt: error: the application has not started, see its messages");
    }
    return training_ready();
}

static int status_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    char line[STATUS_BYTES];
    status_line(line);
    shell_print(sh, "%s", line);
    status_counts(line);
    shell_print(sh, "%s", line);
    return 0;
}

static int start_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    uint32_t steps = 0;
    if (argc > 1 && (!parse_number(argv[1], &steps) || steps == 0)) {
        shell_error(sh, "fqt: error: steps is a number from 1 to %u", GREATEST_NUMBER);
        return -EINVAL;
    }
    training_start(steps);
    shell_print(sh, "fqt: training running");
    return 0;
}

static int stop_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    training_stop();
    shell_print(sh, "fqt: training stopped");
    return 0;
}

static int predict_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    static uint32_t next; /* without an index: the samples in turn */
    const struct sample_set *samples = learner_samples();
    uint32_t index = next % samples->count;
    if (argc > 1 && (!parse_number(argv[1], &index) || index >= samples->count)) {
        shell_error(sh, "fqt: error: index is a number from 0 to %u", (unsigned int)(samples->count - 1));
        return -EINVAL;
    }
    next = index + 1;
    struct inference_answer answer = inference_ask(sample_set_bytes(samples, index));
    shell_print(sh, "fqt: predict index %u label %u prediction %u inference_us %u", (unsigned int)index,
                (unsigned int)sample_set_label(samples, index), (unsigned int)answer.prediction,
                (unsigned int)k_cyc_to_us_near64(answer.cycles));
    return 0;
}

static int checksum_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    char line[STATUS_BYTES];
    status_checksum(line);
    shell_print(sh, "%s", line);
    return 0;
}

static int reset_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    inference_statistics_reset();
    shell_print(sh, "fqt: inference statistics start anew");
    return 0;
}

#ifdef CONFIG_FQT_APP_STACK_REPORT
static void show_stack(void *user, const char *line) {
    shell_print((const struct shell *)user, "%s", line);
}

static int stacks_command(const struct shell *sh, size_t argc, char **argv) {
    if (!ready(sh)) {
        return -EAGAIN;
    }
    stacks_report(show_stack, (void *)sh);
    return 0;
}
#define STACKS_COMMAND SHELL_CMD_ARG(stacks, NULL, "How much of each stack was never used", stacks_command, 1, 0),
#else
#define STACKS_COMMAND
#endif

SHELL_STATIC_SUBCMD_SET_CREATE(
    commands, SHELL_CMD_ARG(status, NULL, "How training goes, and times in microseconds", status_command, 1, 0),
    SHELL_CMD_ARG(start, NULL, "Train: start [steps]", start_command, 1, 1),
    SHELL_CMD_ARG(stop, NULL, "Stop training after the current step", stop_command, 1, 0),
    SHELL_CMD_ARG(predict, NULL, "Class of a sample in flash, now: predict [index]", predict_command, 1, 1),
    SHELL_CMD_ARG(checksum, NULL, "Checksum of all that was learnt", checksum_command, 1, 0),
    SHELL_CMD_ARG(reset, NULL, "Start inference's statistics anew", reset_command, 1, 0),
    STACKS_COMMAND SHELL_SUBCMD_SET_END);
SHELL_CMD_REGISTER(fqt, &commands, "Training and inference", NULL);
