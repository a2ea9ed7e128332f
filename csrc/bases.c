/* bases.c: rows of a table, copied before each step and packed every ten seconds or so.
 *
 * Most of a row is of models that its devices never feed: there it is as a blank one. So a row is packed as
 * what differs from a blank one, words of eight bytes, XORed: of each word a code of four bits, and the bytes
 * between its zeros. 0 to 8 are so many low bytes, 9 to 15 one to seven high ones: whole numbers have zeros
 * above, doubles below. (Hosts are little-endian: decode.c.)
 */
#include <string.h>

#include "internal.h"

#define WORD 8u /* bytes */

static const uint8_t *often_of(const kf_table *table, int64_t row)
{
    return table->rows + (size_t)row * table->row_bytes;
}

static const uint8_t *seldom_of(const kf_table *table, int64_t row)
{
    return table->seldom + (size_t)row * table->seldom_bytes;
}

/* Whether something in bytes, whole words, is not zero. */
static bool is_used(const uint8_t *bytes, size_t size)
{
    uint64_t words[8], any = 0;
    size_t i = 0;

    for (; i + sizeof words <= size && any == 0; i += sizeof words) {
        memcpy(words, bytes + i, sizeof words);
        any = words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7];
    }
    for (; i < size && any == 0; i += WORD)
        memcpy(&any, bytes + i, WORD);
    return any != 0;
}

/* Copy a row; what is zero in both is not written to, and costs no memory. */
static void copy_row(const kf_table *to, const kf_table *from, int64_t row)
{
    const size_t size = from->seldom_bytes;
    uint8_t *seldom = to->seldom + (size_t)row * size;

    memcpy(to->rows + (size_t)row * to->row_bytes, often_of(from, row), from->row_bytes);
    if (is_used(seldom_of(from, row), size) || is_used(seldom, size))
        memcpy(seldom, seldom_of(from, row), size);
}

static int32_t slot_of(const kf_table *table, int64_t row, const kf_history *history)
{
    int32_t slot;

    memcpy(&slot, often_of(table, row) + history->slot_at, sizeof slot);
    return slot;
}

static kf_place place_of(const kf_history *history, int32_t slot)
{
    if (slot < 0)
        return (kf_place){-1, history->tenures, 0};
    return (kf_place){history->tenure[slot], history->flushed[slot], history->held[slot]};
}

/* The places of a row's histories at one of its bases; that behind them is of before its newest step. */
static kf_place *places_of(const kf_bases *bases, int64_t row, size_t at)
{
    return bases->places + ((size_t)row * (bases->base_count + 1) + at) * KF_HISTORIES;
}

static void put_places(const kf_bases *bases, const kf_table *state, int64_t row, size_t at)
{
    kf_place *places = places_of(bases, row, at);

    for (size_t h = 0; h < KF_HISTORIES; h++)
        places[h] = place_of(bases->histories[h], slot_of(state, row, bases->histories[h]));
}

/* Take a row's newest step back, but for its histories: their slots stay. */
static uint8_t take_back(const kf_bases *bases, const kf_table *state, int64_t row)
{
    const kf_place *before = places_of(bases, row, bases->base_count);
    int32_t slots[KF_HISTORIES];
    uint8_t verdict = KF_READY;

    for (size_t h = 0; h < KF_HISTORIES; h++)
        slots[h] = slot_of(state, row, bases->histories[h]);
    copy_row(state, bases->before, row);
    for (size_t h = 0; h < KF_HISTORIES; h++) {
        const kf_place now = place_of(bases->histories[h], slots[h]);
        const bool differs =
            now.tenure != before[h].tenure || now.dropped != before[h].dropped || now.held != before[h].held;

        memcpy(state->rows + (size_t)row * state->row_bytes + bases->histories[h]->slot_at, &slots[h],
               sizeof slots[h]);
        if (differs && (slots[h] >= 0 || before[h].tenure >= 0))
            verdict |= (uint8_t)(KF_MOVED << h);
    }
    return verdict;
}

void kf_bases_before(const kf_bases *bases, const kf_table *state, const int64_t *rows, const int64_t *t_ns,
                     const uint8_t *again, size_t count, uint8_t *verdicts)
{
    for (size_t i = 0; i < count; i++) {
        const int64_t row = rows[i];

        if (again[i]) {
            verdicts[i] = bases->newest_ns[row] == t_ns[i] ? take_back(bases, state, row) : 0;
            continue;
        }
        bases->newest_ns[row] = t_ns[i];
        copy_row(bases->before, state, row);
        put_places(bases, state, row, bases->base_count);
        verdicts[i] = KF_READY;
    }
}

/* The place of a base of t_ns among a row's: that of one of the same time, or else of the oldest. */
static size_t place_for(const int64_t *held_ns, size_t count, int64_t t_ns)
{
    size_t oldest = 0;

    for (size_t i = 0; i < count; i++) {
        if (held_ns[i] == t_ns)
            return i;
        if (held_ns[i] < held_ns[oldest])
            oldest = i;
    }
    return oldest;
}

/* Write a word's bytes between its zeros, and return its code. What is written behind them is anything. */
static unsigned pack_word(uint64_t word, uint8_t **at)
{
    unsigned low = 0, high = 0;

    if (word == 0)
        return 0;
    while (word >> (56 - 8 * high) == 0)
        high++;
    while ((word >> (8 * low) & 0xff) == 0)
        low++;
    const bool is_high = low > high;
    const unsigned count = WORD - (is_high ? low : high);

    word >>= is_high ? 8 * low : 0;
    memcpy(*at, &word, WORD);
    *at += count;
    return is_high ? WORD + count : count;
}

/* Pack words as they differ from others; blank NULL: from zeros. Returns where the packed ones end. */
static uint8_t *pack(const uint8_t *bytes, const uint8_t *blank, size_t size, uint8_t *packed)
{
    const size_t words = size / WORD;
    uint8_t *at = packed + (words + 1) / 2;

    memset(packed, 0, (words + 1) / 2);
    for (size_t i = 0; i < words; i++) {
        uint64_t word, other = 0;

        memcpy(&word, bytes + i * WORD, WORD);
        if (blank != NULL)
            memcpy(&other, blank + i * WORD, WORD);
        packed[i / 2] |= (uint8_t)(pack_word(word ^ other, &at) << (i % 2 * 4));
    }
    return at;
}

static const uint8_t *unpack(uint8_t *bytes, const uint8_t *blank, size_t size, const uint8_t *packed)
{
    const size_t words = size / WORD;
    const uint8_t *at = packed + (words + 1) / 2;

    for (size_t i = 0; i < words; i++) {
        const unsigned code = ((unsigned)packed[i / 2] >> (i % 2 * 4)) & 15u;
        const unsigned count = code > WORD ? code - WORD : code;
        uint64_t word = 0, other = 0;

        memcpy(&word, at, count);
        at += count;
        if (code > WORD)
            word <<= 8 * (WORD - count);
        if (blank != NULL)
            memcpy(&other, blank + i * WORD, WORD);
        word ^= other;
        memcpy(bytes + i * WORD, &word, WORD);
    }
    return at;
}

void kf_bases_keep(const kf_bases *bases, const kf_table *state, const int64_t *rows, const int64_t *t_ns,
                   size_t count, uint32_t *at, uint8_t *packed, uint64_t *ends)
{
    uint8_t *end = packed;

    for (size_t i = 0; i < count; i++) {
        int64_t *held_ns = bases->t_ns + (size_t)rows[i] * bases->base_count;
        const size_t place = place_for(held_ns, bases->base_count, t_ns[i]);
        const uint8_t *seldom = seldom_of(state, rows[i]);

        held_ns[place] = t_ns[i];
        put_places(bases, state, rows[i], place);
        end = pack(often_of(state, rows[i]), bases->blank, state->row_bytes, end);
        if (is_used(seldom, state->seldom_bytes))
            end = pack(seldom, NULL, state->seldom_bytes, end);
        at[i] = (uint32_t)place;
        ends[i] = (uint64_t)(end - packed);
    }
}

size_t kf_packed_bytes(const kf_table *state)
{
    const size_t bytes = state->row_bytes + state->seldom_bytes;

    return bytes + bytes / WORD / 2 + 2 + WORD;
}

void kf_bases_unpack(const kf_bases *bases, const kf_table *state, size_t row, const uint8_t *packed,
                     size_t size)
{
    uint8_t *seldom = state->seldom + row * state->seldom_bytes;
    const uint8_t *end = unpack(state->rows + row * state->row_bytes, bases->blank, state->row_bytes, packed);

    if (end < packed + size)
        unpack(seldom, NULL, state->seldom_bytes, end);
    else if (is_used(seldom, state->seldom_bytes))
        memset(seldom, 0, state->seldom_bytes);
}
