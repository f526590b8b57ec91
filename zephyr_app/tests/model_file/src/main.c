/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile model files and the error that each must get (SPEC.md 10). */
#include "golden_files.h"
#include "golden_suite.h"

#include <zephyr/ztest.h>

#define GOLDEN_TEST(name)                                                                                              \
    extern const uint8_t golden_##name[], golden_##name##_end[];                                                       \
    ZTEST(fqt_model_file, test_##name) {                                                                               \
        golden_check(#name, golden_##name, golden_##name##_end);                                                       \
    }

GOLDEN_FILES(GOLDEN_TEST)

ZTEST_SUITE(fqt_model_file, NULL, NULL, NULL, NULL, NULL);
