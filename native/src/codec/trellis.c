/* The way of least cost through the trellis (Viterbi 1967; Fischer and Wang 1992). */
#include "trellis.h"
#include "../loops/isa.h"
#include "../net/net.h"

#if !FDL_WITHOUT_CODEC && !FDL_WITHOUT_TRELLIS

#define UNREACHED (1 << 29)

/* Bytes of the bits of all states. */
static size_t way_bytes(fdl_register by) {
    return by.states / 8;
}

static size_t entries_size(const fdl_code_table *table, uint32_t q) {
    return fdl_round_up((table->levels[q] + 2u) * sizeof(uint32_t));
}

size_t fdl_trellis_size(const fdl_code *code) {
    const fdl_code_table *table = fdl_table_of(code);
    fdl_register by = fdl_register_of(code->quantiser);
    size_t size = entries_size(table, 0) + entries_size(table, 1) + by.states * sizeof(int32_t);
    size += fdl_longest_chain(code) * way_bytes(by);
#if FDL_TALL > 1
    size += by.states * sizeof(uint16_t) + sizeof(fdl_trellis_costs);
#endif
    return size;
}

/* Where a level stands, in 1/64 of a step, to nearest. */
static int32_t near_level(const fdl_code_table *table, uint32_t q, uint32_t k) {
    uint32_t d = table->step;
    return (int32_t)((32u * table->level[q][k] + d) / (2 * d));
}

static void list_entries(uint32_t *entries, const fdl_code_table *table, uint32_t q) {
    uint32_t levels = table->levels[q];
    for (uint32_t k = 0; k <= levels + 1; k++) {
        uint32_t known = (uint32_t)smaller(k, levels);
        int32_t off = near_level(table, q, known) - 64 * (int32_t)known;
        entries[k] = (uint16_t)off | (uint32_t)table->cost[q][k] << 16;
    }
}

static int32_t cost_of_distance(int32_t distance) {
    int32_t h = fdl_min32(distance, FDL_FARTHEST);
    return h * fdl_min32(h, FDL_BENT) >> 2;
}

#if FDL_TALL > 1
/* The most that a place costs: the nearest of two magnitudes is within a step of where it would
 * stand if all were alike. */
static int32_t most_cost(const fdl_trellis *trellis) {
    int32_t most = 0;
    for (uint32_t q = 0; q < 2; q++)
        for (uint32_t k = 0; k <= trellis->table->levels[q] + 1u; k++) {
            int32_t off = (int16_t)trellis->entries[q][k] + 32 * (int32_t)q;
            int32_t cost = cost_of_distance(64 + (int32_t)fdl_magnitude(off));
            most = fdl_max32(most, cost + (int32_t)(trellis->entries[q][k] >> 16));
        }
    return most;
}

/* NULL: there are none here, or a sum might leave 16 bits. */
static fdl_code_paths *paths_of(const fdl_trellis *trellis) {
    int has_32 = trellis->states.states == 32;
    int32_t most = has_32 ? FDL_MOST_COST_32 : FDL_MOST_COST;
    fdl_code_paths *paths = has_32 ? trellis->loops->paths_32 : trellis->loops->paths;
    return most_cost(trellis) <= most ? paths : NULL;
}
#endif

void fdl_start_trellis(fdl_trellis *trellis, const fdl_code *code, const fdl_kernels *loops,
                       void *memory) {
    uint8_t *free = memory;
    const fdl_code_table *table = fdl_table_of(code);
    trellis->loops = loops;
    trellis->table = table;
    trellis->states = fdl_register_of(code->quantiser);
    trellis->by.inverse = (1u << 22) / table->step;
    trellis->by.mask = table->mask;
    for (uint32_t q = 0; q < 2; q++) {
        trellis->entries[q] = fdl_take(&free, entries_size(table, q));
        list_entries(trellis->entries[q], table, q);
        trellis->by.entries[q] = trellis->entries[q];
        trellis->by.last[q] = table->levels[q] + 1;
    }
    trellis->ways = fdl_take(&free, trellis->states.states * sizeof *trellis->ways);
    trellis->way = fdl_take(&free, fdl_longest_chain(code) * way_bytes(trellis->states));
#if FDL_TALL > 1
    trellis->find_paths = paths_of(trellis);
    trellis->short_ways = fdl_take(&free, trellis->states.states * sizeof *trellis->short_ways);
    trellis->costs = trellis->find_paths != NULL ? (void *)free : NULL;
#endif
}

/* ---- Place by place ---- */

/* |z| in 1/64 of a step. */
static inline int32_t place_of(const fdl_trellis *trellis, uint32_t z) {
    uint64_t a = ((uint64_t)z * trellis->by.inverse + 0x8000) >> 16;
    return a < FDL_MOST_PLACE ? (int32_t)a : FDL_MOST_PLACE;
}

/* What a magnitude of a subset costs a value. */
static inline int32_t cost_of(const fdl_trellis *trellis, int32_t a, uint32_t q, int32_t k) {
    uint32_t entry = trellis->entries[q][fdl_min32(k, trellis->by.last[q])];
    int32_t off = a - 64 * k - (int16_t)entry;
    return cost_of_distance((int32_t)fdl_magnitude(off)) + (int32_t)(entry >> 16);
}

typedef struct {
    int32_t k, cost;
} choice;

/* The better of the two magnitudes of a parity that are near. */
static inline choice choose(const fdl_trellis *trellis, int32_t a, uint32_t q, int32_t odd) {
    int32_t f = (a + 32 * (int32_t)q) >> 6, upper = odd ? f | 1 : (f + 1) & ~1;
    int32_t lower = fdl_max32(upper - 2, odd);
    choice up = {upper, cost_of(trellis, a, q, upper)};
    choice down = {lower, cost_of(trellis, a, q, lower)};
    return down.cost < up.cost ? down : up;
}

/* Costs of a place: of even and odd magnitudes of both subsets. */
static void cost_all(const fdl_trellis *trellis, int32_t a, int32_t costs[2][2]) {
    for (uint32_t q = 0; q < 2; q++)
        for (int32_t odd = 0; odd < 2; odd++)
            costs[q][odd] = choose(trellis, a, q, odd).cost;
}

/* The cheaper of two ways to a state, and whether it is the one from the upper state before it. */
static inline uint32_t meet(int32_t *way, int32_t lower, int32_t upper) {
    *way = fdl_min32(lower, upper);
    return upper < lower;
}

/* One place further: costs of all ways; returns from where each state is reached. Two states lead to
 * the same two: by an even magnitude from the lower one and an odd one from the upper, and the other
 * way round. */
static uint32_t advance(fdl_register by, uint32_t mask, int32_t *ways, int32_t costs[2][2]) {
    int32_t next[FDL_MOST_STATES];
    uint32_t from = 0, apart = 2 * by.input;
    for (uint32_t s = 0; s < by.states; s++) {
        if (s & apart)
            continue;
        uint32_t t = fdl_next_state(by, s, 0);
        const int32_t *of = costs[fdl_subset_of(mask, s)];
        int32_t lower = ways[s], upper = ways[s + apart];
        from |= meet(&next[t], lower + of[0], upper + of[1]) << t;
        from |= meet(&next[t + by.input], lower + of[1], upper + of[0]) << (t + by.input);
    }
    for (uint32_t t = 0; t < by.states; t++)
        ways[t] = next[t];
    return from;
}

static void go_all_ways(fdl_trellis *trellis, const int32_t *block, size_t length, uint8_t *way) {
    int32_t costs[2][2];
    for (size_t i = 0; i < length; i++) {
        cost_all(trellis, place_of(trellis, fdl_magnitude(block[i])), costs);
        uint32_t from = advance(trellis->states, trellis->by.mask, trellis->ways, costs);
        for (uint32_t t = 0; t < trellis->states.states; t += 8)
            *way++ = (uint8_t)(from >> t);
    }
}

static inline int32_t chosen(const fdl_trellis *trellis, size_t i, int32_t z, uint32_t q,
                             uint32_t odd) {
#if FDL_TALL > 1
    if (trellis->costs != NULL)
        return trellis->costs->k[2 * q + odd][i];
#endif
    (void)i;
    return choose(trellis, place_of(trellis, fdl_magnitude(z)), q, (int32_t)odd).k;
}

/* ---- Whole blocks ---- */

void fdl_begin_ways(fdl_trellis *trellis) {
    trellis->places = 0;
    for (uint32_t t = 0; t < trellis->states.states; t++)
        trellis->ways[t] = t == 0 ? 0 : UNREACHED;
#if FDL_TALL > 1
    for (uint32_t t = 0; t < trellis->states.states; t++)
        trellis->short_ways[t] = t == 0 ? 0 : UINT16_MAX;
#endif
}

#if FDL_TALL > 1
static void cost_block(fdl_trellis *trellis, const int32_t *block, size_t length) {
    trellis->loops->costs(&trellis->by, block, length, trellis->costs);
    trellis->costed = block;
}
#endif

void fdl_go_on(fdl_trellis *trellis, const int32_t *block, size_t length) {
    uint8_t *way = trellis->way + trellis->places * way_bytes(trellis->states);
    trellis->places += length;
#if FDL_TALL > 1
    if (trellis->costs != NULL) {
        cost_block(trellis, block, length);
        trellis->find_paths(&trellis->by, trellis->costs, length, trellis->short_ways, way);
        for (uint32_t t = 0; t < trellis->states.states; t++)
            trellis->ways[t] = trellis->short_ways[t];
    } else
#endif
        go_all_ways(trellis, block, length, way);
    trellis->state = 0;
    for (uint32_t t = 1; t < trellis->states.states; t++)
        if (trellis->ways[t] < trellis->ways[trellis->state])
            trellis->state = t;
}

/* Where a way came from: a state and the parity of the magnitude that left it. */
typedef struct {
    uint32_t state, odd;
} origin;

static INLINE origin before(fdl_register by, uint32_t t, uint32_t is_upper) {
    uint32_t q = t / (by.states / 2), even = t ^ by.feedback * q;
    uint32_t lower = 2 * (even & ~by.input) + q;
    return (origin){lower + 2 * by.input * is_upper, (uint32_t)((even & by.input) != 0) ^ is_upper};
}

static INLINE void go_back(fdl_trellis *trellis, int32_t *block, size_t length, fdl_sums *sums,
                           const fdl_register by, const uint32_t mask) {
    const uint8_t *way = trellis->way + trellis->places * way_bytes(by);
    int64_t squares = 0, products = 0;
    uint32_t t = trellis->state;
    while (length-- > 0) {
        int32_t z = block[length], sign = z >> 31;
        way -= way_bytes(by);
        origin from = before(by, t, way[t / 8] >> t % 8 & 1);
        uint32_t q = fdl_subset_of(mask, from.state);
        int32_t k = chosen(trellis, length, z, q, from.odd);
        squares += (int64_t)z * z;
        products += (int64_t)((z ^ sign) - sign) * fdl_level(trellis->table, q, (uint32_t)k);
        block[length] = 2 * ((k ^ sign) - sign) + (int32_t)q;
        t = from.state;
    }
    trellis->state = t;
    sums->squares += (uint64_t)squares;
    sums->products += products;
}

void fdl_go_back(fdl_trellis *trellis, int32_t *block, size_t length, fdl_sums *sums) {
#if FDL_TALL > 1
    if (trellis->costs != NULL && trellis->costed != block)
        cost_block(trellis, block, length);
#endif
    if (trellis->states.states == 8)
        go_back(trellis, block, length, sums, fdl_register_of(FDL_TRELLIS), 1);
    else
        go_back(trellis, block, length, sums, fdl_register_of(FDL_TRELLIS_32), trellis->by.mask);
    trellis->places -= length;
}

#endif
