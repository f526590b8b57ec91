/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What `fqt deploy` chooses for a model: memories and hyperparameters. In a file of their own, so that no other code
 * changes with them: then the application's size is that of any other model plus what differs here (`fqt fit`).
 */
#ifndef FQT_APP_SETTINGS_H
#define FQT_APP_SETTINGS_H

#include <fqt/fqt.h>
#include <stddef.h>
#include <stdint.h>

/** Memory of CONFIG_FQT_APP_..._BYTES, aligned to 8 bytes. */
struct settings_memory {
    uint8_t *bytes;
    size_t size;
};

extern const struct settings_memory settings_network, settings_trainer, settings_inference, settings_queue;

/** Of training. */
extern const struct fqt_train_config settings_hyperparameters;

/** Of training without back-propagation. */
extern const struct fqt_zeroth_config settings_estimates;

#endif
