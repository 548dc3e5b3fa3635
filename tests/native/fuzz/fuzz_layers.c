/* fdl_check_layers and the counts, on lists of layers and on bytes that are none, against the rules
 * of NUMERICS section 2 written once more. */
#include "fuzz.h"

static int direction_is_valid(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t before,
                              uint32_t after) {
    return kernel > before && kernel > after && stride > 0 && kernel <= size + before + after;
}

static int has_window(const fdl_layer *v) {
    return direction_is_valid(v->height, v->kernel_height, v->stride_height, v->pad_top,
                              v->pad_bottom) &&
           direction_is_valid(v->width, v->kernel_width, v->stride_width, v->pad_left,
                              v->pad_right);
}

static int has_no_window(const fdl_layer *v) {
    const uint8_t fields[] = {v->kernel_height, v->kernel_width, v->stride_height, v->stride_width,
                              v->pad_top,       v->pad_bottom,   v->pad_left,      v->pad_right};
    const uint8_t none[sizeof fields] = {0};
    return memcmp(fields, none, sizeof fields) == 0;
}

static int fields_are_valid(const fdl_layer *v) {
    if (v->kind > FDL_AVERAGE_POOL || !v->height || !v->width || !v->channels || !v->out)
        return 0;
    if (v->kind == FDL_DENSE && (v->height != 1 || v->width != 1))
        return 0;
    if (v->kind > FDL_CONV && v->out != v->channels)
        return 0;
    if (v->relu > (v->kind <= FDL_DEPTHWISE))
        return 0;
    return v->kind == FDL_DENSE || v->kind == FDL_AVERAGE_POOL ? has_no_window(v) : has_window(v);
}

static uint64_t window_values(const fdl_layer *v) {
    return (uint64_t)v->kernel_height * v->kernel_width * v->channels;
}

static uint64_t padded_values(const fdl_layer *v) {
    return ((uint64_t)v->height + v->pad_top + v->pad_bottom) *
           ((uint64_t)v->width + v->pad_left + v->pad_right) * v->channels;
}

static uint64_t output_values(const fdl_layer *v) {
    shape s = output_shape(v);
    return (uint64_t)s.height * s.width * s.channels;
}

/* Products that one input's error sums over. */
static uint64_t error_terms(const fdl_layer *v) {
    shape s = output_shape(v);
    uint64_t rows = v->kernel_height < s.height ? v->kernel_height : s.height;
    uint64_t columns = v->kernel_width < s.width ? v->kernel_width : s.width;
    return rows * columns * v->out;
}

static int is_within_limits(const fdl_layer *v) {
    if (padded_values(v) > FDL_MAX_VALUES || output_values(v) > FDL_MAX_VALUES)
        return 0;
    if (v->kind == FDL_AVERAGE_POOL)
        return (uint32_t)v->height * v->width <= 65535;
    return window_values(v) <= 65535 && error_terms(v) <= 65535;
}

static uint64_t weights_of(const fdl_layer *v) {
    if (v->kind == FDL_DENSE)
        return (uint64_t)v->channels * v->out;
    if (v->kind == FDL_CONV)
        return window_values(v) * v->out;
    return v->kind == FDL_DEPTHWISE ? window_values(v) : 0;
}

static int exponent_is_valid(const fdl_layer *v) {
    return v->kind <= FDL_DEPTHWISE ? v->w_exp >= -24 && v->w_exp <= 7 : v->w_exp == 0;
}

typedef struct {
    int is_model;
    uint64_t weights, biases;
} verdict;

static verdict judge(const fdl_layer *layers, size_t count) {
    verdict v = {count >= 1 && count <= 16 && !layers[count - 1].relu, 0, 0};
    uint64_t values = 0;
    for (size_t l = 0; v.is_model && l < count; l++) {
        const fdl_layer *layer = &layers[l];
        v.is_model = fields_are_valid(layer) && exponent_is_valid(layer) &&
                     is_within_limits(layer) &&
                     (l == 0 || (uint64_t)layer->height * layer->width * layer->channels == values);
        values = output_values(layer);
        v.weights += weights_of(layer);
        v.biases += layer->kind <= FDL_DEPTHWISE ? layer->out : 0;
    }
    uint64_t packed = 2 * v.weights + 4 * v.biases;
    v.is_model = v.is_model && packed > 0 && packed < (uint64_t)1 << 31;
    return v;
}

static void check_one(const fdl_layer *v) {
    int is_valid = fields_are_valid(v) && exponent_is_valid(v) && is_within_limits(v);
    uint64_t inputs = (uint64_t)v->height * v->width * v->channels;
    expect(fdl_input_count(v) == (is_valid ? inputs : 0));
    expect(fdl_output_count(v) == (is_valid ? output_values(v) : 0));
}

static void check_list(const fdl_layer *layers, size_t count) {
    verdict right = judge(layers, count);
    int error = fdl_check_layers(layers, count);
    expect((error == FDL_OK) == right.is_model);
    if (error == FDL_OK)
        count_past();
    expect(error == FDL_OK || error == FDL_E_LAYERS || error == FDL_E_EXPONENT);
    expect(fdl_weight_count(layers, count) == (error ? 0 : right.weights));
    expect(fdl_bias_count(layers, count) == (error ? 0 : right.biases));
    expect(fdl_packed_size(layers, count) == (error ? 0 : 2 * right.weights + 4 * right.biases));
    for (size_t l = 0; l < count; l++)
        check_one(&layers[l]);
}

/* What is no list of layers; and that errors are described, whatever they are. */
static void check_nothing(void) {
    expect(fdl_check_layers(NULL, 1) == FDL_E_NULL);
    expect(fdl_packed_size(NULL, 1) == 0);
    expect(fdl_input_count(NULL) == 0 && fdl_output_count(NULL) == 0);
    for (int error = FDL_E_ABSENT - 1; error <= 1; error++)
        expect(strlen(fdl_describe_error(error)) > 0);
    expect(strlen(fdl_version()) > 0 && strlen(fdl_isa()) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t count;
    check_nothing();
    if (take_byte(&in) % 2) {
        count = in.left / sizeof(fdl_layer);
        check_list(new_copy(in.at, count * sizeof(fdl_layer)), count);
    } else {
        const fdl_layer *layers = take_layers(&in, &count);
        check_list(layers, count);
    }
    free_memory();
    return 0;
}
