/* SPDX-License-Identifier: Apache-2.0 */
/* The model file (SPEC.md section 10). Files are not trusted: fqt_model_open() is the border. */
#include <fqt/model_file.h>

#include <string.h>

_Static_assert(sizeof(struct fqt_model_header) == 64, "the header is read in place");
_Static_assert(sizeof(struct fqt_tensor_record) == 48, "tensors are read in place");
_Static_assert(sizeof(struct fqt_layer_record) == 60, "layers are read in place");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little endian");

#define CRC_START 16 /* the checksum covers the file from here */
#define BIAS_LIMIT (1 << 30)

/* ---- Questions about a model ---- */

uint64_t fqt_tensor_elements(const struct fqt_tensor_record *tensor) {
    return (uint64_t)tensor->h * tensor->w * tensor->c;
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
    const struct fqt_tensor_record *x = &model->tensors[l];
    uint64_t taps = (uint64_t)layer->kernel_h * layer->kernel_w;
    if (layer->op == FQT_LINEAR) {
        return fqt_tensor_elements(x);
    }
    return layer->op == FQT_DEPTHWISE_CONV2D ? taps : taps * x->c;
}

uint32_t fqt_layer_fan_in(const struct fqt_model *model, uint32_t l) {
    return (uint32_t)wide_fan_in(model, l);
}

uint32_t fqt_layer_outputs(const struct fqt_model *model, uint32_t l) {
    return model->tensors[l + 1].c;
}

enum fqt_type fqt_layer_type(const struct fqt_model *model, uint32_t l) {
    return (enum fqt_type)model->tensors[l + 1].type;
}

struct fqt_geometry fqt_layer_geometry(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    const struct fqt_tensor_record *x = &model->tensors[l];
    const struct fqt_tensor_record *y = &model->tensors[l + 1];
    if (layer->op == FQT_LINEAR) {
        return (struct fqt_geometry){1, 1, (int32_t)fqt_layer_fan_in(model, l), 1, 1, y->c, 1, 1, 1, 1, 0, 0};
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
    };
}

uint32_t fqt_first_trained(const struct fqt_model *model) {
    uint32_t l = 0;
    while (l < model->header->n_layers && !fqt_layer_trains(&model->layers[l])) {
        l++;
    }
    return l;
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
           all_zero(header->reserved, 3) && is_name(header->name, sizeof header->name) &&
           is_inside(header, header->tensors_offset, (uint64_t)header->n_tensors * sizeof(struct fqt_tensor_record)) &&
           is_inside(header, header->layers_offset, (uint64_t)header->n_layers * sizeof(struct fqt_layer_record));
}

static bool tensor_is_valid(const struct fqt_tensor_record *t) {
    if (t->h == 0 || t->w == 0 || t->c == 0 || !all_zero(t->reserved, 5)) {
        return false;
    }
    if (t->type == FQT_F32) {
        return t->flags <= FQT_TENSOR_RELU && t->scale == 1.0f && t->zero == 0 && t->lo == 0.0f && t->hi == 0.0f &&
               t->error_scale == 0.0f;
    }
    return t->type == FQT_U8 && t->flags <= (FQT_TENSOR_RELU | FQT_TENSOR_ADAPTIVE) && is_scale(t->scale) &&
           is_zero_point(t->zero) && is_finite(t->lo) && is_finite(t->hi) && t->lo <= 0.0f && t->hi >= 0.0f &&
           (t->error_scale == 0.0f || is_scale(t->error_scale));
}

/* ---- Checks: layers ---- */

static bool has_no_parameters(const struct fqt_layer_record *layer) {
    return layer->flags == 0 && layer->weight_offset == 0 && layer->weight_bytes == 0 && layer->bias_offset == 0 &&
           layer->bias_bytes == 0 && layer->weight_scale == 0.0f && layer->weight_zero == 0;
}

static bool has_no_padding(const struct fqt_layer_record *layer) {
    return layer->pad_top == 0 && layer->pad_bottom == 0 && layer->pad_left == 0 && layer->pad_right == 0;
}

/* Kernel 1 x 1, stride 1, no padding: what layers without a window say. */
static bool has_no_window(const struct fqt_layer_record *layer) {
    return layer->kernel_h == 1 && layer->kernel_w == 1 && layer->stride_h == 1 && layer->stride_w == 1 &&
           has_no_padding(layer);
}

/* Whether `out` is what a window leaves of `in` along one axis; each window holds some input. */
static bool window_fits(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t before, uint32_t after) {
    uint32_t padded = in + before + after;
    return kernel >= 1 && kernel <= 255 && stride >= 1 && stride <= 255 && before < kernel && after < kernel &&
           padded >= kernel && (padded - kernel) / stride + 1 == out;
}

static bool windows_fit(const struct fqt_layer_record *layer, const struct fqt_tensor_record *x,
                        const struct fqt_tensor_record *y) {
    return window_fits(x->h, y->h, layer->kernel_h, layer->stride_h, layer->pad_top, layer->pad_bottom) &&
           window_fits(x->w, y->w, layer->kernel_w, layer->stride_w, layer->pad_left, layer->pad_right);
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

static bool parameters_are_valid(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    enum fqt_type type = fqt_layer_type(model, l);
    uint32_t outputs = fqt_layer_outputs(model, l);
    /* fan_in may reach 2^48 here and outputs 2^16: together they do not overflow, times 4 they would. */
    uint64_t fan_in = wide_fan_in(model, l);
    uint64_t bytes = type == FQT_F32 ? 4 : 1;
    if (fan_in > UINT32_MAX || layer->weight_bytes != fan_in * outputs * bytes || layer->bias_bytes != outputs * 4u ||
        !is_inside(model->header, layer->weight_offset, layer->weight_bytes) ||
        !is_inside(model->header, layer->bias_offset, layer->bias_bytes)) {
        return false;
    }
    bool relu = (layer->flags & FQT_LAYER_RELU) != 0;
    if (relu != ((model->tensors[l + 1].flags & FQT_TENSOR_RELU) != 0)) {
        return false;
    }
    const void *bias = model->blob + layer->bias_offset;
    if (type == FQT_U8) {
        return is_scale(layer->weight_scale) && is_zero_point(layer->weight_zero) &&
               !(relu && model->tensors[l + 1].zero != 0) && all_biases(bias, outputs);
    }
    const void *weights = model->blob + layer->weight_offset;
    return layer->weight_scale == 0.0f && layer->weight_zero == 0 &&
           all_finite(weights, (uint32_t)(fan_in * outputs)) && all_finite(bias, outputs) &&
           none_minus_zero(bias, outputs);
}

static bool layer_is_valid(const struct fqt_model *model, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    const struct fqt_tensor_record *x = &model->tensors[l];
    const struct fqt_tensor_record *y = &model->tensors[l + 1];
    if (layer->input != l || layer->output != l + 1 || layer->flags > (FQT_LAYER_RELU | FQT_LAYER_TRAINABLE) ||
        layer->reserved16 != 0 || !all_zero(layer->reserved, 4)) {
        return false;
    }
    switch (layer->op) {
    case FQT_CONV2D:
        return x->type == y->type && windows_fit(layer, x, y) && parameters_are_valid(model, l);
    case FQT_DEPTHWISE_CONV2D:
        return x->type == y->type && x->c == y->c && windows_fit(layer, x, y) && parameters_are_valid(model, l);
    case FQT_LINEAR:
        return x->type == y->type && y->h == 1 && y->w == 1 && has_no_window(layer) && parameters_are_valid(model, l);
    case FQT_MAX_POOL2D:
        return x->type == y->type && x->c == y->c && windows_fit(layer, x, y) && has_no_padding(layer) &&
               has_no_parameters(layer);
    case FQT_DEQUANTIZE:
        return x->type == FQT_U8 && y->type == FQT_F32 && same_shape(x, y) && has_no_window(layer) &&
               has_no_parameters(layer);
    default:
        return false;
    }
}

static enum fqt_status check_format(const struct fqt_model *model) {
    const struct fqt_model_header *header = model->header;
    for (uint32_t t = 0; t < header->n_tensors; t++) {
        if (!tensor_is_valid(&model->tensors[t])) {
            return FQT_ERROR_FORMAT;
        }
    }
    const struct fqt_tensor_record *logits = &model->tensors[header->n_tensors - 1];
    /* The scale of the error at the logits is fixed (SPEC.md 4.7), so its field is unused. */
    if (model->tensors[0].type != FQT_U8 || logits->h != 1 || logits->w != 1 || logits->error_scale != 0.0f) {
        return FQT_ERROR_FORMAT;
    }
    for (uint32_t l = 0; l < header->n_layers; l++) {
        if (!layer_is_valid(model, l)) {
            return FQT_ERROR_FORMAT;
        }
    }
    return FQT_OK;
}

/* ---- Checks: bounds (SPEC.md section 9) ---- */

static enum fqt_status check_bounds(const struct fqt_model *model) {
    const struct fqt_model_header *header = model->header;
    for (uint32_t l = 0; l < header->n_layers; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        uint64_t channels = layer->op == FQT_DEPTHWISE_CONV2D ? 1 : fqt_layer_outputs(model, l);
        uint64_t fan_out = (uint64_t)layer->kernel_h * layer->kernel_w * channels;
        if (fqt_layer_has_weights(layer) && (wide_fan_in(model, l) > FQT_MAX_FAN_IN || fan_out > FQT_MAX_FAN_OUT)) {
            return FQT_ERROR_BOUND;
        }
    }
    return fqt_tensor_elements(&model->tensors[header->n_tensors - 1]) > FQT_MAX_CLASSES ? FQT_ERROR_BOUND : FQT_OK;
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
    return status != FQT_OK ? status : check_bounds(model);
}
