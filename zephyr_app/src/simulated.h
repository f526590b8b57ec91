/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Time on native_sim, where it stands still while code runs: who never sleeps would be alone for ever. Work takes about
 * as long as on a Cortex-M there, so that periods end, threads change and signals are seen. Nothing on other machines.
 */
#ifndef FQT_APP_SIMULATED_H
#define FQT_APP_SIMULATED_H

#include <zephyr/kernel.h>

#define SIMULATED_STEP_US 1000
#define SIMULATED_INFERENCE_US 100

static inline void simulate_work(uint32_t microseconds) {
    if (IS_ENABLED(CONFIG_ARCH_POSIX)) {
        k_busy_wait(microseconds);
    }
}

#endif
