/* Inner loops against fdl_plain on random shapes and values: test_kernels SEED CASES TABLE
 *
 * Each case is drawn twice, from the same random numbers, and runs once with fdl_plain, once with
 * the table. Every buffer ends where its last value ends, so that a sanitiser sees what is touched
 * outside. Prints the first function whose results differ, and its shape, and returns 1. */
#include "loops/isa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const fdl_kernels *const TABLES[] = {
#if FDL_X86
    &fdl_avx2, &fdl_avx512vnni,
#endif
#if FDL_NEON
    &fdl_neon, &fdl_dotprod,
#endif
#if FDL_DSP
    &fdl_dsp,
#endif
};

static const fdl_kernels *tested;

/* ---- Random numbers (splitmix64) ---- */

static uint64_t state;

static uint32_t draw(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static int32_t draw_in(int32_t low, int32_t high) {
    return (int32_t)(low + (int64_t)(draw() % (uint64_t)((int64_t)high - low + 1)));
}

/* Often a limit, 0 or near it. */
static int32_t draw_value(int32_t low, int32_t high) {
    switch (draw() % 8) {
    case 0:
        return draw() % 2 ? low : high;
    case 1:
        return 0;
    case 2:
        return draw_in(low / 64, high / 64);
    default:
        return draw_in(low, high);
    }
}

/* Often near a multiple of some vector, now and then as long as it may be. */
static size_t draw_length(size_t limit) {
    size_t length = (size_t)draw_in(0, (int32_t)smaller(limit, 300));
    if (draw() % 2)
        length = ((size_t)4 << draw() % 7) * (draw() % 4) + draw() % 3;
    if (draw() % 16 == 0)
        length = (size_t)draw_in(0, (int32_t)limit);
    return smaller(length, limit);
}

/* ---- One case ---- */

/* Of a gradient, in every table. */
#define MOST_ROWS    (FDL_TALL > FDL_GRADIENT_ROWS ? FDL_TALL : FDL_GRADIENT_ROWS)
#define MOST_COLUMNS 256 /* a multiple of FDL_PIECE */
#define BUFFERS      6
#define LONGEST      20000 /* more than any table works on at a time */
#define WEIGHTS      20000 /* about as many in a case, for the sake of time */

typedef struct {
    fdl_block block;
    fdl_windows windows;
    uint32_t at[FDL_WINDOWS];
    size_t count; /* of acc and q */
    uint32_t relu;
    int32_t shift;

    int8_t *x, *d;
    size_t x_count;
    int32_t *acc;
    int8_t *q;
    int32_t *g; /* [MOST_ROWS][MOST_COLUMNS] */
    uint32_t *magnitude;

    uint8_t *buffer[BUFFERS];
    size_t bytes[BUFFERS];
    size_t buffers;
} scene;

/* `count` zeros of `size` bytes, aligned to no more than their size. */
static void *take(scene *s, size_t count, size_t size) {
    size_t bytes = (draw() % 16 + count) * size;
    uint8_t *start = calloc(bytes + (bytes == 0), 1);
    if (start == NULL)
        exit(2);
    s->buffer[s->buffers] = start;
    s->bytes[s->buffers++] = bytes;
    return start + bytes - count * size;
}

static int8_t *take_int8(scene *s, size_t count) {
    int8_t *values = take(s, count, 1);
    for (size_t i = 0; i < count; i++)
        values[i] = (int8_t)draw_value(-127, 127);
    return values;
}

static int16_t *take_int16(scene *s, size_t count) {
    int16_t *values = take(s, count, 2);
    for (size_t i = 0; i < count; i++)
        values[i] = (int16_t)draw_value(INT16_MIN, INT16_MAX);
    return values;
}

static int32_t *take_int32(scene *s, size_t count, int32_t limit) {
    int32_t *values = take(s, count, 4);
    for (size_t i = 0; i < count; i++)
        values[i] = draw_value(-limit, limit);
    return values;
}

static void discard(scene *s) {
    for (size_t i = 0; i < s->buffers; i++)
        free(s->buffer[i]);
}

static int same(const scene *a, const scene *b) {
    for (size_t i = 0; i < a->buffers; i++)
        if (memcmp(a->buffer[i], b->buffer[i], a->bytes[i]) != 0)
            return 0;
    return 1;
}

static void draw_block(scene *s) {
    size_t len = draw_length(LONGEST), rows = draw_length(200);
    size_t step = len + (draw() % 2 ? draw() % 40 : 0);
    rows = smaller(rows, WEIGHTS / (step + 1) + 2);
    int16_t *at = take_int16(s, rows > 0 ? (rows - 1) * step + len : 0);
    s->block = (fdl_block){at, rows, step, len};
}

/* ---- Weights and gradients in the order of a table ---- */

static size_t multiple(size_t count, size_t of) {
    return (count + of - 1) / of * of;
}

static size_t tall_of(const fdl_kernels *kernels) {
#if FDL_TALL > 1
    return kernels->tall;
#else
    (void)kernels;
    return 0;
#endif
}

static size_t place(size_t tall, size_t step, size_t o, size_t i) {
    return o / tall * tall * step + i / 2 * 2 * tall + o % tall * 2 + i % 2;
}

/* The block's weights woven, in memory of their own; the block that they came from. */
static fdl_block weave(size_t tall, fdl_block *block) {
    fdl_block rows = *block;
    block->step = multiple(rows.len, FDL_WIDE);
    size_t count = multiple(rows.rows, tall) * block->step;
    block->at = calloc(count + 1, sizeof *block->at);
    if (block->at == NULL)
        exit(2);
    for (size_t o = 0; o < rows.rows; o++)
        for (size_t i = 0; i < rows.len; i++)
            block->at[place(tall, block->step, o, i)] = rows.at[o * rows.step + i];
    return rows;
}

/* Back; whether what fills the rest up is still 0. */
static int unweave(size_t tall, fdl_block *block, fdl_block rows) {
    int16_t *woven = block->at, rest = 0;
    size_t count = multiple(rows.rows, tall) * block->step;
    for (size_t o = 0; o < rows.rows; o++)
        for (size_t i = 0; i < rows.len; i++) {
            int16_t *from = &woven[place(tall, block->step, o, i)];
            rows.at[o * rows.step + i] = *from;
            *from = 0;
        }
    for (size_t j = 0; j < count; j++)
        rest |= woven[j];
    free(woven);
    *block = rows;
    return rest == 0;
}

/* gradient() with g woven, in memory that ends where its last value ends. */
static void run_woven_gradient(const fdl_kernels *kernels, scene *s) {
    size_t tall = tall_of(kernels), columns = multiple(s->block.len, FDL_WIDE);
    int32_t *woven = malloc(tall * columns * sizeof *woven + (columns == 0));
    if (woven == NULL)
        exit(2);
    for (size_t o = 0; o < tall; o++)
        for (size_t i = 0; i < columns; i++)
            woven[place(tall, columns, o, i)] = s->g[o * MOST_COLUMNS + i];
    kernels->gradient(woven, &s->windows, s->d, s->block.step, s->block.rows, s->block.len);
    for (size_t o = 0; o < tall; o++)
        for (size_t i = 0; i < columns; i++)
            s->g[o * MOST_COLUMNS + i] = woven[place(tall, columns, o, i)];
    free(woven);
}

/* Of the block's length; they overlap. */
static void draw_windows(scene *s) {
    size_t n = (size_t)draw_in(0, FDL_WINDOWS);
    size_t spread = draw() % 2 ? draw() % 64 : n * s->block.len;
    for (size_t m = 0; m < n; m++)
        s->at[m] = (uint32_t)draw_in(0, (int32_t)spread);
    s->x_count = spread + s->block.len;
    s->x = take_int8(s, s->x_count);
    s->windows = (fdl_windows){s->x, s->at, n};
}

/* ---- The functions ---- */

static void make_absolute(int8_t *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = (int8_t)abs(values[i]);
}

/* Sums at an end of the 32 bits, which all products lead away from: factors are not negative, and
 * weights as large as they can be. What a table adds and takes away again wraps around. */
static void go_to_the_end(scene *s, int8_t *factors, size_t factor_count, size_t acc_count) {
    int32_t weight = draw() % 2 ? INT16_MAX : INT16_MIN;
    make_absolute(factors, factor_count);
    for (size_t o = 0; o < s->block.rows; o++)
        for (size_t i = 0; i < s->block.len; i++)
            s->block.at[o * s->block.step + i] = (int16_t)weight;
    for (size_t j = 0; j < acc_count; j++)
        s->acc[j] = weight < 0 ? INT32_MAX : INT32_MIN;
}

static void draw_dot(scene *s) {
    draw_block(s);
    draw_windows(s);
    size_t count = s->windows.n * s->block.rows;
    s->acc = take_int32(s, count, 1 << 30);
    if (draw() % 4 == 0)
        go_to_the_end(s, s->x, s->x_count, count);
}

static void run_dot(const fdl_kernels *kernels, scene *s) {
    kernels->dot(s->acc, &s->windows, &s->block);
}

static void draw_spread(scene *s) {
    draw_block(s);
    draw_windows(s);
    size_t last = 0;
    for (size_t m = 0; m < s->windows.n; m++)
        last = s->at[m] > last ? s->at[m] : last;
    s->d = take_int8(s, s->windows.n * s->block.rows);
    s->acc = take_int32(s, last + s->block.len, 1 << 30);
    if (draw() % 4 == 0)
        go_to_the_end(s, s->d, s->windows.n * s->block.rows, last + s->block.len);
}

static void run_spread(const fdl_kernels *kernels, scene *s) {
    kernels->spread(s->acc, s->at, s->windows.n, s->d, &s->block);
}

/* Of a gradient. */
static size_t most_rows(const fdl_kernels *kernels) {
    size_t tall = tall_of(kernels);
    return tall > 0 ? tall : FDL_GRADIENT_ROWS;
}

static size_t most_columns(const fdl_kernels *kernels) {
#if FDL_TALL > 1
    return kernels->tall > 0 ? kernels->columns : FDL_PIECE;
#else
    (void)kernels;
    return FDL_PIECE;
#endif
}

/* Past `rows` and `len` values that must stay. */
static void draw_gradient(scene *s) {
    size_t rows = (size_t)draw_in(0, (int32_t)most_rows(tested));
    size_t len = draw_length(most_columns(tested));
    s->block = (fdl_block){NULL, rows, rows + draw() % 20, len};
    draw_windows(s);
    s->d = take_int8(s, s->windows.n > 0 ? (s->windows.n - 1) * s->block.step + rows : 0);
    s->g = take_int32(s, MOST_ROWS * MOST_COLUMNS, 1 << 29);
}

static void copy_piece(int32_t *to, size_t to_step, const int32_t *from, size_t from_step) {
    for (size_t r = 0; r < MOST_ROWS; r++)
        memcpy(to + r * to_step, from + r * from_step, FDL_PIECE * sizeof *to);
}

/* Row by row it is of FDL_PIECE columns at most. */
static void run_gradient(const fdl_kernels *kernels, scene *s) {
    int32_t piece[MOST_ROWS * FDL_PIECE];
    if (tall_of(kernels) > 1) {
        run_woven_gradient(kernels, s);
        return;
    }
    for (size_t start = 0; start < s->block.len; start += FDL_PIECE) {
        fdl_windows windows = s->windows;
        windows.x += start;
        copy_piece(piece, FDL_PIECE, s->g + start, MOST_COLUMNS);
        kernels->gradient(piece, &windows, s->d, s->block.step, s->block.rows,
                          smaller(s->block.len - start, FDL_PIECE));
        copy_piece(s->g + start, MOST_COLUMNS, piece, FDL_PIECE);
    }
}

static void draw_apply(scene *s) {
    draw_block(s);
    s->block.rows = smaller(s->block.rows, 1);
    s->block.len *= s->block.rows;
    s->shift = draw_in(1, 30);
    s->acc = take_int32(s, s->block.len, draw() % 2 ? (1 << 30) - 1 : 1 << (s->shift / 2 + 14));
}

static void run_apply(const fdl_kernels *kernels, scene *s) {
    kernels->apply(s->block.at, s->acc, s->block.len, s->shift);
}

/* Some rows have no errors. */
static void draw_descend(scene *s) {
    draw_block(s);
    draw_windows(s);
    size_t rows = s->block.rows, n = s->windows.n;
    s->d = take_int8(s, n * rows);
    for (size_t o = draw() % 3; o < rows; o += 1 + draw() % 4)
        for (size_t m = 0; m < n; m++)
            s->d[m * rows + o] = 0;
    s->shift = draw() % 2 ? draw_in(1, 14) : draw_in(1, 30);
}

static void run_descend(const fdl_kernels *kernels, scene *s) {
    kernels->descend(&s->block, &s->windows, s->d, s->shift);
}

static void draw_descend_one(scene *s) {
    draw_block(s);
    s->x = take_int8(s, s->block.len);
    s->d = take_int8(s, s->block.rows);
    s->shift = draw_in(1, 14);
}

static void run_descend_one(const fdl_kernels *kernels, scene *s) {
    kernels->descend_one(&s->block, s->x, s->d, s->shift);
}

static void draw_magnitude(scene *s) {
    s->count = draw_length(600);
    s->relu = draw() % 2;
    s->acc = take_int32(s, s->count, draw() % 2 ? INT32_MAX : 1 << draw() % 31);
    s->magnitude = take(s, 1, sizeof *s->magnitude);
}

static void run_magnitude(const fdl_kernels *kernels, scene *s) {
    *s->magnitude = kernels->magnitude(s->acc, s->count, s->relu);
}

static void draw_mask(scene *s) {
    draw_magnitude(s);
    s->x = take_int8(s, s->count);
}

static void run_mask(const fdl_kernels *kernels, scene *s) {
    *s->magnitude = kernels->mask(s->acc, s->x, s->count);
}

static void draw_scale(scene *s) {
    s->count = draw_length(600);
    s->shift = draw_in(128, 255);
    s->acc = take_int32(s, s->count, 1 << 21);
    s->magnitude = take(s, 1, sizeof *s->magnitude);
}

static void run_scale(const fdl_kernels *kernels, scene *s) {
    *s->magnitude = kernels->scale(s->acc, s->count, s->shift);
}

static void draw_add_up(scene *s) {
    s->windows.n = (size_t)draw_in(1, 100);
    s->count = draw_length(100);
    s->x = take_int8(s, s->windows.n * s->count);
    s->acc = take_int32(s, s->count, 0);
}

static void run_add_up(const fdl_kernels *kernels, scene *s) {
    kernels->add_up(s->acc, s->x, s->windows.n, s->count);
}

static void draw_shift(scene *s) {
    s->count = draw_length(100);
    s->shift = draw_in(-40, 40);
    s->relu = draw() % 2;
    s->acc = take_int32(s, s->count, draw() % 2 ? INT32_MAX : 1 << draw() % 31);
}

static void run_shift(const fdl_kernels *kernels, scene *s) {
    kernels->shift(s->acc, s->acc, s->count, s->shift, s->relu ? INT32_MAX : (1 << 30) - 1);
}

static void draw_subtract(scene *s) {
    draw_shift(s);
    s->g = take_int32(s, s->count, INT32_MAX); /* the biases */
}

static void run_subtract(const fdl_kernels *kernels, scene *s) {
    kernels->subtract(s->g, s->acc, s->count, s->shift);
    memset(s->acc, 0, s->count * sizeof *s->acc); /* they may be anything now */
}

static void draw_has_lowest(scene *s) {
    s->count = draw_length(600);
    s->x = take_int8(s, s->count);
    if (s->count > 0 && draw() % 2)
        s->x[draw() % s->count] = -128;
    s->magnitude = take(s, 1, sizeof *s->magnitude);
}

static void run_has_lowest(const fdl_kernels *kernels, scene *s) {
    *s->magnitude = kernels->has_lowest(s->x, s->count) != 0;
}

/* Of up to 256 classes. */
static void draw_softmax(scene *s) {
    s->windows.n = (size_t)draw_in(1, 20);
    s->count = smaller(draw_length(256) + 1, 256);
    s->shift = draw_in(0, 31);
    s->acc = take_int32(s, s->windows.n * s->count, draw() % 2 ? INT32_MAX : 1 << draw() % 31);
    s->relu = draw() % 2;
    s->x = take_int8(s, s->windows.n);
    for (size_t m = 0; m < s->windows.n; m++)
        s->x[m] = (int8_t)(draw() % s->count);
}

static void run_softmax(const fdl_kernels *kernels, scene *s) {
    kernels->softmax(s->acc, s->windows.n, s->count,
                     (fdl_exp_steps){(uint8_t)s->shift, (uint8_t)(31 - s->shift)},
                     s->relu ? (const uint8_t *)s->x : NULL);
}

static void draw_narrow(scene *s) {
    s->count = draw_length(600);
    s->relu = draw() % 2;
    s->shift = draw_in(0, 24);
    s->acc = take_int32(s, s->count, draw() % 2 ? INT32_MAX - (1 << 23) : 256 << s->shift / 2);
    s->q = take(s, s->count, 1);
}

static void run_narrow(const fdl_kernels *kernels, scene *s) {
    int32_t low = s->relu ? 0 : -127;
    kernels->narrow(s->acc, s->count, s->shift, low, s->q);
    kernels->narrow(s->acc, s->count, s->shift, low, (int8_t *)s->acc);
}

/* ---- The codec: blocks of 16 to 1,024 ---- */

static void draw_code_block(scene *s, int32_t limit) {
    s->count = (size_t)FDL_LEAST_BLOCK << draw() % 7;
    s->acc = take_int32(s, s->count, limit);
}

static void draw_words(scene *s) {
    draw_code_block(s, INT32_MAX);
    s->relu = draw();
}

static void run_words(const fdl_kernels *kernels, scene *s) {
    uint32_t seed[2] = {s->relu, ~s->relu * 5};
    kernels->words((uint32_t *)s->acc, s->count % 33, s->relu % 1000, s->relu % 3, seed);
}

static void draw_measure(scene *s) {
    s->count = draw_length(1024);
    s->shift = draw_in(0, 13);
    s->acc = take_int32(s, s->count, draw() % 2 ? INT32_MAX : 1 << draw() % 31);
    s->magnitude = take(s, 4, sizeof *s->magnitude);
}

static void run_measure(const fdl_kernels *kernels, scene *s) {
    fdl_measured measured = {5, 64};
    kernels->measure(&measured, s->acc, s->count, s->shift);
    memcpy(s->magnitude, &measured.squares, sizeof measured.squares);
    s->magnitude[2] = measured.magnitude;
}

/* Also of orders in which all values are few. */
static void draw_order(scene *s) {
    draw_code_block(s, 1 << 24);
    s->x_count = (size_t)draw_in(1, draw() % 2 ? 40 : 3000);
    s->g = take_int32(s, s->x_count, INT32_MAX);
    s->shift = draw() % 2 ? draw_in(14, 30) : draw_in(-27, 54);
    s->at[0] = draw() % (uint32_t)s->x_count;
    s->at[1] = draw() % (uint32_t)s->x_count;
    s->relu = draw() % 4 ? (uint32_t)s->count : draw() % (uint32_t)s->count;
}

static fdl_order order_of(const scene *s) {
    return (fdl_order){s->at[0], s->at[1], (uint32_t)s->x_count};
}

static void run_gather(const fdl_kernels *kernels, scene *s) {
    kernels->gather(s->acc, s->relu, order_of(s), s->g);
}

static void run_scatter(const fdl_kernels *kernels, scene *s) {
    fdl_gain gain = {(int32_t)(s->at[0] * 77 % 1024 + 1024) << 15, s->shift};
    kernels->scatter(s->g, order_of(s), s->acc, s->relu, gain);
}

static void draw_to_spread(scene *s) {
    s->shift = draw_in(0, 13);
    draw_code_block(s, (1 << 18) - 1);
    for (size_t i = 0; i < s->count; i++)
        s->acc[i] *= 1 << s->shift;
    s->relu = draw() % 6;
}

static void run_to_spread(const fdl_kernels *kernels, scene *s) {
    fdl_unit unit = {s->shift, (int32_t)s->relu, (1 << 30) + 12345};
    kernels->to_spread(s->acc, s->count, &unit);
}

static void draw_rotate(scene *s) {
    draw_code_block(s, 1 << 20);
    s->shift = draw_in(2, 5);
    s->g = take_int32(s, FDL_SIGN_WORDS, INT32_MAX);
}

static void run_rotate(const fdl_kernels *kernels, scene *s) {
    kernels->rotate(s->acc, s->count, (const uint32_t *)s->g, s->shift);
}

static void run_rotate_back(const fdl_kernels *kernels, scene *s) {
    kernels->rotate_back(s->acc, s->count, (const uint32_t *)s->g, s->shift);
}

#define LEVELS 40

static void draw_quantise(scene *s) {
    draw_code_block(s, draw() % 4 ? 4000 : FDL_MOST_SPREAD);
    s->g = take_int32(s, LEVELS, 0);
    for (int32_t k = 0; k < LEVELS; k++)
        s->g[k] = 4000 * k + draw_in(0, 999) * (k > 0);
    s->shift = draw_in(16, 4600);
    s->relu = draw() % (uint32_t)s->shift;
    s->magnitude = take(s, 4, sizeof *s->magnitude);
}

static void run_quantise(const fdl_kernels *kernels, scene *s) {
    uint32_t step = (uint32_t)s->shift;
    fdl_sums sums = {3, -7};
    fdl_scalar by = {(const uint32_t *)s->g, UINT32_MAX / step + 1, s->relu, LEVELS - 1, 4 * step};
    kernels->quantise(s->acc, s->count, &by, &sums);
    memcpy(s->magnitude, &sums, sizeof sums);
}

typedef struct {
    const char *name;
    void (*draw)(scene *s);
    void (*run)(const fdl_kernels *kernels, scene *s);
} function;

static const function FUNCTIONS[] = {
    {"dot", draw_dot, run_dot},
    {"spread", draw_spread, run_spread},
    {"gradient", draw_gradient, run_gradient},
    {"apply", draw_apply, run_apply},
    {"descend", draw_descend, run_descend},
    {"descend_one", draw_descend_one, run_descend_one},
    {"magnitude", draw_magnitude, run_magnitude},
    {"mask", draw_mask, run_mask},
    {"scale", draw_scale, run_scale},
    {"add_up", draw_add_up, run_add_up},
    {"shift", draw_shift, run_shift},
    {"subtract", draw_subtract, run_subtract},
    {"has_lowest", draw_has_lowest, run_has_lowest},
    {"softmax", draw_softmax, run_softmax},
    {"narrow", draw_narrow, run_narrow},
    {"words", draw_words, run_words},
    {"measure", draw_measure, run_measure},
    {"gather", draw_order, run_gather},
    {"scatter", draw_order, run_scatter},
    {"to_spread", draw_to_spread, run_to_spread},
    {"rotate", draw_rotate, run_rotate},
    {"rotate_back", draw_rotate, run_rotate_back},
    {"quantise", draw_quantise, run_quantise},
};

/* Leaves anything but zeros where the next function has its variables. */
static void litter_stack(void) {
    volatile uint8_t bytes[65536];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + 0x55);
}

/* Whether the next case gives the same results twice; the shape is printed if not. */
static int passes(const function *f, const fdl_kernels *kernels) {
    scene plain = {0}, fast = {0};
    uint64_t before = state;
    f->draw(&plain);
    state = before;
    f->draw(&fast);
    f->run(&fdl_plain, &plain);
    litter_stack();
    int passed = 1, is_woven = tall_of(kernels) > 1 && fast.block.at != NULL;
    fdl_block rows = fast.block;
    if (is_woven && f->run != run_apply)
        rows = weave(tall_of(kernels), &fast.block);
    f->run(kernels, &fast);
    if (is_woven && f->run != run_apply)
        passed = unweave(tall_of(kernels), &fast.block, rows);
    passed = passed && same(&plain, &fast);
    if (!passed)
        printf("%s of %s differs: %zu windows, %zu rows of %zu, step %zu, count %zu, shift %d, "
               "relu %u\n",
               f->name, kernels->name, fast.windows.n, fast.block.rows, fast.block.len,
               fast.block.step, fast.count, fast.shift, fast.relu);
    discard(&plain);
    discard(&fast);
    return passed;
}

static const fdl_kernels *find_table(const char *name) {
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++)
        if (strcmp(TABLES[i]->name, name) == 0)
            return TABLES[i];
    printf("no table %s in this build\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    state = strtoull(argv[1], NULL, 10);
    unsigned long cases = strtoul(argv[2], NULL, 10);
    tested = find_table(argv[3]);
    for (size_t f = 0; f < sizeof FUNCTIONS / sizeof *FUNCTIONS; f++)
        for (unsigned long i = 0; i < cases; i++)
            if (!passes(&FUNCTIONS[f], tested))
                return 1;
    return 0;
}
