/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "decimal.h"

#include <zephyr/sys/util.h>
#include <zephyr/toolchain.h>

#define Q12_OF_PERCENT(percent) (((percent)*4096 + 50) / 100)

#define DEFINE_MEMORY(name, option)                                                                                    \
    static uint8_t name##_bytes[ROUND_UP(option, 8)] __aligned(8);                                                     \
    const struct settings_memory settings_##name = {name##_bytes, option}

DEFINE_MEMORY(network, CONFIG_FQT_APP_NETWORK_BYTES);
DEFINE_MEMORY(trainer, CONFIG_FQT_APP_TRAINER_BYTES);
DEFINE_MEMORY(inference, CONFIG_FQT_APP_INFERENCE_BYTES);
DEFINE_MEMORY(queue, CONFIG_FQT_APP_QUEUE_BYTES);

const struct fqt_train_config settings_hyperparameters = {
    .batch_size = CONFIG_FQT_APP_BATCH_SIZE,
    .learning_rate = DECIMAL(CONFIG_FQT_APP_LEARNING_RATE_DIGITS, CONFIG_FQT_APP_LEARNING_RATE_EXPONENT),
    .lambda_min = Q12_OF_PERCENT(CONFIG_FQT_APP_LAMBDA_MIN_PERCENT),
    .lambda_max = Q12_OF_PERCENT(CONFIG_FQT_APP_LAMBDA_MAX_PERCENT),
    .seed = CONFIG_FQT_APP_SEED,
    .sparse_last = IS_ENABLED(CONFIG_FQT_APP_SPARSE_LAST),
#ifdef CONFIG_FQT_APP_WEIGHT_RANGE_MOVING_AVERAGE
    .weight_range = FQT_MOVING_AVERAGE,
    .range_rate = DECIMAL(CONFIG_FQT_APP_RANGE_RATE_DIGITS, CONFIG_FQT_APP_RANGE_RATE_EXPONENT),
#endif
#ifdef CONFIG_FQT_APP_WEIGHT_RANGE_LITERAL
    .weight_range = FQT_LITERAL,
#endif
#ifdef CONFIG_FQT_APP_STOCHASTIC_ERRORS_NONE
    .stochastic_errors = FQT_STOCHASTIC_NONE,
#endif
#ifdef CONFIG_FQT_APP_STOCHASTIC_ERRORS_ALL
    .stochastic_errors = FQT_STOCHASTIC_ALL,
#endif
};

#ifdef CONFIG_FQT_APP_ZEROTH_ORDER
const struct fqt_zeroth_config settings_estimates = {
    .queries = CONFIG_FQT_APP_QUERIES,
    .weight_step = CONFIG_FQT_APP_WEIGHT_STEP,
    .bias_step = CONFIG_FQT_APP_BIAS_STEP,
    .node_step = CONFIG_FQT_APP_NODE_STEP,
    .antithetic = IS_ENABLED(CONFIG_FQT_APP_ANTITHETIC),
    .first_node = CONFIG_FQT_APP_FIRST_NODE,
    .exact_last = IS_ENABLED(CONFIG_FQT_APP_EXACT_LAST),
};
#endif
