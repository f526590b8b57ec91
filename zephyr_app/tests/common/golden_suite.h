/* SPDX-License-Identifier: Apache-2.0 */
/* Golden files in flash as ztest cases. */
#ifndef FQT_GOLDEN_SUITE_H
#define FQT_GOLDEN_SUITE_H

#include <stdint.h>

/** Replays a golden file; fails with the first value that differs. Cases that need more work memory than there is are
 * counted. */
void golden_check(const char *name, const uint8_t *image, const uint8_t *end);

#endif
