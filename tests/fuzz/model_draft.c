/* SPDX-License-Identifier: Apache-2.0 */
#include "model_draft.h"

#include <fqt/fqt.h>
#include <stdbool.h>
#include <string.h>

#define MOST_LAYERS 6u
#define MOST_ELEMENTS (1u << 22)

/* ---- Choices ---- */

struct dice {
    uint32_t key, n;
};

static uint32_t roll(struct dice *dice, uint32_t sides) {
    return fqt_random_word(dice->key, dice->n++) % sides;
}

/* A number of 1..most, often small, often at an end of something. */
static uint32_t extent(struct dice *dice, uint32_t most) {
    static const uint32_t often[] = {1,  1,  1,  2,  2,  3,   3,   4,   5,   7,    8,    9,
                                     12, 16, 17, 33, 64, 128, 255, 256, 300, 1024, 4096, 65535};
    uint32_t found = often[roll(dice, sizeof often / sizeof often[0])];
    return found <= most ? found : 1 + roll(dice, most < 9 ? most : 9);
}

static float scale(struct dice *dice) {
    static const float often[] = {1.0f, 0.05f, 0.01f, 0.004f, 1e-6f, 1e6f, 1e-20f, 1e20f, 1.17549435e-38f, 3.4e38f};
    return often[roll(dice, 3) > 0 ? roll(dice, 4) : roll(dice, 10)];
}

static int32_t zero_point(struct dice *dice) {
    static const int32_t often[] = {0, 255, 128, 3};
    return roll(dice, 2) != 0 ? often[roll(dice, 4)] : (int32_t)roll(dice, 256);
}

/* ---- A network ---- */

struct draft {
    struct dice dice;
    struct fqt_model_header header;
    struct fqt_tensor_record tensors[MOST_LAYERS + 1];
    struct fqt_layer_record layers[MOST_LAYERS];
    bool carries[MOST_LAYERS + 1];
    uint32_t n; /* layers */
};

static uint32_t elements_of(const struct fqt_tensor_record *t) {
    return (uint32_t)t->h * t->w * t->c; /* of drafts: at most MOST_ELEMENTS */
}

static uint32_t bytes_of(const struct fqt_tensor_record *t) {
    return elements_of(t) * (t->type == FQT_F32 ? 4u : 1u);
}

static void draw_input(struct draft *d) {
    struct fqt_tensor_record *t = &d->tensors[0];
    do {
        t->h = (uint16_t)extent(&d->dice, 65535);
        t->w = (uint16_t)extent(&d->dice, 65535);
        t->c = (uint16_t)extent(&d->dice, 65535);
    } while ((uint64_t)t->h * t->w * t->c > MOST_ELEMENTS);
    t->type = FQT_U8;
}

/* Kernel, stride, dilation and padding along one axis; returns the outputs, 0 if they do not fit. */
static uint32_t draw_window(struct draft *d, uint32_t in, bool pools, uint16_t *kernel, uint16_t *stride,
                            uint8_t *dilation, uint8_t *before, uint8_t *after) {
    *kernel = (uint16_t)extent(&d->dice, pools && in <= 255 ? in : 255);
    *stride = (uint16_t)extent(&d->dice, 255);
    *dilation = (uint8_t)(pools ? 1 : extent(&d->dice, 255));
    uint32_t span = (uint32_t)*dilation * (*kernel - 1u) + 1;
    uint32_t most = span - 1 < 255 ? span - 1 : 255;
    if (!pools && roll(&d->dice, 2) != 0) {
        *before = (uint8_t)roll(&d->dice, most + 1);
        *after = (uint8_t)(roll(&d->dice, 2) != 0 ? most : roll(&d->dice, most + 1));
    }
    uint32_t padded = in + *before + *after;
    return padded < span ? 0 : (padded - span) / *stride + 1;
}

static void no_window(struct fqt_layer_record *l) {
    l->kernel_h = l->kernel_w = l->stride_h = l->stride_w = 1;
    l->dilation_h = l->dilation_w = 1;
    l->pad_top = l->pad_bottom = l->pad_left = l->pad_right = 0;
}

/* The shape of layer l's output; false if there is none that is small. */
static bool draw_shape(struct draft *d, struct fqt_layer_record *l, const struct fqt_tensor_record *x,
                       struct fqt_tensor_record *y) {
    bool windowed =
        l->op == FQT_CONV2D || l->op == FQT_DEPTHWISE_CONV2D || l->op == FQT_MAX_POOL2D || l->op == FQT_AVG_POOL2D;
    bool pools = l->op == FQT_MAX_POOL2D || l->op == FQT_AVG_POOL2D;
    uint32_t h = x->h;
    uint32_t w = x->w;
    no_window(l);
    if (windowed) {
        h = draw_window(d, h, pools, &l->kernel_h, &l->stride_h, &l->dilation_h, &l->pad_top, &l->pad_bottom);
        w = draw_window(d, w, pools, &l->kernel_w, &l->stride_w, &l->dilation_w, &l->pad_left, &l->pad_right);
    } else if (l->op == FQT_LINEAR) {
        h = w = 1;
    }
    uint32_t c = l->op == FQT_CONV2D || l->op == FQT_LINEAR ? extent(&d->dice, 1023) : x->c;
    if (h == 0 || w == 0 || h > 65535 || w > 65535 || (uint64_t)h * w * c > MOST_ELEMENTS) {
        return false;
    }
    y->h = (uint16_t)h;
    y->w = (uint16_t)w;
    y->c = (uint16_t)c;
    return true;
}

static uint32_t fan_in_of(const struct fqt_layer_record *l, const struct fqt_tensor_record *x) {
    uint32_t taps = (uint32_t)l->kernel_h * l->kernel_w;
    return l->op == FQT_LINEAR ? elements_of(x) : l->op == FQT_DEPTHWISE_CONV2D ? taps : taps * x->c;
}

static bool has_weights(const struct fqt_layer_record *l) {
    return l->op == FQT_CONV2D || l->op == FQT_LINEAR || l->op == FQT_DEPTHWISE_CONV2D;
}

/* Appends a layer of an operator that reads the last tensor; false if it does not fit. */
static bool append(struct draft *d, uint8_t op, size_t capacity) {
    struct fqt_layer_record l = {.op = op, .input = (uint16_t)d->n, .output = (uint16_t)(d->n + 1)};
    struct fqt_tensor_record *x = &d->tensors[d->n];
    struct fqt_tensor_record y = {.type = op == FQT_DEQUANTIZE ? FQT_F32 : x->type};
    bool adds = op == FQT_ADD;
    if ((adds && (d->n == 0 || d->layers[d->n - 1].op != FQT_HARD_SWISH)) ||
        (op == FQT_DEQUANTIZE && x->type != FQT_U8) || !draw_shape(d, &l, x, &y)) {
        return false;
    }
    if (adds) { /* of a hard-swish and its input */
        uint16_t before = d->layers[d->n - 1].input;
        l.input2 = before;
        if (roll(&d->dice, 2) != 0) {
            l.input2 = l.input;
            l.input = before;
        }
        if (l.input == l.input2) {
            return false;
        }
    }
    uint8_t activation = (uint8_t[]){0, FQT_LAYER_RELU, FQT_LAYER_RELU | FQT_LAYER_RELU6}[roll(&d->dice, 3)];
    if (has_weights(&l)) {
        uint64_t fan_out = (uint64_t)l.kernel_h * l.kernel_w * (op == FQT_DEPTHWISE_CONV2D ? 1u : y.c);
        uint64_t item = y.type == FQT_F32 ? 4 : 1;
        if (fan_in_of(&l, x) > FQT_MAX_FAN_IN || fan_out > FQT_MAX_FAN_OUT ||
            fan_in_of(&l, x) * item * y.c > capacity / 8) {
            return false;
        }
        l.weight_bytes = (uint32_t)(fan_in_of(&l, x) * item * y.c);
        l.bias_bytes = 4u * y.c;
        l.grids = y.type == FQT_F32 ? 0 : roll(&d->dice, 2) != 0 ? y.c : 1;
        l.flags = activation | (roll(&d->dice, 3) != 0 ? FQT_LAYER_TRAINABLE : 0);
        y.flags = activation;
    } else if (adds) {
        l.flags = y.flags = activation;
    } else if (op == FQT_MAX_POOL2D || op == FQT_DEQUANTIZE) {
        y.flags = x->flags & (FQT_TENSOR_RELU | FQT_TENSOR_RELU6);
    }
    d->layers[d->n] = l;
    d->n++;
    d->tensors[d->n] = y;
    d->carries[d->n] = (l.flags & FQT_LAYER_TRAINABLE) != 0 || d->carries[l.input] || d->carries[l.input2];
    return true;
}

/* To one position with at most as many channels as there may be classes. */
static bool end(struct draft *d, size_t capacity) {
    const struct fqt_tensor_record *t = &d->tensors[d->n];
    return (t->h == 1 && t->w == 1 && t->c <= FQT_MAX_CLASSES && d->n > 0) || append(d, FQT_LINEAR, capacity);
}

/* Values of tensors, which only sometimes make sense. */
static void draw_values(struct draft *d) {
    for (uint32_t i = 0; i <= d->n; i++) {
        struct fqt_tensor_record *t = &d->tensors[i];
        t->scale = 1.0f;
        if (t->type == FQT_F32) {
            continue;
        }
        t->scale = scale(&d->dice);
        t->zero = zero_point(&d->dice);
        t->lo = -scale(&d->dice);
        t->hi = scale(&d->dice);
        bool is_output = i > 0 && d->carries[i] && d->layers[i - 1].op != FQT_MAX_POOL2D;
        t->flags |= is_output && roll(&d->dice, 2) != 0 ? FQT_TENSOR_ADAPTIVE : 0;
        t->error_scale = i < d->n && roll(&d->dice, 2) != 0 ? scale(&d->dice) : 0.0f;
    }
}

/* Every buffer in a place of its own. */
static void plan(struct draft *d) {
    bool trains = false;
    for (uint32_t i = 0; i < d->n; i++) {
        trains = trains || (d->layers[i].flags & FQT_LAYER_TRAINABLE) != 0;
    }
    for (uint32_t i = 0; i <= d->n; i++) {
        struct fqt_tensor_record *t = &d->tensors[i];
        uint32_t room = (bytes_of(t) + 3) / 4 * 4;
        t->feature_offset = t->error_offset = t->inference_offset = FQT_NO_OFFSET;
        if (i > 0) {
            t->inference_offset = d->header.inference_arena;
            d->header.inference_arena += room;
        }
        if (i > 0 && trains) {
            t->feature_offset = d->header.training_arena;
            d->header.training_arena += room;
        }
        if (d->carries[i]) {
            t->error_offset = d->header.training_arena;
            d->header.training_arena += room;
        }
    }
}

/* ---- The file ---- */

static void put_weights(struct draft *d, const struct fqt_layer_record *l, uint8_t *file) {
    uint32_t words = (l->weight_bytes + 3) / 4;
    bool is_float = l->grids == 0;
    uint32_t kind = roll(&d->dice, 4);
    for (uint32_t i = 0; i < words; i++) {
        uint32_t word = kind == 0 ? 0 : kind == 1 ? 0xFFFFFFFFu : fqt_random_word(d->dice.key + 1, i);
        float real = ((float)(word & 1023u) - 512.0f) * (kind == 3 ? 1e34f : 0.001f);
        memcpy(file + l->weight_offset + 4 * i, is_float ? (const void *)&real : (const void *)&word, 4);
    }
    for (uint32_t i = 0; i < l->bias_bytes / 4; i++) {
        int32_t bias = (int32_t[]){0, 1000, (1 << 30) - 1, 1 - (1 << 30), -70000}[roll(&d->dice, 5)];
        float real = (float)bias; /* never -0 */
        memcpy(file + l->bias_offset + 4 * i, is_float ? (const void *)&real : (const void *)&bias, 4);
    }
    for (uint32_t i = 0; i < l->grids; i++) {
        float grid = scale(&d->dice);
        int32_t zero = zero_point(&d->dice);
        memcpy(file + l->grid_offset + 4 * i, &grid, 4);
        memcpy(file + l->grid_offset + 4 * (l->grids + i), &zero, 4);
    }
}

/* Returns the file's size; 0 if it is too large. */
static size_t put(struct draft *d, uint8_t *file, size_t capacity) {
    uint32_t at = sizeof d->header;
    d->header.tensors_offset = at;
    at += (d->n + 1) * (uint32_t)sizeof d->tensors[0];
    d->header.layers_offset = at;
    at += d->n * (uint32_t)sizeof d->layers[0];
    for (uint32_t i = 0; i < d->n; i++) {
        struct fqt_layer_record *l = &d->layers[i];
        if (has_weights(l)) {
            l->weight_offset = at;
            l->bias_offset = at + (l->weight_bytes + 3) / 4 * 4;
            at = l->bias_offset + l->bias_bytes;
            l->grid_offset = l->grids > 0 ? at : 0;
            at += 8u * l->grids;
        }
    }
    if (at > capacity) {
        return 0;
    }
    memset(file, 0, at);
    for (uint32_t i = 0; i < d->n; i++) {
        if (has_weights(&d->layers[i])) {
            put_weights(d, &d->layers[i], file);
        }
    }
    d->header.n_tensors = d->n + 1;
    d->header.n_layers = d->n;
    memcpy(d->header.magic, "FQT1", 4);
    d->header.format_version = FQT_FORMAT_VERSION;
    d->header.arithmetic_version = FQT_ARITHMETIC_VERSION;
    memcpy(file, &d->header, sizeof d->header);
    memcpy(file + d->header.tensors_offset, d->tensors, (d->n + 1) * sizeof d->tensors[0]);
    memcpy(file + d->header.layers_offset, d->layers, d->n * sizeof d->layers[0]);
    return at;
}

size_t draft_model(uint8_t *file, size_t capacity, uint32_t seed) {
    for (uint32_t attempt = 0; attempt < 100; attempt++) {
        struct draft d = {.dice = {fqt_random_key(seed, attempt, 0), 0}};
        draw_input(&d);
        uint32_t layers = roll(&d.dice, MOST_LAYERS);
        for (uint32_t i = 0; i < 3 * layers && d.n < layers; i++) {
            (void)append(&d, (uint8_t)(1 + roll(&d.dice, FQT_HARD_SWISH)), capacity);
        }
        if (end(&d, capacity)) {
            draw_values(&d);
            plan(&d);
            size_t size = put(&d, file, capacity);
            if (size > 0) {
                return size;
            }
        }
    }
    return 0;
}

void draft_seal(uint8_t *file, size_t size) {
    if (size >= sizeof(struct fqt_model_header)) {
        uint32_t words[2] = {(uint32_t)size, fqt_crc32(0, file + 16, size - 16)};
        memcpy(file + 8, words, sizeof words);
    }
}

void draft_change_fields(uint8_t *file, size_t size, uint32_t seed) {
    static const uint32_t often[] = {0,           1,           2,           4,           255,         256,        65535,
                                     0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu, 0xFFFFFFFCu, 0x7F800000u, 0x00800000u};
    struct dice dice = {fqt_random_key(seed, 0, 1), 0};
    if (size < 64) {
        return;
    }
    for (uint32_t n = 1 + roll(&dice, 4); n > 0; n--) {
        uint32_t bytes = 1u << roll(&dice, 3);
        uint32_t most = size < 1024 ? (uint32_t)size : 1024; /* header and tables lie there */
        uint32_t at = 16 + roll(&dice, most - 16 - bytes + 1) / bytes * bytes;
        uint32_t value = often[roll(&dice, sizeof often / sizeof often[0])];
        uint32_t kind = roll(&dice, 4);
        if (kind == 0) { /* a neighbour */
            memcpy(&value, file + at, bytes);
            value += roll(&dice, 2) != 0 ? 1u : 0xFFFFFFFFu;
        } else if (kind == 1) { /* what stands elsewhere */
            memcpy(&value, file + 16 + roll(&dice, most - 16 - bytes + 1) / bytes * bytes, bytes);
        }
        memcpy(file + at, &value, bytes);
    }
}
