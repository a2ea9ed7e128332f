/* tile.h: the filter for KF_LANES devices side by side; included once for each width.
 *
 * Devices take their steps together, each until its block is full; then all full blocks are corrected
 * together. A lane that waits is put back to what it was, so that no device feels its neighbours.
 */
#include "filter.h"

#define FEW 4 /* where less than this share of the lanes is taken, one by one is quicker */
#define FIELDS (sizeof(kf_filter) / sizeof(float))
#define STEP_FIELDS (sizeof(kf_increment) / sizeof(float))

static void load(kf_filters *s, const kf_tile_row *rows, size_t count)
{
    float *to = (float *)s;

    for (size_t lane = 0; lane < KF_LANES; lane++) {
        const float *from = (const float *)rows[lane < count ? lane : 0].filter;
        for (size_t i = 0; i < FIELDS; i++)
            to[i * KF_LANES + lane] = from[i];
    }
}

static void store(const kf_filters *s, const kf_tile_row *rows, size_t count)
{
    const float *from = (const float *)s;

    for (size_t lane = 0; lane < count; lane++) {
        float *to = (float *)rows[lane].filter;
        for (size_t i = 0; i < FIELDS; i++)
            to[i] = from[i * KF_LANES + lane];
    }
}

/* Put back what is not to change. */
static void keep(kf_filters *s, const kf_filters *before, kf_mask changes)
{
    kf_real *to = (kf_real *)s;
    const kf_real *from = (const kf_real *)before;

    for (size_t i = 0; i < FIELDS; i++)
        to[i] = kf_where(changes, to[i], from[i]);
}

static kf_view view_of(const kf_filters *s, size_t lane)
{
    kf_filter one;
    const float *from = (const float *)s;
    float *to = (float *)&one;

    for (size_t i = 0; i < FIELDS; i++)
        to[i] = from[i * KF_LANES + lane];
    return kf_filter_view(&one);
}

/* One step of every lane whose block is not full and that has one; false where there is none. */
static bool turn(kf_filters *s, kf_tile_row *rows, size_t count, uint32_t at[KF_LANES],
                 const uint8_t corrections[KF_LANES])
{
    static const kf_increment none;
    kf_increments step;
    kf_frees said;
    kf_mask moves = {0};
    float *to = (float *)&step;
    size_t moving = 0;

    for (size_t lane = 0; lane < KF_LANES; lane++) {
        const bool moved = lane < count && at[lane] < rows[lane].count && s->block_s[lane] < KF_BLOCK_S;
        const float *from = (const float *)(moved ? &rows[lane].steps[at[lane]] : &none);
        moves[lane] = moved ? -1 : 0;
        moving += moved;
        for (size_t i = 0; i < STEP_FIELDS; i++)
            to[i * KF_LANES + lane] = from[i];
    }
    if (moving == 0)
        return false;
    if (moving < KF_LANES) {
        const kf_filters before = *s;
        kf_turn_by(s, &step, &said);
        keep(s, &before, moves);
    } else {
        kf_turn_by(s, &step, &said);
    }
    for (size_t lane = 0; lane < KF_LANES; lane++) {
        if (!moves[lane])
            continue;
        kf_tile_row *row = &rows[lane];
        row->frees[at[lane]] = (kf_free){
            {said.accel[0][lane], said.accel[1][lane], said.accel[2][lane]}, said.rate[lane]};
        row->corrections[at[lane]] = corrections[lane];
        at[lane]++;
    }
    return true;
}

/* Correct the lanes whose block is full; false where there is none. */
static bool correct(kf_filters *s, kf_tile_row *rows, const uint32_t at[KF_LANES], uint8_t corrections[KF_LANES],
                    size_t count)
{
    const kf_mask full = s->block_s >= KF_BLOCK_S;

    if (!kf_any(full))
        return false;
    const kf_filters before = *s;
    kf_correct(s);
    if (kf_any(~full))
        keep(s, &before, full);
    for (size_t lane = 0; lane < count; lane++)
        if (full[lane]) {
            rows[lane].corrections[at[lane] - 1] = ++corrections[lane];
            rows[lane].views[corrections[lane]] = view_of(s, lane);
        }
    return true;
}

static void run(kf_tile_row *rows, size_t count)
{
    kf_filters s;
    uint32_t at[KF_LANES] = {0};
    uint8_t corrections[KF_LANES] = {0};

    load(&s, rows, count);
    for (size_t lane = 0; lane < count; lane++)
        rows[lane].views[0] = kf_filter_view(rows[lane].filter);
    do {
        while (turn(&s, rows, count, at, corrections)) {
        }
    } while (correct(&s, rows, at, corrections, count));
    store(&s, rows, count);
}
