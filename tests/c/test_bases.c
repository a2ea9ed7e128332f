/* kf_bases: rows come back whatever their words are, packed into no more room than is told. */
#include "claims.h"

#define ROWS 3
#define OFTEN 7 /* words: an odd number, */
#define SELDOM 4
#define BASES 2

typedef struct {
    uint64_t often[ROWS][OFTEN], seldom[ROWS][SELDOM];
} words;

#define SLOT 5u
static const kf_history NO_HISTORY = {.tenures = 4, .slot_at = SLOT * sizeof(uint64_t)};

static kf_table table_of(words *w)
{
    return (kf_table){(uint8_t *)w->often, (uint8_t *)w->seldom, sizeof *w->often, sizeof *w->seldom, ROWS};
}

/* A word with zeros below, above, on both sides, or none. */
static uint64_t some_word(uint64_t *seed)
{
    const uint64_t word = chance(seed), low = chance(seed) % 9, high = chance(seed) % 9;

    return low + high >= 8 ? 0 : word >> (8 * high) >> (8 * low) << (8 * low);
}

static void fill(words *w, size_t row, uint64_t *seed, int used)
{
    for (size_t i = 0; i < OFTEN; i++)
        w->often[row][i] = some_word(seed);
    w->often[row][SLOT] = UINT64_MAX; /* no slot */
    for (size_t i = 0; i < SELDOM; i++)
        w->seldom[row][i] = used ? some_word(seed) : 0;
}

static void rows_come_back_from_their_bases(void)
{
    uint64_t seed = 7;

    for (int turn = 0; turn < 20000; turn++) {
        words now = {0}, before = {0};
        uint64_t blank[OFTEN];
        int64_t t_ns[ROWS * BASES] = {0}, newest_ns[ROWS];
        kf_place places[ROWS * (BASES + 1) * KF_HISTORIES];
        const kf_table state = table_of(&now), copies = table_of(&before);
        const kf_bases bases = {
            BASES, t_ns, newest_ns, &copies, places, (uint8_t *)blank, {&NO_HISTORY, &NO_HISTORY}};
        const size_t room = kf_packed_bytes(&state);
        uint8_t *packed = malloc(2 * room), *one = NULL;
        const int64_t rows[] = {2, 0}, at_ns[] = {9, 8};
        uint32_t at[2];
        uint64_t ends[2];

        for (size_t i = 0; i < OFTEN; i++)
            blank[i] = some_word(&seed);
        fill(&now, 2, &seed, turn % 2);
        fill(&now, 0, &seed, turn % 3);
        const words kept = now;
        kf_bases_keep(&bases, &state, rows, at_ns, 2, at, packed, ends);
        HOLDS(ends[0] <= room && ends[1] - ends[0] <= room);
        HOLDS(t_ns[2 * BASES] == 9 && t_ns[0] == 8);
        fill(&now, 2, &seed, turn % 5);
        one = malloc(ends[0]);
        HOLDS(packed != NULL && one != NULL);
        memcpy(one, packed, ends[0]);
        kf_bases_unpack(&bases, &state, 2, one, ends[0]);
        HOLDS(memcmp(&now, &kept, sizeof now) == 0);
        free(packed);
        free(one);
    }
}

static void the_newest_step_is_taken_back(void)
{
    uint64_t seed = 8, blank[OFTEN] = {0};
    words now = {0}, before = {0};
    int64_t t_ns[ROWS * BASES] = {0}, newest_ns[ROWS] = {0};
    kf_place places[ROWS * (BASES + 1) * KF_HISTORIES];
    const kf_table state = table_of(&now), copies = table_of(&before);
    const kf_bases bases = {
        BASES, t_ns, newest_ns, &copies, places, (uint8_t *)blank, {&NO_HISTORY, &NO_HISTORY}};
    const int64_t rows[] = {1, 2}, at_ns[] = {5, 6}, others_ns[] = {5, 7};
    const uint8_t first[] = {0, 0}, again[] = {1, 1};
    uint8_t verdicts[2];

    fill(&now, 1, &seed, 1);
    fill(&now, 2, &seed, 0);
    const words kept = now;
    kf_bases_before(&bases, &state, rows, at_ns, first, 2, verdicts);
    HOLDS(verdicts[0] == KF_READY && verdicts[1] == KF_READY);
    fill(&now, 1, &seed, 0);
    kf_bases_before(&bases, &state, rows, others_ns, again, 2, verdicts);
    HOLDS(verdicts[0] == KF_READY && verdicts[1] == 0);
    HOLDS(memcmp(&now, &kept, sizeof now) == 0);
}

int main(void)
{
    CLAIM(rows_come_back_from_their_bases);
    CLAIM(the_newest_step_is_taken_back);
    return 0;
}
