/* SPDX-License-Identifier: Apache-2.0 */
/* A minibatch's sums and its end, which train_step.c has and zeroth_order.c shares. */
#ifndef FQT_MINIBATCH_H
#define FQT_MINIBATCH_H

#include "carve.h"

#include <fqt/train_step.h>

/* What a minibatch adds up of a layer and its output; NULL where there is nothing to. */
struct fqt_layer_sums {
    void *gradient;                /* int32 or float [outputs][fan_in]; new weights during the update */
    void *bias_gradient;           /* int32 or float [outputs]; new biases during the update */
    int32_t *chosen;               /* [outputs]: samples that kept the channel */
    struct fqt_extremes *extremes; /* of the accumulators, one a grid */
    float *largest_error;          /* the R of its output (SPEC.md section 8) */
#if FQT_WITH_WEIGHT_RANGES
    struct fqt_grid_range *ranges; /* moving averages of its weight grids; stay from minibatch to minibatch */
#endif
};

/* Where layer l's sums are. */
struct fqt_layer_sums fqt_sums_of(const struct fqt_trainer *trainer, uint32_t l);

/* Places what every way of training needs: the sums, their table, and the next version. */
void fqt_place_minibatch(struct carve *carve, const struct fqt_model *model, struct fqt_trainer *trainer);

/* Number of weights of a layer that has some. */
uint32_t fqt_layer_weight_count(const struct fqt_model *model, uint32_t l);

/* Output positions of layer l. */
int32_t fqt_layer_positions(const struct fqt_model *model, uint32_t l);

/* Loss and prediction of quantized or real logits; writes the error at them. */
struct fqt_loss fqt_loss_of_logits(const struct fqt_trainer *trainer, uint32_t label, const void *logits, void *error);

/* How a trained quantized layer's sums count when they are errors times inputs. */
fqt_gradient_units_function fqt_error_gradient_units;

/* Whether hyperparameters are in their ranges and training makes sense on this network. */
enum fqt_status fqt_trainer_check(const struct fqt_network *network, const struct fqt_train_config *config);

/* A trainer without its memory. */
void fqt_trainer_clear(struct fqt_trainer *trainer, struct fqt_network *network, const struct fqt_train_config *config);

/* The first minibatch, in memory that is placed. */
void fqt_trainer_begin(struct fqt_trainer *trainer);

/* Whether a sample may be trained on. */
enum fqt_status fqt_sample_check(const struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label);

/* k of a layer's channels for a sample's rate (SPEC.md section 5). */
int32_t fqt_layer_kept_channels(const struct fqt_trainer *trainer, uint32_t l, int32_t rate);

/* Eq. 2 for layer l with the error e at its output and the input x. kept: NULL if e has all channels. */
void fqt_add_gradient(const struct fqt_trainer *trainer, uint32_t l, const void *e, const void *x,
                      const struct fqt_channels *kept);

/* Tells the observer what layer l's gradients are so far. */
void fqt_tell_gradients(const struct fqt_trainer *trainer, uint32_t l);

/* Tells the observer, if there is one. */
void fqt_trainer_tell(const struct fqt_trainer *trainer, enum fqt_event kind, uint32_t index, const void *data,
                      uint64_t bytes);

#endif
