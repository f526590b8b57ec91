/* SPDX-License-Identifier: Apache-2.0 */
/* Hundreds of training steps: each loss, and the checksum of all state after each update (SPEC.md 11). */
#include "golden_files.h"
#include "golden_suite.h"

#include <zephyr/ztest.h>

#define GOLDEN_TEST(name)                                                                                              \
    extern const uint8_t golden_##name[], golden_##name##_end[];                                                       \
    ZTEST(fqt_trajectory, test_##name) {                                                                               \
        golden_check(#name, golden_##name, golden_##name##_end);                                                       \
    }

GOLDEN_FILES(GOLDEN_TEST)

ZTEST_SUITE(fqt_trajectory, NULL, NULL, NULL, NULL, NULL);
