/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model file puts feature maps and errors (SPEC.md section 14). */
#ifndef FQT_MEMORY_PLAN_H
#define FQT_MEMORY_PLAN_H

#include <fqt/model_file.h>

/* Whether the plan is complete and two buffers share bytes only where a kernel may write over what it reads. Tensors
 * and layers were checked. */
bool fqt_memory_plan_is_valid(const struct fqt_model *model);

#endif
