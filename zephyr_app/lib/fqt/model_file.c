/* SPDX-License-Identifier: Apache-2.0 */
/* The model file (SPEC.md section 10). Files are not trusted: fqt_model_open() is the border. */
#include "memory_plan.h"

#include <fqt/config.h>
#include <fqt/model_file.h>

#include <string.h>

_Static_assert(sizeof(struct fqt_model_header) == 64, "the header is read in place");
_Static_assert(sizeof(struct fqt_tensor_record) == 48, "tensors are read in place");
_Static_assert(sizeof(struct fqt_layer_record) == 64, "layers are read in place");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little endian");

#define CRC_START 16 /* the checksum covers the file from here */
#define BIAS_LIMIT (1 << 30)
#define ACTIVATION (FQT_TENSOR_RELU | FQT_TENSOR_RELU6) /* the same flags at layers */

/* ---- Questions about a model ---- */

uint64_t fqt_tensor_elements(const struct fqt_tensor_record *tensor) {
    return (uint64_t)tensor->h * tensor->w * tensor->c;
}

uint64_t fqt_tensor_bytes(const struct fqt_model *model, uint32_t t) {
    const struct fqt_tensor_record *tensor = &model->tensors[t];
    return fqt_tensor_elements(tensor) * (tensor->type == FQT_F32 ? 4u : 1u);
}

/* The flags of a tensor and of the layer that makes it are the same. */
static enum fqt_activation activation_of(uint8_t flags) {
    if ((flags & FQT_TENSOR_RELU6) != 0) {
        return FQT_ACT_RELU6;
    }
    return (flags & FQT_TENSOR_RELU) != 0 ? FQT_ACT_RELU : FQT_ACT_NONE;
}

enum fqt_activation fqt_tensor_activation(const struct fqt_model *model, uint32_t t) {
    return activation_of(model->tensors[t].flags);
}

bool fqt_tensor_carries_error(const struct fqt_model *model, uint32_t t) {
    return model->tensors[t].error_offset != FQT_NO_OFFSET; /* checked when the file was opened */
}

bool fqt_layer_reads(const struct fqt_model *model, uint32_t l, uint32_t t) {
    const struct fqt_layer_record *layer = &model->layers[l];
    return layer->input == t || (layer->op == FQT_ADD && layer->input2 == t);
}

uint32_t fqt_tensor_last_reader(const struct fqt_model *model, uint32_t t) {
    uint32_t n = model->header->n_layers;
    for (uint32_t l = n; l-- > t;) { /* a layer reads only what was made before */
        if (fqt_layer_reads(model, l, t)) {
            return l;
        }
    }
    return n;
}

bool fqt_layer_has_weights(const struct fqt_layer_record *layer) {
    return layer->op == FQT_CONV2D || layer->op == FQT_LINEAR || layer->op == FQT_DEPTHWISE_CONV2D;
}

bool fqt_layer_trains(const struct fqt_layer_record *layer) {
    return (layer->flags & FQT_LAYER_TRAINABLE) != 0;
}

/* Before the bounds are checked it may be large. */
static uint64_t wide_fan_in(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    const struct fqt_tensor_record *x = &model->tensors[layer->input];
    uint64_t taps = (uint64_t)layer->kernel_h * layer->kernel_w;
    if (layer->op == FQT_LINEAR) {
        return fqt_tensor_elements(x);
    }
    return layer->op == FQT_DEPTHWISE_CONV2D ? taps : taps * x->c;
}

uint32_t fqt_layer_fan_in(const struct fqt_model *model, uint32_t l) {
    return (uint32_t)wide_fan_in(model, l);
}

/* Before the bounds are checked it may be large. */
static uint64_t wide_fan_out(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    uint64_t channels = layer->op == FQT_DEPTHWISE_CONV2D ? 1 : fqt_layer_outputs(model, l);
    return (uint64_t)layer->kernel_h * layer->kernel_w * channels;
}

uint32_t fqt_layer_fan_out(const struct fqt_model *model, uint32_t l) {
    return (uint32_t)wide_fan_out(model, l);
}

uint32_t fqt_layer_outputs(const struct fqt_model *model, uint32_t l) {
    return model->tensors[l + 1].c;
}

enum fqt_type fqt_layer_type(const struct fqt_model *model, uint32_t l) {
    return (enum fqt_type)model->tensors[l + 1].type;
}

struct fqt_geometry fqt_layer_geometry(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    const struct fqt_tensor_record *x = &model->tensors[layer->input];
    const struct fqt_tensor_record *y = &model->tensors[l + 1];
    if (layer->op == FQT_LINEAR) {
        int32_t fan_in = (int32_t)fqt_layer_fan_in(model, l);
        return (struct fqt_geometry){1, 1, fan_in, 1, 1, y->c, 1, 1, 1, 1, 0, 0, 1, 1};
    }
    return (struct fqt_geometry){
        x->h,
        x->w,
        x->c,
        y->h,
        y->w,
        y->c,
        layer->kernel_h,
        layer->kernel_w,
        layer->stride_h,
        layer->stride_w,
        layer->pad_top,
        layer->pad_left,
        layer->dilation_h,
        layer->dilation_w,
    };
}

bool fqt_model_trains(const struct fqt_model *model) {
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        if (fqt_layer_trains(&model->layers[l])) {
            return true;
        }
    }
    return false;
}

uint32_t fqt_model_classes(const struct fqt_model *model) {
    return (uint32_t)fqt_tensor_elements(&model->tensors[model->header->n_tensors - 1]);
}

uint32_t fqt_crc32(uint32_t crc, const void *data, size_t size) {
    /* Four bits at a time: 64 bytes of table instead of 1024. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *bytes = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

/* ---- Checks: fields ---- */

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static bool is_finite(float x) {
    return ((bits_of(x) >> 23) & 255u) != 255u;
}

/* Positive, normal and finite. */
static bool is_scale(float x) {
    uint32_t exponent = bits_of(x) >> 23; /* sign included */
    return exponent >= 1 && exponent <= 254;
}

static bool is_zero_point(int32_t zero) {
    return zero >= 0 && zero <= 255;
}

static bool all_zero(const uint32_t *words, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (words[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Printable ASCII, then zeros. */
static bool is_name(const char *name, size_t n) {
    size_t length = 0;
    while (length < n && name[length] >= ' ' && name[length] <= '~') {
        length++;
    }
    for (size_t i = length; i < n; i++) {
        if (name[i] != 0) {
            return false;
        }
    }
    return true;
}

/* A table or array at offset, aligned, behind the header and inside the file. */
static bool is_inside(const struct fqt_model_header *header, uint32_t offset, uint64_t bytes) {
    return offset % 4 == 0 && offset >= sizeof *header && offset <= header->file_size &&
           bytes <= header->file_size - offset;
}

static bool header_is_valid(const struct fqt_model_header *header) {
    return header->n_layers >= 1 && header->n_layers <= FQT_MAX_LAYERS && header->n_tensors == header->n_layers + 1 &&
           header->reserved == 0 && is_name(header->name, sizeof header->name) &&
           is_inside(header, header->tensors_offset, (uint64_t)header->n_tensors * sizeof(struct fqt_tensor_record)) &&
           is_inside(header, header->layers_offset, (uint64_t)header->n_layers * sizeof(struct fqt_layer_record));
}

static bool tensor_is_valid(const struct fqt_tensor_record *t) {
    if (t->h == 0 || t->w == 0 || t->c == 0 || (t->flags & ACTIVATION) == FQT_TENSOR_RELU6 ||
        !all_zero(t->reserved, 2)) {
        return false;
    }
    if (t->type == FQT_F32) {
        return (t->flags & ~ACTIVATION) == 0 && t->scale == 1.0f && t->zero == 0 && t->lo == 0.0f && t->hi == 0.0f &&
               t->error_scale == 0.0f;
    }
    /* Its type is u8, as the input's; any other would differ from its layer's input. */
    return (t->flags & ~(ACTIVATION | FQT_TENSOR_ADAPTIVE)) == 0 && is_scale(t->scale) && is_zero_point(t->zero) &&
           is_finite(t->lo) && is_finite(t->hi) && t->lo <= 0.0f && t->hi >= 0.0f &&
           (t->error_scale == 0.0f || is_scale(t->error_scale));
}

/* ---- Checks: layers ---- */

/* Neither weights nor flags but those allowed. */
static bool has_no_parameters(const struct fqt_layer_record *layer, uint8_t allowed_flags) {
    return (layer->flags & ~allowed_flags) == 0 && layer->weight_offset == 0 && layer->weight_bytes == 0 &&
           layer->bias_offset == 0 && layer->bias_bytes == 0 && layer->grids == 0 && layer->grid_offset == 0;
}

static bool has_no_padding(const struct fqt_layer_record *layer) {
    return layer->pad_top == 0 && layer->pad_bottom == 0 && layer->pad_left == 0 && layer->pad_right == 0;
}

static bool has_no_dilation(const struct fqt_layer_record *layer) {
    return layer->dilation_h == 1 && layer->dilation_w == 1;
}

/* Kernel 1 x 1, stride 1, no padding: what layers without a window say. */
static bool has_no_window(const struct fqt_layer_record *layer) {
    return layer->kernel_h == 1 && layer->kernel_w == 1 && layer->stride_h == 1 && layer->stride_w == 1 &&
           has_no_dilation(layer) && has_no_padding(layer);
}

/* Whether `out` is what a window leaves of `in` along one axis: one more step would leave the input. No pad is as long
 * as the window, so each window spans some input. Neither a kernel nor a stride of 0 fits; what is left over wraps to
 * a large number where the windows need more than there is. */
static bool window_fits(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t dilation, uint32_t before,
                        uint32_t after) {
    uint32_t span = dilation * (kernel - 1) + 1;
    uint32_t padded = in + before + after;
    uint64_t last = (uint64_t)(out - 1) * stride;
    return dilation >= 1 && before < span && after < span && padded - last - span < stride;
}

/* Average pooling may take all of a long signal: what counts is how many numbers it adds up (SPEC.md section 9). */
static bool kernel_fits(const struct fqt_layer_record *layer) {
    if (layer->op == FQT_AVG_POOL2D) {
        return (uint32_t)layer->kernel_h * layer->kernel_w <= 255 * 255;
    }
    return layer->kernel_h <= 255 && layer->kernel_w <= 255 && layer->stride_h <= 255 && layer->stride_w <= 255;
}

static bool windows_fit(const struct fqt_layer_record *layer, const struct fqt_tensor_record *x,
                        const struct fqt_tensor_record *y) {
    return kernel_fits(layer) &&
           window_fits(x->h, y->h, layer->kernel_h, layer->stride_h, layer->dilation_h, layer->pad_top,
                       layer->pad_bottom) &&
           window_fits(x->w, y->w, layer->kernel_w, layer->stride_w, layer->dilation_w, layer->pad_left,
                       layer->pad_right);
}

static bool same_shape(const struct fqt_tensor_record *x, const struct fqt_tensor_record *y) {
    return x->h == y->h && x->w == y->w && x->c == y->c;
}

static bool all_finite(const float *values, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (!is_finite(values[i])) {
            return false;
        }
    }
    return true;
}

/* float32 sums start at the bias; -0 would make their bits depend on the order of terms that are 0. */
static bool none_minus_zero(const float *values, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (bits_of(values[i]) == 0x80000000u) {
            return false;
        }
    }
    return true;
}

static bool all_biases(const int32_t *bias, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (bias[i] <= -BIAS_LIMIT || bias[i] >= BIAS_LIMIT) {
            return false;
        }
    }
    return true;
}

/* One grid, or one for each output channel. */
static bool grids_are_valid(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    uint32_t n = layer->grids;
    if ((n != 1 && n != fqt_layer_outputs(model, l)) || !is_inside(model->header, layer->grid_offset, 8ull * n)) {
        return false;
    }
    const float *scale = (const float *)(const void *)(model->blob + layer->grid_offset);
    const int32_t *zero = (const int32_t *)(const void *)(scale + n);
    for (uint32_t i = 0; i < n; i++) {
        if (!is_scale(scale[i]) || !is_zero_point(zero[i])) {
            return false;
        }
    }
    return true;
}

static bool parameters_are_valid(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    enum fqt_type type = fqt_layer_type(model, l);
    uint32_t outputs = fqt_layer_outputs(model, l);
    uint64_t weights = wide_fan_in(model, l) * outputs; /* below 2^64; times 4 it might not be */
    uint32_t bytes = type == FQT_F32 ? 4 : 1;
    if (layer->weight_bytes / bytes != weights || layer->weight_bytes % bytes != 0 ||
        layer->bias_bytes != outputs * 4u || !is_inside(model->header, layer->weight_offset, layer->weight_bytes) ||
        !is_inside(model->header, layer->bias_offset, layer->bias_bytes)) {
        return false;
    }
    const void *bias = model->blob + layer->bias_offset;
    if (type == FQT_U8) {
        return grids_are_valid(model, l) && all_biases(bias, outputs);
    }
    const void *w = model->blob + layer->weight_offset;
    return layer->grids == 0 && layer->grid_offset == 0 && all_finite(w, (uint32_t)weights) &&
           all_finite(bias, outputs) && none_minus_zero(bias, outputs);
}

/* What all layers have in common. */
static bool connections_are_valid(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    bool inputs = layer->op == FQT_ADD ? layer->input2 <= l && layer->input2 != layer->input : layer->input2 == 0;
    return inputs && layer->input <= l && layer->output == l + 1 &&
           (layer->flags & ~(ACTIVATION | FQT_LAYER_TRAINABLE)) == 0 && all_zero(layer->reserved, 5);
}

static bool layer_is_valid(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    if (!connections_are_valid(model, l)) {
        return false;
    }
    const struct fqt_tensor_record *x = &model->tensors[layer->input];
    const struct fqt_tensor_record *x2 = &model->tensors[layer->input2];
    const struct fqt_tensor_record *y = &model->tensors[l + 1];
    bool same_type = x->type == y->type;
    /* Max pooling and the border to float32 repeat their input's activation; the others say it themselves. */
    bool repeats = layer->op == FQT_MAX_POOL2D || layer->op == FQT_DEQUANTIZE;
    if ((y->flags & ACTIVATION) != ((repeats ? x->flags : layer->flags) & ACTIVATION)) {
        return false;
    }
    switch (layer->op) {
    case FQT_CONV2D:
        return same_type && windows_fit(layer, x, y) && parameters_are_valid(model, l);
    case FQT_DEPTHWISE_CONV2D:
        return same_type && x->c == y->c && windows_fit(layer, x, y) && parameters_are_valid(model, l);
    case FQT_LINEAR:
        return same_type && y->h == 1 && y->w == 1 && has_no_window(layer) && parameters_are_valid(model, l);
    case FQT_MAX_POOL2D:
    case FQT_AVG_POOL2D:
        return same_type && x->c == y->c && windows_fit(layer, x, y) && has_no_padding(layer) &&
               has_no_dilation(layer) && has_no_parameters(layer, 0);
    case FQT_DEQUANTIZE:
        return x->type == FQT_U8 && y->type == FQT_F32 && same_shape(x, y) && has_no_window(layer) &&
               has_no_parameters(layer, 0);
    case FQT_ADD:
        return same_type && x2->type == y->type && same_shape(x, y) && same_shape(x2, y) && has_no_window(layer) &&
               has_no_parameters(layer, FQT_LAYER_RELU | FQT_LAYER_RELU6);
    case FQT_HARD_SWISH:
        return same_type && same_shape(x, y) && has_no_window(layer) && has_no_parameters(layer, 0);
    default:
        return false;
    }
}

/* Every tensor but the last is read, that of max pooling and of the border to float32 once. */
static bool readers_are_valid(const struct fqt_model *model, uint32_t t) {
    uint32_t readers = 0;
    bool alone = false;
    for (uint32_t l = t; l < model->header->n_layers; l++) {
        if (fqt_layer_reads(model, l, t)) {
            readers++;
            alone |= model->layers[l].op == FQT_MAX_POOL2D || model->layers[l].op == FQT_DEQUANTIZE;
        }
    }
    return readers == 1 || (readers > 1 && !alone);
}

/* Only ranges adapt that training observes: of outputs. */
static bool adapts_rightly(const struct fqt_model *model, uint32_t t) {
    bool adapts = (model->tensors[t].flags & FQT_TENSOR_ADAPTIVE) != 0;
    return !adapts || (t > 0 && fqt_tensor_carries_error(model, t) && model->layers[t - 1].op != FQT_MAX_POOL2D);
}

static enum fqt_status check_format(const struct fqt_model *model) {
    const struct fqt_model_header *header = model->header;
    for (uint32_t t = 0; t < header->n_tensors; t++) {
        if (!tensor_is_valid(&model->tensors[t])) {
            return FQT_ERROR_FORMAT;
        }
    }
    const struct fqt_tensor_record *logits = &model->tensors[header->n_layers];
    /* The scale of the error at the logits is fixed (SPEC.md 4.7), so its field is unused. */
    if (model->tensors[0].type != FQT_U8 || fqt_tensor_activation(model, 0) != FQT_ACT_NONE || logits->h != 1 ||
        logits->w != 1 || logits->error_scale != 0.0f) {
        return FQT_ERROR_FORMAT;
    }
    for (uint32_t l = 0; l < header->n_layers; l++) {
        if (!layer_is_valid(model, l)) {
            return FQT_ERROR_FORMAT;
        }
    }
    for (uint32_t t = 0; t < header->n_layers; t++) {
        if (!readers_are_valid(model, t)) {
            return FQT_ERROR_FORMAT;
        }
    }
    for (uint32_t t = 0; t < header->n_tensors; t++) {
        if (!adapts_rightly(model, t)) {
            return FQT_ERROR_FORMAT;
        }
    }
    return fqt_memory_plan_is_valid(model) ? FQT_OK : FQT_ERROR_FORMAT;
}

/* ---- Checks: bounds (SPEC.md section 9) ---- */

/* Kernels count elements, and bytes, in 32 bits; so they do rows on the padding and a step of a dilated window. */
static bool indices_fit(const struct fqt_model *model, uint32_t t) {
    const struct fqt_tensor_record *tensor = &model->tensors[t];
    uint64_t row = (uint64_t)tensor->w * tensor->c * (tensor->type == FQT_F32 ? 4u : 1u);
    return (tensor->h + FQT_MAX_PADDING) * row <= INT32_MAX;
}

static enum fqt_status check_bounds(const struct fqt_model *model) {
    const struct fqt_model_header *header = model->header;
    for (uint32_t t = 0; t < header->n_tensors; t++) {
        if (!indices_fit(model, t)) {
            return FQT_ERROR_BOUND;
        }
    }
    for (uint32_t l = 0; l < header->n_layers; l++) {
        /* Of average pooling 255 * 255 errors and inputs at most, see kernel_fits(). */
        if (fqt_layer_has_weights(&model->layers[l]) &&
            (wide_fan_in(model, l) > FQT_MAX_FAN_IN || wide_fan_out(model, l) > FQT_MAX_FAN_OUT)) {
            return FQT_ERROR_BOUND;
        }
    }
    return fqt_tensor_elements(&model->tensors[header->n_tensors - 1]) > FQT_MAX_CLASSES ? FQT_ERROR_BOUND : FQT_OK;
}

/* ---- Checks: what was built ---- */

static bool op_is_built(uint8_t op) {
    static const uint8_t built[] = {
        [FQT_CONV2D] = FQT_WITH_CONV2D,
        [FQT_LINEAR] = FQT_WITH_LINEAR,
        [FQT_MAX_POOL2D] = FQT_WITH_MAX_POOL2D,
        [FQT_DEQUANTIZE] = FQT_WITH_DEQUANTIZE,
        [FQT_DEPTHWISE_CONV2D] = FQT_WITH_DEPTHWISE_CONV2D,
        [FQT_AVG_POOL2D] = FQT_WITH_AVG_POOL2D,
        [FQT_ADD] = FQT_WITH_ADD,
        [FQT_HARD_SWISH] = FQT_WITH_HARD_SWISH,
    };
    return built[op] != 0;
}

static enum fqt_status check_support(const struct fqt_model *model) {
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        bool is_float = fqt_layer_type(model, l) == FQT_F32;
        if (!op_is_built(model->layers[l].op) || (is_float && !FQT_WITH_FLOAT32)) {
            return FQT_ERROR_UNSUPPORTED;
        }
    }
    return FQT_OK;
}

enum fqt_status fqt_model_open(struct fqt_model *model, const void *blob, size_t size) {
    if (model == NULL || blob == NULL || (uintptr_t)blob % 4 != 0) {
        return FQT_ERROR_ARGUMENT;
    }
    const struct fqt_model_header *header = blob;
    if (size < sizeof *header) {
        return FQT_ERROR_SIZE;
    }
    if (memcmp(header->magic, "FQT1", 4) != 0) {
        return FQT_ERROR_MAGIC;
    }
    if (header->format_version != FQT_FORMAT_VERSION || header->arithmetic_version != FQT_ARITHMETIC_VERSION) {
        return FQT_ERROR_VERSION;
    }
    if (header->file_size != size) {
        return FQT_ERROR_SIZE;
    }
    const uint8_t *bytes = blob;
    if (fqt_crc32(0, bytes + CRC_START, size - CRC_START) != header->crc) {
        return FQT_ERROR_CHECKSUM;
    }
    if (!header_is_valid(header)) {
        return FQT_ERROR_FORMAT;
    }
    model->blob = bytes;
    model->header = header;
    model->tensors = (const struct fqt_tensor_record *)(const void *)(bytes + header->tensors_offset);
    model->layers = (const struct fqt_layer_record *)(const void *)(bytes + header->layers_offset);
    enum fqt_status status = check_format(model);
    status = status != FQT_OK ? status : check_bounds(model);
    return status != FQT_OK ? status : check_support(model);
}
