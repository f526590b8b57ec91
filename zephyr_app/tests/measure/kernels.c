/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Runs single kernels on an emulated core, each between the marks of count.h.
 *
 * QEMU has put a bundle at FQT_GOLDEN_ADDRESS: "FQK1", u32 its bytes, u32 cases; each: struct job; i32 zero_w[grids],
 * factors[grids], bias_acc[out_c]; x, weights, errors, padded to 4 bytes each. The memory behind it takes the results.
 * One line a case: "ticks stack", ticks of the timer and bytes of stack that the call took. Exit code 0.
 */
#include "count.h"
#include "timer.h"

#include <fqt/kernels.h>
#include <fqt/model_file.h>
#include <stdio.h>
#include <string.h>

#define PAINTED 8192 /* bytes of stack that are watched */
#define PAINT 0xa5

enum pass { FORWARD, INPUT, WEIGHT };

struct job {
    uint32_t op, pass;
    struct fqt_geometry geometry;
    int32_t zero_x, zero_y, lower, upper;
    int32_t lowest, highest;
    int32_t fraction_bits;
    int32_t grids;
    int32_t track; /* whether the extremes of the accumulators are wanted, as in training */
    float m;
};

/* A job with its arrays. */
struct task {
    struct job job;
    struct fqt_forward_quantization forward;
    struct fqt_error_quantization error;
    const uint8_t *x, *w;
    const int8_t *e;
    uint8_t *y;
    int8_t *dx;
    int32_t *gradient, *bias_gradient;
    struct fqt_extremes *extremes;
};

static struct fqt_requantizer requantizers[512];
static struct fqt_extremes seen[512];

static void run_forward(const struct task *t) {
    const struct fqt_geometry *g = &t->job.geometry;
    if (t->job.op == FQT_CONV2D) {
        fqt_conv2d_forward_u8(g, &t->forward, t->x, t->w, t->y, t->extremes);
    } else if (t->job.op == FQT_LINEAR) {
        fqt_linear_forward_u8(g->in_c, g->out_c, &t->forward, t->x, t->w, t->y, t->extremes);
    } else {
        fqt_depthwise_conv2d_forward_u8(g, &t->forward, t->x, t->w, t->y, t->extremes);
    }
}

static void run_input(const struct task *t) {
    const struct fqt_geometry *g = &t->job.geometry;
    if (t->job.op == FQT_CONV2D) {
        fqt_conv2d_backward_input_u8(g, &t->error, t->e, t->w, t->x, t->dx, NULL);
    } else if (t->job.op == FQT_LINEAR) {
        fqt_linear_backward_input_u8(g->in_c, g->out_c, &t->error, t->e, t->w, t->x, t->dx, NULL);
    } else {
        fqt_depthwise_conv2d_backward_input_u8(g, &t->error, t->e, t->w, t->x, t->dx, NULL);
    }
}

static void run_weight(const struct task *t) {
    const struct fqt_geometry *g = &t->job.geometry;
    int32_t zero = t->job.zero_x;
    int32_t bits = t->job.fraction_bits;
    if (t->job.op == FQT_CONV2D) {
        fqt_conv2d_backward_weight_u8(g, zero, bits, t->e, t->x, t->gradient, t->bias_gradient, NULL);
    } else if (t->job.op == FQT_LINEAR) {
        fqt_linear_backward_weight_u8(g->in_c, g->out_c, zero, bits, t->e, t->x, t->gradient, t->bias_gradient, NULL);
    } else {
        fqt_depthwise_conv2d_backward_weight_u8(g, zero, bits, t->e, t->x, t->gradient, t->bias_gradient, NULL);
    }
}

static void run(const struct task *t) {
    static void (*const passes[])(const struct task *) = {run_forward, run_input, run_weight};
    volatile uint8_t *stack;
    uint32_t used = PAINTED;
    __asm__ volatile("mov %0, sp" : "=r"(stack));
    for (int32_t i = 1; i <= PAINTED; i++) {
        stack[-i] = PAINT;
    }
    uint32_t start = timer_now();
    count_start();
    passes[t->job.pass](t);
    count_stop();
    uint32_t ticks = timer_now() - start;
    while (used > 0 && stack[-(int32_t)used] == PAINT) {
        used--;
    }
    printf("%lu %lu\n", (unsigned long)ticks, (unsigned long)used);
}

static const uint8_t *take(const uint8_t **at, uint32_t bytes) {
    const uint8_t *taken = *at;
    *at += (bytes + 3u) & ~3u;
    return taken;
}

static uint32_t product(int32_t a, int32_t b, int32_t c) {
    return (uint32_t)a * (uint32_t)b * (uint32_t)c;
}

/* Reads a case; the results lie in the memory behind the bundle, each case's over the last one's. */
static struct task next_task(const uint8_t **at, uint8_t *memory) {
    struct task t = {0};
    memcpy(&t.job, take(at, sizeof t.job), sizeof t.job);
    const struct job *job = &t.job;
    const struct fqt_geometry *g = &job->geometry;
    uint32_t grids = (uint32_t)job->grids;
    uint32_t inputs = product(g->in_h, g->in_w, g->in_c);
    uint32_t outputs = product(g->out_h, g->out_w, g->out_c);
    uint32_t fan_in = product(g->kernel_h, g->kernel_w, job->op == FQT_DEPTHWISE_CONV2D ? 1 : g->in_c);
    uint32_t weights = fan_in * (uint32_t)g->out_c;
    const int32_t *zero_w = (const void *)take(at, 4 * grids);
    const int32_t *factors = (const void *)take(at, 4 * grids);
    const int32_t *bias_acc = (const void *)take(at, 4 * (uint32_t)g->out_c);
    t.x = take(at, inputs);
    t.w = take(at, weights);
    t.e = (const void *)take(at, outputs);
    for (uint32_t i = 0; i < grids; i++) {
        requantizers[i] = fqt_requantizer_of(job->m);
        seen[i] = (struct fqt_extremes){INT32_MAX, INT32_MIN};
    }
    t.forward = (struct fqt_forward_quantization){job->zero_x, job->zero_y, job->lower,   job->upper,
                                                  job->grids,  zero_w,      requantizers, bias_acc};
    t.error =
        (struct fqt_error_quantization){job->lowest, job->highest, false, requantizers[0], job->grids, zero_w, factors};
    t.extremes = job->track ? seen : NULL;
    t.y = memory;
    t.dx = (int8_t *)memory;
    t.gradient = (void *)memory;
    t.bias_gradient = t.gradient + weights;
    memset(memory, 0, 4 * (weights + (uint32_t)g->out_c));
    return t;
}

int main(void) {
    const uint8_t *at = (const uint8_t *)FQT_GOLDEN_ADDRESS;
    uint32_t head[3];
    memcpy(head, at, sizeof head);
    if (memcmp(head, "FQK1", 4) != 0) {
        printf("not a bundle\n");
        return 2;
    }
    uint8_t *memory = (uint8_t *)FQT_GOLDEN_ADDRESS + ((head[1] + 7u) & ~7u);
    at += sizeof head;
    timer_start();
    for (uint32_t i = 0; i < head[2]; i++) {
        struct task task = next_task(&at, memory);
        run(&task);
    }
    return 0;
}
