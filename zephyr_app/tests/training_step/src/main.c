/* SPDX-License-Identifier: Apache-2.0 */
/* Whole training steps with every tensor on the way (SPEC.md 7). */
#include "golden_files.h"
#include "golden_suite.h"

#include <zephyr/ztest.h>

#define GOLDEN_TEST(name)                                                                                              \
    extern const uint8_t golden_##name[], golden_##name##_end[];                                                       \
    ZTEST(fqt_training_step, test_##name) {                                                                            \
        golden_check(#name, golden_##name, golden_##name##_end);                                                       \
    }

GOLDEN_FILES(GOLDEN_TEST)

ZTEST_SUITE(fqt_training_step, NULL, NULL, NULL, NULL, NULL);
