/* SPDX-License-Identifier: Apache-2.0 */
/** The model file, `.fqt` (SPEC.md section 10): checked once, then read in place, from flash if it lies there. */
#ifndef FQT_MODEL_FILE_H
#define FQT_MODEL_FILE_H

#include <fqt/kernels.h>
#include <fqt/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FQT_FORMAT_VERSION 2u
#define FQT_ARITHMETIC_VERSION 1u
#define FQT_MAX_LAYERS 255u
#define FQT_MAX_CLASSES 1023u
#define FQT_MAX_FAN_IN 24576u    /**< forward sums stay within 32 bits (SPEC.md section 9) */
#define FQT_MAX_FAN_OUT 57344u   /**< error sums stay within 32 bits */
#define FQT_MAX_GRADIENTS 65536u /**< positions * batch size: gradient sums stay within 32 bits */
#define FQT_MAX_PADDING 510u     /**< rows of padding around a tensor, and a step of a dilated window */
#define FQT_NO_OFFSET UINT32_MAX /**< a buffer that does not exist */

enum fqt_type { FQT_U8 = 1, FQT_F32 = 2 };
enum fqt_tensor_flags { FQT_TENSOR_RELU = 1, FQT_TENSOR_ADAPTIVE = 2, FQT_TENSOR_RELU6 = 4 };
enum fqt_op {
    FQT_CONV2D = 1,
    FQT_LINEAR = 2,
    FQT_MAX_POOL2D = 3,
    FQT_DEQUANTIZE = 4,
    FQT_DEPTHWISE_CONV2D = 5,
    FQT_AVG_POOL2D = 6,
    FQT_ADD = 7,
    FQT_HARD_SWISH = 8,
};
enum fqt_layer_flags { FQT_LAYER_RELU = 1, FQT_LAYER_TRAINABLE = 2, FQT_LAYER_RELU6 = 4 };

/** The file's header, byte for byte. */
struct fqt_model_header {
    char magic[4];
    uint32_t format_version;
    uint32_t file_size;
    uint32_t crc;
    uint32_t arithmetic_version;
    uint32_t n_tensors;
    uint32_t n_layers;
    uint32_t tensors_offset;
    uint32_t layers_offset;
    uint32_t training_arena;
    uint32_t inference_arena;
    uint32_t reserved;
    char name[16];
};

/** A tensor in the file, byte for byte. */
struct fqt_tensor_record {
    uint8_t type;
    uint8_t flags;
    uint16_t h, w, c;
    float scale;
    int32_t zero;
    float lo, hi;
    float error_scale;
    uint32_t feature_offset, error_offset; /**< in the training arena */
    uint32_t inference_offset;             /**< in the inference arena */
    uint32_t reserved[2];
};

/** A layer in the file, byte for byte. */
struct fqt_layer_record {
    uint8_t op;
    uint8_t flags;
    uint16_t input, input2, output;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint8_t dilation_h, dilation_w;
    uint8_t pad_top, pad_bottom, pad_left, pad_right;
    uint16_t grids;
    uint32_t grid_offset;
    uint32_t weight_offset, weight_bytes;
    uint32_t bias_offset, bias_bytes;
    uint32_t reserved[5];
};

/** A model file that was checked. Points into the file, which has to stay. */
struct fqt_model {
    const uint8_t *blob;
    const struct fqt_model_header *header;
    const struct fqt_tensor_record *tensors;
    const struct fqt_layer_record *layers;
};

/**
 * Checks a model file completely and opens it. The file is not trusted: nothing outside it is read, and what it
 * describes can be run. blob: aligned to 4 bytes; size: its bytes. Returns the first error in the order of SPEC.md
 * section 10.
 */
enum fqt_status fqt_model_open(struct fqt_model *model, const void *blob, size_t size);

/** CRC-32 (IEEE 802.3) of bytes; crc: that of the bytes before them, 0 at the start. */
uint32_t fqt_crc32(uint32_t crc, const void *data, size_t size);

/** Number of elements of a tensor; below 2^31 once the file has been checked, before that up to 2^48. */
uint64_t fqt_tensor_elements(const struct fqt_tensor_record *tensor);

/** Bytes of tensor t's values, and of an error at it. */
uint64_t fqt_tensor_bytes(const struct fqt_model *model, uint32_t t);

/** What tensor t's values have passed; its errors pass it, too. */
enum fqt_activation fqt_tensor_activation(const struct fqt_model *model, uint32_t t);

/** Whether training sends errors to tensor t (SPEC.md section 7). */
bool fqt_tensor_carries_error(const struct fqt_model *model, uint32_t t);

/** The last layer that reads tensor t; the number of layers if none does. */
uint32_t fqt_tensor_last_reader(const struct fqt_model *model, uint32_t t);

/** Whether layer l reads tensor t. */
bool fqt_layer_reads(const struct fqt_model *model, uint32_t l, uint32_t t);

/** Whether a layer has weights. */
bool fqt_layer_has_weights(const struct fqt_layer_record *layer);

/** Whether a layer is trained. */
bool fqt_layer_trains(const struct fqt_layer_record *layer);

/** Products in one sum of layer l: kernel_h * kernel_w * in_c; of a linear layer its flattened input,
 * of a depthwise convolution one channel's kernel. */
uint32_t fqt_layer_fan_in(const struct fqt_model *model, uint32_t l);

/** Products in one sum of an error that layer l sends to its input: kernel_h * kernel_w * out_c;
 * of a depthwise convolution one channel's kernel. */
uint32_t fqt_layer_fan_out(const struct fqt_model *model, uint32_t l);

/** Output channels of layer l. */
uint32_t fqt_layer_outputs(const struct fqt_model *model, uint32_t l);

/** Type of layer l's output, and of its weights if it has any. */
enum fqt_type fqt_layer_type(const struct fqt_model *model, uint32_t l);

/** Shape of layer l's work; linear layers are flattened. */
struct fqt_geometry fqt_layer_geometry(const struct fqt_model *model, uint32_t l);

/** Whether some layer is trained. */
bool fqt_model_trains(const struct fqt_model *model);

/** Classes: elements of the last tensor. */
uint32_t fqt_model_classes(const struct fqt_model *model);

#ifdef __cplusplus
}
#endif

#endif
