/* Words into symbols. */
#include "symbols.h"
#include "../net/net.h"

#if !FDL_WITHOUT_CODEC

/* A small processor has no room for each slot: from the first of 64 it goes on by steps. */
#if FDL_TALL > 1
#define COARSE 0
#else
#define COARSE 6
#endif
#define FIRSTS ((1u << FDL_SLOT_BITS) >> COARSE)

static uint32_t subsets_of(const fdl_code *code) {
    return fdl_has_trellis(code) ? 2 : 1;
}

static size_t symbols_of(const fdl_code_table *table, uint32_t q) {
    return 2 * (size_t)table->levels[q] + 2;
}

/* One more symbol begins where all slots end. */
static size_t subset_size(const fdl_code_table *table, uint32_t q) {
    return fdl_round_up((symbols_of(table, q) + 1) * sizeof(fdl_symbol)) +
           fdl_round_up(FIRSTS * sizeof(uint16_t));
}

size_t fdl_reader_size(const fdl_code *code) {
    size_t size = 0;
    for (uint32_t q = 0; q < subsets_of(code); q++)
        size += subset_size(fdl_table_of(code), q);
    return size;
}

static int32_t level_of(const fdl_reader *reader, uint32_t q, uint32_t k) {
    if (reader->quantiser == FDL_DITHER)
        return (int32_t)(4 * k * reader->table->step);
    return fdl_level(reader->table, q, k);
}

/* Symbol j is k = 0, 1, -1, 2, -2, ... */
static void list_symbols(const fdl_reader *reader, fdl_symbol *symbols, uint32_t q) {
    uint32_t before = 0, count = (uint32_t)symbols_of(reader->table, q);
    for (uint32_t j = 0; j < count; j++) {
        uint32_t k = (j + 1) / 2, share = reader->table->frequency[q][k];
        int32_t level = level_of(reader, q, k);
        symbols[j] = (fdl_symbol){(uint16_t)share, (uint16_t)before, j % 2 ? level : -level};
        before += share;
    }
    symbols[count] = (fdl_symbol){0, (uint16_t)before, 0};
}

static void list_firsts(uint16_t *first, const fdl_symbol *symbols) {
    uint32_t j = 0;
    for (uint32_t i = 0; i < FIRSTS; i++) {
        while (i << COARSE >= symbols[j + 1].before)
            j++;
        first[i] = (uint16_t)j;
    }
}

void fdl_start_reader(fdl_reader *reader, const fdl_code *code, void *memory, const uint8_t *words,
                      const uint8_t *end) {
    uint8_t *free = memory;
    *reader = (fdl_reader){.table = fdl_table_of(code),
                           .quantiser = code->quantiser,
                           .subsets = (uint8_t)subsets_of(code),
                           .source = {.at = words, .end = end}};
    for (uint32_t q = 0; q < reader->subsets; q++) {
        fdl_symbol *symbols = fdl_take(&free, (symbols_of(reader->table, q) + 1) * sizeof *symbols);
        uint16_t *first = fdl_take(&free, FIRSTS * sizeof *first);
        list_symbols(reader, symbols, q);
        list_firsts(first, symbols);
        reader->symbols[q] = symbols;
        reader->first[q] = first;
    }
}

/* Most are 0, so they are searched from there. */
int32_t fdl_take_gain(fdl_reader *reader) {
    uint32_t *state = &reader->source.state[0], offset = fdl_slot(*state), j = 0;
    while (offset >= fdl_gain_frequency[(j + 1) / 2]) {
        offset -= fdl_gain_frequency[(j + 1) / 2];
        j++;
    }
    int32_t k = (int32_t)(j + 1) / 2;
    *state = fdl_take_share(&reader->source, *state, fdl_gain_frequency[k], offset);
    if (k <= FDL_GAIN_LEVELS)
        return j % 2 ? k : -k;
    uint32_t raw = fdl_take_raw(&reader->source, state, FDL_RAW_BITS);
    k += (int32_t)(raw / 2);
    return raw % 2 ? -k : k;
}

/* What a loop over places has in registers: of a subset its symbols, the last of which is the
 * escape. */
typedef struct {
    const fdl_symbol *symbols, *escape;
    const uint16_t *first;
    uint32_t q;
} subset;

static subset subset_of(const fdl_reader *reader, uint32_t q) {
    const fdl_symbol *symbols = reader->symbols[q];
    return (subset){symbols, symbols + symbols_of(reader->table, q) - 1, reader->first[q], q};
}

/* The symbol that the state lies in. */
static INLINE const fdl_symbol *take_symbol(fdl_reader *reader, uint32_t *state, const subset *of) {
    uint32_t slot = fdl_slot(*state);
    const fdl_symbol *symbol = of->symbols + of->first[slot >> COARSE];
    if (COARSE > 0)
        while (slot >= symbol[1].before)
            symbol++;
    *state = fdl_take_share(&reader->source, *state, symbol->share, slot - symbol->before);
    return symbol;
}

/* A magnitude beyond those with symbols. */
FDL_NOINLINE static uint32_t take_escaped(fdl_reader *reader, uint32_t *state, uint32_t q,
                                          int32_t *level) {
    uint32_t raw = fdl_take_raw(&reader->source, state, FDL_RAW_BITS),
             k = reader->table->levels[q] + 1u + raw / 2;
    *level = level_of(reader, q, k);
    if (raw % 2)
        *level = -*level;
    return k;
}

static INLINE uint32_t take_beyond(fdl_reader *reader, uint32_t *state, uint32_t q,
                                   int32_t *level) {
    uint32_t copy = *state, k = take_escaped(reader, &copy, q, level);
    *state = copy;
    return k;
}

/* The level of a place. */
static INLINE void take_level(fdl_reader *reader, uint32_t *state, const subset *of,
                              int32_t *level) {
    const fdl_symbol *symbol = take_symbol(reader, state, of);
    if (symbol == of->escape)
        take_beyond(reader, state, of->q, level);
    else
        *level = symbol->level;
}

static void take_levels(fdl_reader *reader, int32_t *levels, size_t length) {
    subset only = subset_of(reader, 0);
    uint32_t even = reader->source.state[0], odd = reader->source.state[1];
    for (const int32_t *end = levels + length; levels != end; levels += 2) {
        take_level(reader, &even, &only, &levels[0]);
        take_level(reader, &odd, &only, &levels[1]);
    }
    reader->source.state[0] = even;
    reader->source.state[1] = odd;
}

/* The same, and whether |k| is odd. */
static INLINE uint32_t take_step(fdl_reader *reader, uint32_t *state, const subset *of,
                                 int32_t *level) {
    const fdl_symbol *symbol = take_symbol(reader, state, of);
    if (symbol == of->escape)
        return take_beyond(reader, state, of->q, level) & 1;
    *level = symbol->level;
    return (uint32_t)(symbol - of->symbols + 1) >> 1 & 1;
}

/* Where a trellis is, and the subset of that state. */
typedef struct {
    uint32_t state;
    const subset *of;
} position;

/* Each place waits for the one before: where both parities lead is found before one is read. */
static INLINE position take_place(fdl_reader *reader, uint32_t *state, const subset both[2],
                                  position at, int32_t *level, fdl_register by, uint32_t mask) {
    uint32_t even = fdl_next_state(by, at.state, 0), odd = fdl_next_state(by, at.state, 1);
    const subset *of_even = &both[fdl_subset_of(mask, even)];
    const subset *of_odd = &both[fdl_subset_of(mask, odd)];
    uint32_t is_odd = take_step(reader, state, at.of, level);
    return is_odd ? (position){odd, of_odd} : (position){even, of_even};
}

static INLINE void take_places(fdl_reader *reader, int32_t *levels, size_t length,
                               const fdl_register by, const uint32_t mask) {
    const subset both[2] = {subset_of(reader, 0), subset_of(reader, 1)};
    uint32_t even = reader->source.state[0], odd = reader->source.state[1];
    uint32_t state = fdl_begins_chain(reader->quantiser, reader->place) ? 0 : reader->state;
    position at = {state, &both[fdl_subset_of(mask, state)]};
    for (const int32_t *end = levels + length; levels != end; levels += 2) {
        at = take_place(reader, &even, both, at, &levels[0], by, mask);
        at = take_place(reader, &odd, both, at, &levels[1], by, mask);
    }
    reader->source.state[0] = even;
    reader->source.state[1] = odd;
    reader->state = at.state;
    reader->place += (uint32_t)length;
}

static void take_trellis(fdl_reader *reader, int32_t *levels, size_t length) {
    if (reader->quantiser == FDL_TRELLIS)
        take_places(reader, levels, length, fdl_register_of(FDL_TRELLIS), 1);
    else
        take_places(reader, levels, length, fdl_register_of(FDL_TRELLIS_32), reader->table->mask);
}

static void take_dither(const fdl_reader *reader, int32_t *levels, size_t length,
                        const uint16_t *dither) {
    for (size_t i = 0; i < length; i++) {
        int32_t u = fdl_dither_of(reader->table, dither[i]);
        levels[i] = fdl_clamp32(levels[i] - 4 * u, -FDL_MOST_LEVEL, FDL_MOST_LEVEL);
    }
}

void fdl_take_block(fdl_reader *reader, int32_t *levels, size_t length, const uint16_t *dither) {
    if (reader->subsets == 2)
        take_trellis(reader, levels, length);
    else
        take_levels(reader, levels, length);
    if (reader->quantiser == FDL_DITHER)
        take_dither(reader, levels, length, dither);
}

#endif
