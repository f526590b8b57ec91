/* SPDX-License-Identifier: Apache-2.0 */
/* Every operator, the update rule and the arithmetic, bit for bit (SPEC.md 2 to 8). */
#include "golden_files.h"
#include "golden_suite.h"

#include <zephyr/ztest.h>

#define GOLDEN_TEST(name)                                                                                              \
    extern const uint8_t golden_##name[], golden_##name##_end[];                                                       \
    ZTEST(fqt_operators, test_##name) {                                                                                \
        golden_check(#name, golden_##name, golden_##name##_end);                                                       \
    }

GOLDEN_FILES(GOLDEN_TEST)

ZTEST_SUITE(fqt_operators, NULL, NULL, NULL, NULL, NULL);
