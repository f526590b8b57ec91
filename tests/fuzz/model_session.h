/* SPDX-License-Identifier: Apache-2.0 */
/** A network of whatever model file, its memory of exactly the sizes asked for, and choices that follow from a seed. */
#ifndef MODEL_SESSION_H
#define MODEL_SESSION_H

#include <fqt/fqt.h>

#ifndef MOST_MEMORY
#define MOST_MEMORY (32u << 20) /* bytes */
#endif
#ifndef MOST_WORK
#define MOST_WORK (1u << 20) /* products of a forward pass, about */
#endif

struct session {
    struct fqt_network network;
    void *memory;
    size_t memory_size;
    void *arena;
    size_t arena_size;
    uint8_t *sample;
    uint32_t classes;
    uint32_t seed; /* of all choices */
};

/** Whether a network takes less than the caps, so that running it is quick. */
bool model_is_small(const struct fqt_model *model);

/** Memory of exactly that size, so that a byte beyond it is seen; never NULL. */
void *room(size_t size);

/** A network that reads its parameters from the file. */
void session_begin(struct session *s, const struct fqt_model *model, uint32_t seed);

/** The same network from its start, to be trained. */
void session_train_mode(struct session *s);

/** Gives the memory back. */
void session_end(struct session *s);

/** Infers; returns the checksum of the logits. */
uint32_t session_infer(struct session *s);

/** Hyperparameters. */
struct fqt_train_config session_config(const struct session *s, uint32_t round);

#endif
