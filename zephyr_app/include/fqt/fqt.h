/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Fully quantized training: 8-bit networks that infer and train on a microcontroller. SPEC.md defines every bit.
 *
 * Inference needs model_file.h and network.h; training needs train_step.h besides. No heap, no operating system, no
 * libm: memory belongs to the caller, who asks for its size first.
 */
#ifndef FQT_FQT_H
#define FQT_FQT_H

#include <fqt/arithmetic.h>
#include <fqt/config.h>
#include <fqt/kernels.h>
#include <fqt/model_file.h>
#include <fqt/network.h>
#include <fqt/ranges.h>
#include <fqt/sparse_update.h>
#include <fqt/standardized_sgd.h>
#include <fqt/status.h>
#include <fqt/train_step.h>
#include <fqt/zeroth_order.h>

#endif
