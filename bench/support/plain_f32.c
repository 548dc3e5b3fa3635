/* Training in float32, in the plain C that one writes for a compiler to vectorise: what the kernel
 * is held against, in speed and in accuracy. No intrinsics. Layers and losses are those of
 * native/NUMERICS.md: dense, one-dimensional conv without padding, global average pool.
 *
 * Compiled with -DINPUTS=, -DHIDDEN=, -DOUTPUTS= and -DBATCH= it trains that one net of two dense
 * layers, and of a full batch without momentum the compiler knows every size. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef ROWS
#define ROWS 4 /* rows that one pass over a row of sums adds to it */
#endif

enum { RECONSTRUCTION = 3, MAX_LAYERS = 16 };

/* A layer reads `positions` windows of `span` values, `step` apart, and gives `out` values for each
 * of them; a pool (span 0) gives the means of `positions` times `out` values. */
struct shape {
    size_t inputs, positions, step, span, out, relu;
};

/* What a layer keeps while it learns. */
struct layer {
    float *w, *b;   /* [span][out], [out] */
    float *vw, *vb; /* their velocities */
    float *turned;  /* w as [out][span] */
    float *y, *d;   /* [n][outputs], and their errors */
};

struct net {
    struct shape shapes[MAX_LAYERS];
    struct layer layers[MAX_LAYERS];
    size_t count;
    int loss;
    float lr, momentum;
};

static size_t outputs(struct shape s) {
    return s.span ? s.positions * s.out : s.out;
}

/* ---- Sums of a layer; n examples ---- */

/* y += a[0] * x[0] + a[a_step] * x[1] + ..., `rows` rows x of `len` values. */
static inline void add_rows(float *restrict y, const float *restrict a, size_t a_step,
                            const float *restrict x, size_t rows, size_t len) {
    size_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) {
        for (size_t j = 0; j < len; j++) {
            float sum = y[j];
            for (size_t k = 0; k < ROWS; k++)
                sum += a[(r + k) * a_step] * x[(r + k) * len + j];
            y[j] = sum;
        }
    }
    for (size_t rest = rows % ROWS; rest > 0; rest--, r++) {
        for (size_t j = 0; j < len; j++)
            y[j] += a[r * a_step] * x[r * len + j];
    }
}

/* A few rows of weights, while they are in the cache, for all windows of all examples. */
static inline void weigh(struct shape s, const struct layer *l, const float *x, size_t n) {
    size_t size = s.positions * s.out;
    for (size_t r = 0; r < n * s.positions; r++)
        memcpy(l->y + r * s.out, l->b, sizeof(float) * s.out);
    for (size_t i = 0; i < s.span; i += ROWS) {
        size_t some = s.span - i < ROWS ? s.span - i : ROWS;
        for (size_t e = 0; e < n; e++) {
            for (size_t p = 0; p < s.positions; p++)
                add_rows(l->y + e * size + p * s.out, x + e * s.inputs + p * s.step + i, 1,
                         l->w + i * s.out, some, s.out);
        }
    }
    for (size_t i = 0; s.relu && i < n * size; i++)
        l->y[i] = l->y[i] > 0 ? l->y[i] : 0;
}

/* The errors d of the inputs. */
static inline void weigh_back(struct shape s, const struct layer *l, float *restrict d, size_t n) {
    size_t size = s.positions * s.out;
    for (size_t i = 0; i < s.span; i++) {
        for (size_t o = 0; o < s.out; o++)
            l->turned[o * s.span + i] = l->w[i * s.out + o];
    }
    memset(d, 0, sizeof(float) * n * s.inputs);
    for (size_t e = 0; e < n; e++) {
        for (size_t p = 0; p < s.positions; p++)
            add_rows(d + e * s.inputs + p * s.step, l->d + e * size + p * s.out, 1, l->turned,
                     s.out, s.span);
    }
}

/* w += the sum of windows times errors, b += the sum of errors. */
static inline void add_slopes(struct shape s, float *w, float *b, const float *x, const float *d,
                              size_t n) {
    for (size_t r = 0; r < n * s.positions; r++) {
        for (size_t o = 0; o < s.out; o++)
            b[o] += d[r * s.out + o];
    }
    if (s.positions == 1) {
        for (size_t i = 0; i < s.span; i++)
            add_rows(w + i * s.out, x + i, s.inputs, d, n, s.out);
        return;
    }
    for (size_t i = 0; i < s.span; i++) {
        for (size_t e = 0; e < n; e++)
            add_rows(w + i * s.out, x + e * s.inputs + i, s.step, d + e * s.positions * s.out,
                     s.positions, s.out);
    }
}

static void average(struct shape s, const struct layer *l, const float *x, size_t n) {
    memset(l->y, 0, sizeof(float) * n * s.out);
    for (size_t r = 0; r < n * s.positions; r++) {
        for (size_t o = 0; o < s.out; o++)
            l->y[r / s.positions * s.out + o] += x[r * s.out + o] / (float)s.positions;
    }
}

static void average_back(struct shape s, const struct layer *l, float *d, size_t n) {
    for (size_t r = 0; r < n * s.positions; r++) {
        for (size_t o = 0; o < s.out; o++)
            d[r * s.out + o] = l->d[r / s.positions * s.out + o] / (float)s.positions;
    }
}

/* ---- A step ---- */

/* z becomes the slope of the mean cross-entropy. */
static inline void softmax_error(float *z, const uint8_t *y, size_t n, size_t out) {
    for (size_t e = 0; e < n; e++, z += out) {
        float largest = z[0], sum = 0;
        for (size_t o = 1; o < out; o++)
            largest = z[o] > largest ? z[o] : largest;
        for (size_t o = 0; o < out; o++)
            sum += z[o] = expf(z[o] - largest);
        for (size_t o = 0; o < out; o++)
            z[o] = (z[o] / sum - (float)(o == y[e])) / (float)n;
    }
}

static void square_error(float *z, const float *x, size_t n, size_t out) {
    for (size_t i = 0; i < n * out; i++)
        z[i] = (z[i] - x[i]) / (float)n;
}

static inline void mask(float *restrict d, const float *restrict y, size_t count) {
    for (size_t i = 0; i < count; i++)
        d[i] = y[i] > 0 ? d[i] : 0;
}

static void forward(const struct net *net, const float *x, size_t n) {
    for (size_t i = 0; i < net->count; i++) {
        if (net->shapes[i].span)
            weigh(net->shapes[i], &net->layers[i], x, n);
        else
            average(net->shapes[i], &net->layers[i], x, n);
        x = net->layers[i].y;
    }
}

static void backward(const struct net *net, size_t n) {
    for (size_t i = net->count - 1; i > 0; i--) {
        const struct layer *below = &net->layers[i - 1];
        if (net->shapes[i].span)
            weigh_back(net->shapes[i], &net->layers[i], below->d, n);
        else
            average_back(net->shapes[i], &net->layers[i], below->d, n);
        if (net->shapes[i - 1].relu)
            mask(below->d, below->y, n * outputs(net->shapes[i - 1]));
    }
}

static inline void scale(float *values, size_t count, float by) {
    for (size_t i = 0; i < count; i++)
        values[i] *= by;
}

static inline void descend(struct shape s, const struct layer *l, const float *x, size_t n,
                           float lr) {
    scale(l->d, n * outputs(s), -lr);
    add_slopes(s, l->w, l->b, x, l->d, n);
}

static void descend_with_velocity(const struct net *net, struct shape s, const struct layer *l,
                                  const float *x, size_t n) {
    scale(l->d, n * outputs(s), -net->lr);
    scale(l->vw, s.span * s.out, net->momentum);
    scale(l->vb, s.out, net->momentum);
    add_slopes(s, l->vw, l->vb, x, l->d, n);
    for (size_t i = 0; i < s.span * s.out; i++)
        l->w[i] += l->vw[i];
    for (size_t o = 0; o < s.out; o++)
        l->b[o] += l->vb[o];
}

static void step(const struct net *net, const float *x, const uint8_t *y, size_t n) {
    const struct layer *last = &net->layers[net->count - 1];
    size_t out = outputs(net->shapes[net->count - 1]);
    forward(net, x, n);
    memcpy(last->d, last->y, sizeof(float) * n * out);
    if (net->loss == RECONSTRUCTION)
        square_error(last->d, x, n, out);
    else
        softmax_error(last->d, y, n, out);
    backward(net, n);
    for (size_t i = 0; i < net->count; i++) {
        const float *in = i ? net->layers[i - 1].y : x;
        if (net->shapes[i].span && net->momentum > 0)
            descend_with_velocity(net, net->shapes[i], &net->layers[i], in, n);
        else if (net->shapes[i].span)
            descend(net->shapes[i], &net->layers[i], in, n, net->lr);
    }
}

#ifdef INPUTS

static const struct shape FIRST = {INPUTS, 1, 0, INPUTS, HIDDEN, 1};
static const struct shape LAST = {HIDDEN, 1, 0, HIDDEN, OUTPUTS, 0};

/* step() of the one net that is compiled in. */
static void step_two_layers(const struct net *net, const float *x, const uint8_t *y) {
    const struct layer *first = &net->layers[0], *last = &net->layers[1];
    weigh(FIRST, first, x, BATCH);
    weigh(LAST, last, first->y, BATCH);
    memcpy(last->d, last->y, sizeof(float) * BATCH * OUTPUTS);
    softmax_error(last->d, y, BATCH, OUTPUTS);
    weigh_back(LAST, last, first->d, BATCH);
    mask(first->d, first->y, BATCH * HIDDEN);
    descend(LAST, last, first->y, BATCH, net->lr);
    descend(FIRST, first, x, BATCH, net->lr);
}

#endif

/* ---- From outside ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The next `count` values of a block of memory, on a cache line; NULL of no memory. */
static float *take(float *memory, size_t *used, size_t count) {
    float *taken = memory ? memory + *used : NULL;
    *used += (count + 15) / 16 * 16;
    return taken;
}

/* Places for what n examples need; how many values that takes. */
static size_t place(struct net *net, float *memory, size_t n) {
    size_t used = 0;
    for (size_t i = 0; i < net->count; i++) {
        struct shape s = net->shapes[i];
        struct layer *l = &net->layers[i];
        l->w = take(memory, &used, s.span * s.out);
        l->b = take(memory, &used, s.out);
        l->vw = take(memory, &used, s.span * s.out);
        l->vb = take(memory, &used, s.out);
        l->turned = take(memory, &used, s.span * s.out);
        l->y = take(memory, &used, n * outputs(s));
        l->d = take(memory, &used, n * outputs(s));
    }
    return used;
}

/* Parameters outside: each layer's w as [out][span], and after all of them each layer's b. */
static void load(const struct net *net, const float *parameters) {
    for (size_t i = 0; i < net->count; i++) {
        struct shape s = net->shapes[i];
        for (size_t j = 0; j < s.span * s.out; j++)
            net->layers[i].w[j % s.span * s.out + j / s.span] = *parameters++;
    }
    for (size_t i = 0; i < net->count; i++) {
        for (size_t o = 0; net->shapes[i].span && o < net->shapes[i].out; o++)
            net->layers[i].b[o] = *parameters++;
    }
}

static void store(const struct net *net, float *parameters) {
    for (size_t i = 0; i < net->count; i++) {
        struct shape s = net->shapes[i];
        for (size_t j = 0; j < s.span * s.out; j++)
            *parameters++ = net->layers[i].w[j % s.span * s.out + j / s.span];
    }
    for (size_t i = 0; i < net->count; i++) {
        for (size_t o = 0; net->shapes[i].span && o < net->shapes[i].out; o++)
            *parameters++ = net->layers[i].b[o];
    }
}

/* Memory for n examples, with the parameters in it; NULL: there is none. */
static float *prepare(struct net *net, const struct shape *shapes, size_t count, size_t n,
                      const float *parameters) {
    net->count = count;
    memcpy(net->shapes, shapes, sizeof *shapes * count);
    size_t bytes = sizeof(float) * place(net, NULL, n);
    float *memory = aligned_alloc(64, bytes);
    if (memory == NULL)
        return NULL;
    memset(memory, 0, bytes);
    place(net, memory, n);
    load(net, parameters);
    return memory;
}

/* Train once on all of x [examples][inputs] and classes y, in their order; CPU seconds, or -1. */
double train(const struct shape *shapes, size_t count, int loss, float *parameters, const float *x,
             const uint8_t *y, size_t examples, size_t batch, float lr, float momentum) {
    struct net net = {.loss = loss, .lr = lr, .momentum = momentum};
    float *memory = prepare(&net, shapes, count, batch, parameters);
    if (memory == NULL)
        return -1;
    double start = now();
    for (size_t e = 0; e < examples; e += batch) {
        size_t n = examples - e < batch ? examples - e : batch;
#ifdef INPUTS
        if (n == BATCH && momentum == 0) {
            step_two_layers(&net, x + e * INPUTS, y + e);
            continue;
        }
#endif
        step(&net, x + e * shapes[0].inputs, y + e, n);
    }
    double seconds = now() - start;
    store(&net, parameters);
    free(memory);
    return seconds;
}

/* The last layer's outputs for x [examples][inputs]; 0, or -1. */
int predict(const struct shape *shapes, size_t count, const float *parameters, const float *x,
            size_t examples, float *logits) {
    struct net net = {0};
    float *memory = prepare(&net, shapes, count, 1, parameters);
    if (memory == NULL)
        return -1;
    size_t out = outputs(shapes[count - 1]);
    for (size_t e = 0; e < examples; e++) {
        forward(&net, x + e * shapes[0].inputs, 1);
        memcpy(logits + e * out, net.layers[count - 1].y, sizeof(float) * out);
    }
    free(memory);
    return 0;
}
