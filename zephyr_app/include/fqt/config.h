/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What is built: FQT_WITH_... is 1 or 0. Under Zephyr Kconfig decides (lib/fqt/Kconfig), elsewhere it is everything but
 * the options of SPEC.md section 16, which the compiler's command line asks for.
 *
 * What is off is not referred to, so that the linker leaves it out; models that need it are refused.
 */
#ifndef FQT_CONFIG_H
#define FQT_CONFIG_H

#ifndef CONFIG_FQT
#define FQT_WITH_CONV2D 1
#define FQT_WITH_LINEAR 1
#define FQT_WITH_MAX_POOL2D 1
#define FQT_WITH_DEQUANTIZE 1
#define FQT_WITH_DEPTHWISE_CONV2D 1
#define FQT_WITH_AVG_POOL2D 1
#define FQT_WITH_ADD 1
#define FQT_WITH_HARD_SWISH 1
#define FQT_WITH_FLOAT32 1 /**< float32 layers */
#ifndef FQT_WITH_WEIGHT_RANGES
#define FQT_WITH_WEIGHT_RANGES 0 /**< weight grids that follow otherwise than by hysteresis (SPEC.md 16.1) */
#endif
#ifndef FQT_WITH_STOCHASTIC_ERRORS
#define FQT_WITH_STOCHASTIC_ERRORS 0 /**< errors that are rounded stochastically (SPEC.md 16.2) */
#endif
#else
#ifdef CONFIG_FQT_OP_CONV2D
#define FQT_WITH_CONV2D 1
#else
#define FQT_WITH_CONV2D 0
#endif
#ifdef CONFIG_FQT_OP_LINEAR
#define FQT_WITH_LINEAR 1
#else
#define FQT_WITH_LINEAR 0
#endif
#ifdef CONFIG_FQT_OP_MAX_POOL2D
#define FQT_WITH_MAX_POOL2D 1
#else
#define FQT_WITH_MAX_POOL2D 0
#endif
#ifdef CONFIG_FQT_OP_DEQUANTIZE
#define FQT_WITH_DEQUANTIZE 1
#else
#define FQT_WITH_DEQUANTIZE 0
#endif
#ifdef CONFIG_FQT_OP_DEPTHWISE_CONV2D
#define FQT_WITH_DEPTHWISE_CONV2D 1
#else
#define FQT_WITH_DEPTHWISE_CONV2D 0
#endif
#ifdef CONFIG_FQT_OP_AVG_POOL2D
#define FQT_WITH_AVG_POOL2D 1
#else
#define FQT_WITH_AVG_POOL2D 0
#endif
#ifdef CONFIG_FQT_OP_ADD
#define FQT_WITH_ADD 1
#else
#define FQT_WITH_ADD 0
#endif
#ifdef CONFIG_FQT_OP_HARD_SWISH
#define FQT_WITH_HARD_SWISH 1
#else
#define FQT_WITH_HARD_SWISH 0
#endif
#ifdef CONFIG_FQT_FLOAT32
#define FQT_WITH_FLOAT32 1
#else
#define FQT_WITH_FLOAT32 0
#endif
#ifdef CONFIG_FQT_WEIGHT_RANGES
#define FQT_WITH_WEIGHT_RANGES 1
#else
#define FQT_WITH_WEIGHT_RANGES 0
#endif
#ifdef CONFIG_FQT_STOCHASTIC_ERRORS
#define FQT_WITH_STOCHASTIC_ERRORS 1
#else
#define FQT_WITH_STOCHASTIC_ERRORS 0
#endif
#endif

#endif
