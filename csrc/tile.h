/* tile.h: the filter for KF_LANES devices side by side; included once for each width.
 *
 * Devices take their steps together, each until its block is full; then all full blocks are corrected
 * together. A lane that waits is put back to what it was, so that no device feels its neighbours.
 */
#include <string.h>

#include "filter.h"

#define FEW 4 /* where less than this share of the lanes is taken, one by one is quicker */
#define FIELDS (sizeof(kf_filter) / sizeof(float))

_Static_assert(sizeof(kf_increment) == 16 * sizeof(float), "an increment is a row of 16 floats");

/* KF_LANES rows of KF_LANES floats, as columns: transpose() of the file that includes this. */
static void load(kf_filters *s, const kf_tile_row *rows, size_t count)
{
    const float *from[KF_LANES];
    float *to = (float *)s;
    size_t done = 0;

    for (size_t lane = 0; lane < KF_LANES; lane++)
        from[lane] = (const float *)rows[lane < count ? lane : 0].filter;
    for (; done + KF_LANES <= FIELDS; done += KF_LANES) {
        transpose(from, (kf_real *)s + done);
        for (size_t lane = 0; lane < KF_LANES; lane++)
            from[lane] += KF_LANES;
    }
    for (size_t lane = 0; lane < KF_LANES; lane++)
        for (size_t i = done; i < FIELDS; i++)
            to[i * KF_LANES + lane] = from[lane][i - done];
}

static void store(const kf_filters *s, const kf_tile_row *rows, size_t count)
{
    const float *from = (const float *)s;
    size_t done = 0;

    for (; done + KF_LANES <= FIELDS; done += KF_LANES) {
        const float *columns[KF_LANES];
        kf_real whole[KF_LANES];
        for (size_t i = 0; i < KF_LANES; i++)
            columns[i] = from + (done + i) * KF_LANES;
        transpose(columns, whole);
        for (size_t lane = 0; lane < count; lane++)
            memcpy((float *)rows[lane].filter + done, &whole[lane], sizeof whole[lane]);
    }
    for (size_t lane = 0; lane < count; lane++)
        for (size_t i = done; i < FIELDS; i++)
            ((float *)rows[lane].filter)[i] = from[i * KF_LANES + lane];
}

/* Put back what is not to change. */
static void keep(kf_filters *s, const kf_filters *before, kf_mask changes)
{
    kf_real *to = (kf_real *)s;
    const kf_real *from = (const kf_real *)before;

    for (size_t i = 0; i < FIELDS; i++)
        to[i] = kf_where(changes, to[i], from[i]);
}

/* kf_filter_view of a lane. */
static kf_view view_of(const kf_filters *s, size_t lane)
{
    kf_filter one;

    one.P[P00] = s->P[P00][lane];
    one.P[P11] = s->P[P11][lane];
    one.Pz[2] = s->Pz[2][lane];
    one.half[0] = s->half[0][lane];
    one.half[1] = s->half[1][lane];
    one.resting = s->resting[lane];
    one.heading_known = s->heading_known[lane];
    one.field_off = s->field_off[lane];
    one.settled = s->settled[lane];
    return kf_filter_view(&one);
}

/* One step of every lane whose block is not full and that has one; false where there is none. */
static bool turn(kf_filters *s, kf_tile_row *rows, size_t count, uint32_t at[KF_LANES],
                 const uint8_t corrections[KF_LANES])
{
    static const kf_increment none; /* changes nothing */
    const float *from[KF_LANES];
    union {
        kf_increments step;
        kf_real fields[16];
    } in;
    kf_frees said;
    uint32_t moved[KF_LANES];
    size_t moving = 0;

    for (size_t lane = 0; lane < KF_LANES; lane++) {
        const bool moves = lane < count && at[lane] < rows[lane].count && s->block_s[lane] < KF_BLOCK_S;
        from[lane] = (const float *)(moves ? &rows[lane].steps[at[lane]] : &none);
        moved[moving] = (uint32_t)lane;
        moving += moves;
    }
    if (moving == 0)
        return false;
    for (size_t done = 0; done < 16; done += KF_LANES) {
        transpose(from, in.fields + done);
        for (size_t lane = 0; lane < KF_LANES; lane++)
            from[lane] += KF_LANES;
    }
    kf_turn_by(s, &in.step, &said);
    for (size_t i = 0; i < moving; i++) {
        const uint32_t lane = moved[i];
        kf_tile_row *row = &rows[lane];
        row->frees[at[lane]] =
            (kf_free){{said.accel[0][lane], said.accel[1][lane], said.accel[2][lane]}, said.rate2[lane]};
        row->corrections[at[lane]] = corrections[lane];
        at[lane]++;
    }
    return true;
}

/* Correct the lanes whose block is full; false where there is none. */
static bool correct(kf_filters *s, kf_tile_row *rows, const uint32_t at[KF_LANES],
                    uint8_t corrections[KF_LANES], size_t count)
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
