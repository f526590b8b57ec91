/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Training under preemption: inference from a higher-priority thread interrupts it at arbitrary points and inside
 * commits. Training still gives the golden checksums, and each inference gives all bytes of a whole version's logits,
 * the old one's or the new one's.
 */
#include "commit_hook.h"
#include "golden_files.h"
#include "golden_run.h"
#include "prober.h"

#include <zephyr/kernel.h>
#include <zephyr/ztest.h>

#define MAX_RUNS 100

static void print_probes(const char *how, const struct probes *p) {
    printk("%s: %u inferences, %u in updates, %u finished a commit, %u old, %u new, %u mistakes\n", how, p->inferences,
           p->updating, p->finishing, p->old, p->new, p->mistakes);
}

/* The logits of each version, from a run that nobody interrupts. */
static void record_versions(const uint8_t *image, const uint8_t *end) {
    prober_reset();
    run_open(image, end);
    prober_record();
    run_train(prober_record);
    printk("%u of %u updates change the probe's logits\n", prober_distinct(), run_updates());
    zassert_true(prober_distinct() > run_updates() / 2, "logits that stay show nothing");
}

static void timer_interrupts(const uint8_t *image, const uint8_t *end) {
    struct probes p = {0};
    prober_forget();
    /* Once is enough where the clock counts instructions. */
    for (int run = 0; run < MAX_RUNS && (p.inferences < 100 || p.updating == 0); run++) {
        run_open(image, end);
        prober_run_by_timer(true);
        run_train(NULL);
        prober_run_by_timer(false);
        p = prober_probes();
    }
    print_probes("timer", &p);
    zassert_equal(p.mistakes, 0, "%u inferences saw no whole version", p.mistakes);
    zassert_true(p.inferences >= 100, "only %u inferences interrupted training", p.inferences);
    zassert_true(p.updating > 0, "no inference interrupted an update");
}

/* Weights and biases of each trained layer, and the rest. */
static uint32_t pieces_of_a_version(void) {
    uint32_t n = 1;
    for (uint32_t l = 0; l < run_network.model.header->n_layers; l++) {
        n += 2 * fqt_layer_trains(&run_network.model.layers[l]);
    }
    return n;
}

static void commits_are_interrupted(const uint8_t *image, const uint8_t *end) {
    run_open(image, end);
    prober_forget();
    commit_hook_set(prober_wake);
    run_train(NULL);
    commit_hook_set(NULL);
    struct probes p = prober_probes();
    print_probes("inside commits", &p);
    uint32_t stops = 2 * pieces_of_a_version() * run_updates(); /* before each and in its middle */
    zassert_equal(p.mistakes, 0, "%u inferences saw no whole version", p.mistakes);
    zassert_equal(p.inferences, stops);
    zassert_equal(p.finishing, stops, "inference has to finish what it interrupts");
    zassert_equal(p.new, stops, "and to use it");
}

/* Without the commit protocol: inference is not told that a commit is pending. */
static void wake_unaware(void) {
    run_network.pending = 0;
    prober_wake();
    run_network.pending = 1;
}

static void broken_commits_are_noticed(const uint8_t *image, const uint8_t *end) {
    run_open(image, end);
    prober_forget();
    commit_hook_set(wake_unaware);
    run_train(NULL);
    commit_hook_set(NULL);
    struct probes p = prober_probes();
    print_probes("commits without protocol", &p);
    zassert_true(p.mistakes > 0, "this test would not notice a half-written version");
}

static void check(const char *name, const uint8_t *image, const uint8_t *end) {
    printk("%s\n", name);
    record_versions(image, end);
    timer_interrupts(image, end);
    commits_are_interrupted(image, end);
    broken_commits_are_noticed(image, end);
}

#define PREEMPTION_TEST(name)                                                                                          \
    extern const uint8_t golden_##name[], golden_##name##_end[];                                                       \
    ZTEST(fqt_preemption, test_##name) {                                                                               \
        check(#name, golden_##name, golden_##name##_end);                                                              \
    }

GOLDEN_FILES(PREEMPTION_TEST)

static void *start(void) {
    prober_start();
    return NULL;
}

ZTEST_SUITE(fqt_preemption, NULL, start, NULL, NULL, NULL);
