/* SPDX-License-Identifier: Apache-2.0 */
#include "golden_suite.h"

#include "replay.h"

#include <zephyr/kernel.h>
#include <zephyr/ztest.h>

static uint64_t work_memory[CONFIG_FQT_TEST_WORK_MEMORY / 8];
static struct replay_case current;
static struct replay_report report;

static void print_difference(const struct replay_difference *d) {
    printk("first difference: case '%s' kind %u array %u record %u/%u element %u: expected 0x%08x, got 0x%08x\n",
           d->name, d->kind, d->array, d->record_kind, d->record_index, d->element, d->expected, d->got);
}

void golden_check(const char *name, const uint8_t *image, const uint8_t *end) {
    struct replay_file file;
    zassert_equal(replay_open(&file, image, (size_t)(end - image)), 0, "%s is not a golden file", name);
    report = (struct replay_report){0};
    int more;
    while ((more = replay_next(&file, &current)) > 0) {
        enum replay_result result = replay_case(&current, work_memory, sizeof work_memory, &report);
        zassert_not_equal(result, REPLAY_MALFORMED, "case '%s' was not understood", current.name);
    }
    printk("%s: %u cases, %u values, %u differences, %u cases without memory\n", name, report.cases,
           report.values_compared, report.differences, report.no_memory);
    if (report.differences > 0) {
        print_difference(&report.first);
    }
    zassert_equal(more, 0, "%s is damaged", name);
    zassert_equal(report.differences, 0, "%u values of %s differ", report.differences, name);
    zassert_true(report.cases > 0, "no case of %s ran", name);
    if (!IS_ENABLED(CONFIG_FQT_TEST_SKIP_LARGE)) {
        zassert_equal(report.no_memory, 0, "%u cases of %s need more than %d bytes", report.no_memory, name,
                      CONFIG_FQT_TEST_WORK_MEMORY);
    }
}
