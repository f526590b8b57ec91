/* SPDX-License-Identifier: Apache-2.0 */
/** What can go wrong (SPEC.md section 10). */
#ifndef FQT_STATUS_H
#define FQT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/** Every function that can fail returns one of these. */
enum fqt_status {
    FQT_OK = 0,
    FQT_ERROR_ARGUMENT = -1,       /**< null or misaligned pointer, or a hyperparameter out of its range */
    FQT_ERROR_SIZE = -2,           /**< a model file of the wrong length */
    FQT_ERROR_MAGIC = -3,          /**< not a model file */
    FQT_ERROR_VERSION = -4,        /**< a model file of another format or arithmetic */
    FQT_ERROR_CHECKSUM = -5,       /**< a damaged model file */
    FQT_ERROR_FORMAT = -6,         /**< a field out of its range, or fields that contradict each other */
    FQT_ERROR_BOUND = -7,          /**< a sum could overflow (SPEC.md section 9) */
    FQT_ERROR_MEMORY = -8,         /**< less memory given than the size function asked for */
    FQT_ERROR_LABEL = -9,          /**< no such class */
    FQT_ERROR_NOT_TRAINABLE = -10, /**< training asked of a model without a trainable layer */
    FQT_ERROR_UNSUPPORTED = -11,   /**< a model that needs an operator that was left out of the build (fqt/config.h) */
};

#ifdef __cplusplus
}
#endif

#endif
