/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the memory plan of a model file (SPEC.md section 14). Nothing is stored: lives are found anew for each pair of
 * buffers that overlap. */
#include "memory_plan.h"

enum arena { INFERENCE_FEATURE, TRAINING_FEATURE, TRAINING_ERROR };

/* A buffer and its life, from step `first` to step `last`. */
struct buffer {
    enum arena arena;
    uint32_t t;
    uint64_t offset, end;
    uint32_t first, last;
};

/* ---- Steps ---- */

static uint32_t loss_step(const struct fqt_model *model) {
    return model->header->n_layers;
}

static uint32_t weight_step(const struct fqt_model *model, uint32_t l) {
    uint32_t n = model->header->n_layers;
    return n + 1 + 2 * (n - 1 - l);
}

static uint32_t input_step(const struct fqt_model *model, uint32_t l) {
    return weight_step(model, l) + 1;
}

/* The layer at work in a step; not in that of the loss. */
static uint32_t layer_of_step(const struct fqt_model *model, uint32_t step) {
    uint32_t n = model->header->n_layers;
    return step < n ? step : n - 1 - (step - n - 1) / 2;
}

/* ---- Lives ---- */

static uint32_t later(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static bool is_last_tensor(const struct fqt_model *model, uint32_t t) {
    return t == model->header->n_tensors - 1;
}

/* Whether the way back through layer l looks at its input t. */
static bool is_read_for_errors(const struct fqt_model *model, uint32_t l, uint32_t t) {
    uint8_t op = model->layers[l].op;
    return fqt_tensor_carries_error(model, t) &&
           (fqt_tensor_activation(model, t) != FQT_ACT_NONE || op == FQT_MAX_POOL2D || op == FQT_HARD_SWISH);
}

static uint32_t last_use_in_training(const struct fqt_model *model, uint32_t t) {
    uint32_t last = is_last_tensor(model, t) ? loss_step(model) : 0;
    for (uint32_t l = t; l < model->header->n_layers; l++) {
        if (fqt_layer_reads(model, l, t)) {
            last = later(last, l);
            last = fqt_layer_trains(&model->layers[l]) ? later(last, weight_step(model, l)) : last;
            last = is_read_for_errors(model, l, t) ? later(last, input_step(model, l)) : last;
        }
    }
    return last;
}

/* Whether layer l sends errors on. A layer with one input has tensor 0, which carries none, as its second. */
static bool passes_on(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    return fqt_tensor_carries_error(model, layer->input) || fqt_tensor_carries_error(model, layer->input2);
}

static uint32_t last_use_of_error(const struct fqt_model *model, uint32_t t) {
    /* One of the two, because the error is carried. (Nothing begins in the input step of a layer that sends nothing.)
     */
    return passes_on(model, t - 1) ? input_step(model, t - 1) : weight_step(model, t - 1);
}

static void find_life(const struct fqt_model *model, struct buffer *buffer) {
    uint32_t t = buffer->t;
    uint32_t reader = fqt_tensor_last_reader(model, t); /* n_layers for the last tensor: the step of the loss */
    switch (buffer->arena) {
    case INFERENCE_FEATURE:
        buffer->first = t - 1;
        buffer->last = reader;
        break;
    case TRAINING_FEATURE:
        buffer->first = t - 1;
        buffer->last = last_use_in_training(model, t);
        break;
    default:
        buffer->first = input_step(model, reader); /* of the last tensor that of the loss */
        buffer->last = last_use_of_error(model, t);
    }
}

/* ---- Sharing ---- */

/* Whether the newer buffer may be made where the older one is read for the last time. What these operators read and
 * make in one step is of one size, as are feature and error of one tensor. */
static bool is_in_place(const struct fqt_model *model, const struct buffer *older, const struct buffer *newer) {
    uint32_t step = newer->first;
    if (older->offset != newer->offset || older->last != step || step == loss_step(model)) {
        return false;
    }
    const struct fqt_layer_record *layer = &model->layers[layer_of_step(model, step)];
    if (newer->arena != TRAINING_ERROR) { /* then the older one is a feature, too: errors come behind all of them */
        return layer->op == FQT_ADD || layer->op == FQT_HARD_SWISH;
    }
    if (older->arena == TRAINING_FEATURE) {
        return older->t == newer->t && layer->op != FQT_MAX_POOL2D;
    }
    bool is_sent_last = newer->t == layer->input2 || !fqt_tensor_carries_error(model, layer->input2);
    return (layer->op == FQT_ADD || layer->op == FQT_HARD_SWISH) && is_sent_last;
}

static bool may_coexist(const struct fqt_model *model, const struct buffer *a, struct buffer *b) {
    if (a->end <= b->offset || b->end <= a->offset) {
        return true;
    }
    find_life(model, b);
    bool meet = a->first <= b->last && b->first <= a->last;
    return !meet || is_in_place(model, a, b) || is_in_place(model, b, a);
}

/* ---- All buffers ---- */

static uint32_t offset_of(const struct fqt_tensor_record *tensor, enum arena arena) {
    switch (arena) {
    case INFERENCE_FEATURE:
        return tensor->inference_offset;
    case TRAINING_FEATURE:
        return tensor->feature_offset;
    default:
        return tensor->error_offset;
    }
}

/* False if there is no such buffer. Its life is not found yet. */
static bool find_buffer(const struct fqt_model *model, enum arena arena, uint32_t t, struct buffer *buffer) {
    uint32_t offset = offset_of(&model->tensors[t], arena);
    *buffer = (struct buffer){arena, t, offset, offset + fqt_tensor_bytes(model, t), 0, 0};
    return offset != FQT_NO_OFFSET;
}

/* Whether no later buffer takes bytes of this one while it lives. Those after it: of its tensor and of later ones. */
static bool is_free(const struct fqt_model *model, struct buffer *buffer) {
    find_life(model, buffer);
    struct buffer other;
    for (uint32_t t = buffer->t; t < model->header->n_tensors; t++) {
        for (enum arena arena = INFERENCE_FEATURE; arena <= TRAINING_ERROR; arena++) {
            bool same_arena = (arena == INFERENCE_FEATURE) == (buffer->arena == INFERENCE_FEATURE);
            bool after = t > buffer->t || arena > buffer->arena;
            if (same_arena && after && find_buffer(model, arena, t, &other) && !may_coexist(model, buffer, &other)) {
                return false;
            }
        }
    }
    return true;
}

/* Whether tensor t has the buffers that it must have and no others, each inside its arena. */
static bool is_planned(const struct fqt_model *model, uint32_t t) {
    const struct fqt_model_header *header = model->header;
    bool wanted[] = {t > 0, t > 0 && fqt_model_trains(model), false};
    if (t > 0) { /* the tensors before this one have been checked */
        wanted[TRAINING_ERROR] = fqt_layer_trains(&model->layers[t - 1]) || passes_on(model, t - 1);
    }
    for (enum arena arena = INFERENCE_FEATURE; arena <= TRAINING_ERROR; arena++) {
        uint32_t size = arena == INFERENCE_FEATURE ? header->inference_arena : header->training_arena;
        struct buffer buffer;
        bool exists = find_buffer(model, arena, t, &buffer);
        if (exists != wanted[arena] || (exists && (buffer.offset % 4 != 0 || buffer.end > size))) {
            return false;
        }
    }
    return true;
}

bool fqt_memory_plan_is_valid(const struct fqt_model *model) {
    const struct fqt_model_header *header = model->header;
    if (header->training_arena % 4 != 0 || header->inference_arena % 4 != 0 || header->training_arena > INT32_MAX ||
        header->inference_arena > INT32_MAX || (!fqt_model_trains(model) && header->training_arena != 0)) {
        return false;
    }
    for (uint32_t t = 0; t < header->n_tensors; t++) {
        if (!is_planned(model, t)) {
            return false;
        }
    }
    for (uint32_t t = 1; t < header->n_tensors; t++) {
        for (enum arena arena = INFERENCE_FEATURE; arena <= TRAINING_ERROR; arena++) {
            struct buffer buffer;
            if (find_buffer(model, arena, t, &buffer) && !is_free(model, &buffer)) {
                return false;
            }
        }
    }
    return true;
}
