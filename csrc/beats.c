/* beats.c: intervals between heart beats, cleaned as they come.
 *
 * Lipponen and Tarvainen 2019 (doi:10.1080/03091902.2019.1640306): a beat is judged by how its interval
 * differs from the one before (dRR) and from the median of its neighbours (mRR), in units of thresholds that
 * follow the quartiles of the newest intervals. Missed: one interval is two or three. Extra: two are one.
 * Ectopic: a beat came early or late and the next made up for it. Uneven: one interval is off, whatever the
 * reason.
 *
 * The paper looks 45 beats ahead for its thresholds and five for its median. Here both look back instead,
 * over intervals that are cleaned already, and KF_BEATS_AHEAD beats ahead, which is what its decisions need.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

#define ALPHA 5.2
#define C1 0.13
#define C2 0.17
#define MEDIAN_LIMIT 3.0      /* times its threshold */
#define THRESHOLD_MIN_MS 25.0 /* sensors tell whole ticks of 1 to 8 ms, whose quartiles are no measure */
#define MS_MIN 240.0          /* 250 to 25 bpm */
#define MS_MAX 2400.0
#define SIGMA_QUARTILES 0.416 /* half the distance of the quartiles of |d|, d normal, in sigmas */
#define SIGMA_MIN_BPM 0.3
#define ODD_MAX 5     /* intervals in a row that are none: then it is the median that is wrong */
#define LOST_NS 1.5e9 /* by which the clock went on otherwise than the intervals: beats were lost */
#define KNOWN_MIN 8   /* intervals before sigma rests on them */
#define SIGMA_NEW_MS 40.0

__extension__ typedef __int128 wide;

/* What one call has told. */
typedef struct {
    kf_interval *intervals; /* NULL: nobody asks */
    size_t count, odd;
    double whole_ms;
} word;

static double ranked(const kf_spread *s, uint32_t rank)
{
    return s->newest[s->rising[rank]];
}

/* The first rank whose number is not less than value. */
static uint32_t rank_of(const kf_spread *s, double value)
{
    uint32_t low = 0, high = s->count;

    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (ranked(s, middle) < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void spread_add(kf_spread *s, double value)
{
    if (s->count == KF_BEATS_WINDOW) {
        uint32_t gone = 0;
        while (s->rising[gone] != s->oldest)
            gone++;
        memmove(&s->rising[gone], &s->rising[gone + 1], --s->count - gone);
    }
    const uint32_t rank = rank_of(s, value);
    memmove(&s->rising[rank + 1], &s->rising[rank], s->count++ - rank);
    s->rising[rank] = (uint8_t)s->oldest;
    s->newest[s->oldest] = value;
    s->oldest = (s->oldest + 1) % KF_BEATS_WINDOW;
}

/* Half the distance between the quartiles; 0 of fewer than four numbers. */
static double quartiles(const kf_spread *s)
{
    return s->count < 4 ? 0 : 0.5 * (ranked(s, 3 * s->count / 4) - ranked(s, s->count / 4));
}

static double median(const kf_beats *b)
{
    double sorted[KF_BEATS_MEDIAN];
    const double *rr = &b->rr[b->count - KF_BEATS_MEDIAN];

    for (size_t i = 0; i < KF_BEATS_MEDIAN; i++) {
        size_t to = i;
        for (; to > 0 && sorted[to - 1] > rr[i]; to--)
            sorted[to] = sorted[to - 1];
        sorted[to] = rr[i];
    }
    return sorted[KF_BEATS_MEDIAN / 2];
}

/* How far an interval is from its neighbours' median; short ones count twice, as in the paper. */
static double off(double ms, double of_neighbours)
{
    return (ms - of_neighbours) * (ms >= of_neighbours ? 1.0 : 2.0);
}

static void say(kf_beats *b, word *told, double ms, uint32_t kind)
{
    if (told->intervals)
        told->intervals[told->count] = (kf_interval){ms, kind};
    told->count++;
    told->odd += kind != KF_BEAT_NORMAL;
    told->whole_ms += ms;
    b->found[kind]++;
}

/* What the interval at a place is, and how many it should be. */
static uint32_t kind_of(const kf_beats *b, uint32_t at, double of_neighbours, uint32_t *parts)
{
    const double *rr = b->rr;
    const double limit = fmax(ALPHA * quartiles(&b->steps), THRESHOLD_MIN_MS);
    const double reach = fmax(ALPHA * quartiles(&b->offs), THRESHOLD_MIN_MS);
    const double before = (rr[at - 1] - rr[at - 2]) / limit, d = (rr[at] - rr[at - 1]) / limit;
    const double d1 = (rr[at + 1] - rr[at]) / limit, d2 = (rr[at + 2] - rr[at + 1]) / limit;
    const double away = off(rr[at], of_neighbours) / reach, both_ms = rr[at] + rr[at + 1];
    const double sign = d > 0 ? 1.0 : -1.0;

    if (fabs(d) <= 1 && fabs(away) <= MEDIAN_LIMIT)
        return KF_BEAT_NORMAL;
    const bool turns = fmax(sign * before, sign * d1) < -C1 * fabs(d) - C2;
    const bool back = fmin(sign * d1, sign * d2) < -1;
    if (fabs(d) > 1 && back) {
        *parts = (uint32_t)fmin(fmax(nearbyint(rr[at] / of_neighbours), 1), KF_BEATS_PARTS);
        if (d > 0 && *parts > 1 && fabs(rr[at] / *parts - of_neighbours) < reach)
            return KF_BEAT_MISSED;
        if (d < 0 && fabs(both_ms - of_neighbours) < reach)
            return KF_BEAT_EXTRA;
    }
    if (fabs(d) > 1 && (turns || back) && fabs(both_ms - 2 * of_neighbours) < 2 * reach)
        return KF_BEAT_ECTOPIC;
    return fabs(away) > MEDIAN_LIMIT || (fabs(d) > 1 && back) ? KF_BEAT_UNEVEN : KF_BEAT_NORMAL;
}

/* Forget all but what waits, and the interval that it waits for. */
static void begin_again(kf_beats *b)
{
    memmove(b->rr, &b->rr[b->count - 1 - KF_BEATS_AHEAD], (1 + KF_BEATS_AHEAD) * sizeof *b->rr);
    b->count = 1 + KF_BEATS_AHEAD;
    memset(&b->steps, 0, sizeof b->steps);
    memset(&b->offs, 0, sizeof b->offs);
    b->odd = 0;
}

/* Say what the interval AHEAD of the newest is, and put what it should be in its place. */
static void judge(kf_beats *b, word *told)
{
    const uint32_t at = b->count - 1 - KF_BEATS_AHEAD;
    uint32_t parts = 1;
    double *rr = b->rr;
    const double here = rr[at], after = rr[at + 1];

    if (b->count < KF_BEATS_MEDIAN) {
        if (MS_MIN <= here && here <= MS_MAX)
            say(b, told, here, KF_BEAT_NORMAL);
        return;
    }
    const double of_neighbours = median(b);
    const uint32_t kind = kind_of(b, at, of_neighbours, &parts);
    if (kind == KF_BEAT_MISSED) {
        rr[at] = here / parts;
        for (uint32_t i = 0; i < parts; i++)
            say(b, told, rr[at], kind);
        return;
    }
    if (kind == KF_BEAT_EXTRA) {
        rr[at] = rr[at + 1] = here + after;
    } else if (kind == KF_BEAT_ECTOPIC) {
        rr[at] = rr[at + 1] = 0.5 * (here + after);
        b->taken = 1;
        say(b, told, rr[at], kind);
        say(b, told, rr[at], kind);
        return;
    }
    b->odd = kind == KF_BEAT_UNEVEN ? b->odd + 1 : 0;
    if (b->odd >= ODD_MAX) {
        begin_again(b);
        say(b, told, here, KF_BEAT_NORMAL);
        return;
    }
    if (kind == KF_BEAT_UNEVEN)
        rr[at] = of_neighbours;
    b->taken = kind == KF_BEAT_EXTRA;
    say(b, told, rr[at], kind);
}

/* Let the newest interval that is clean move the thresholds. */
static void learn(kf_beats *b)
{
    const uint32_t at = b->count - 1 - KF_BEATS_AHEAD;

    if (at > 0)
        spread_add(&b->steps, fabs(b->rr[at] - b->rr[at - 1]));
    if (b->count >= KF_BEATS_MEDIAN)
        spread_add(&b->offs, fabs(off(b->rr[at], median(b))));
}

static void take(kf_beats *b, double ms, word *told)
{
    if (b->count == KF_BEATS_MEDIAN + 1)
        memmove(b->rr, &b->rr[1], --b->count * sizeof *b->rr);
    b->rr[b->count++] = ms;
    if (b->count <= KF_BEATS_AHEAD)
        return;
    if (b->taken)
        b->taken--;
    else
        judge(b, told);
    learn(b);
}

static kf_rate rate_of(const kf_beats *b, const word *told)
{
    const double count = told->count ? (double)told->count : 1, mean_ms = told->whole_ms / count;
    double waiting_ms = 0;

    if (!(MS_MIN <= mean_ms && mean_ms <= MS_MAX))
        return (kf_rate){0};
    const bool known = b->steps.count >= KNOWN_MIN;
    const double step_ms = known ? quartiles(&b->steps) / SIGMA_QUARTILES : SIGMA_NEW_MS;
    const double sigma_bpm = 60e3 * step_ms / (mean_ms * mean_ms * sqrt(2 * count)) * (1 + (double)told->odd);
    for (uint32_t i = b->taken; i < KF_BEATS_AHEAD; i++)
        waiting_ms += b->rr[b->count - KF_BEATS_AHEAD + i];
    return (kf_rate){60e3 / mean_ms, fmax(sigma_bpm, SIGMA_MIN_BPM),
                     (waiting_ms + 0.5 * told->whole_ms) * 1e-3};
}

size_t kf_beats_take(kf_beats *b, const double *rr_ms, size_t count, int timed, int64_t t_ns,
                     kf_interval *told, kf_rate *rate)
{
    word all = {.intervals = told};

    if (timed) {
        double sum_ms = 0;
        for (size_t i = 0; i < count; i++)
            sum_ms += rr_ms[i];
        if (b->timed && fabs((double)((wide)t_ns - b->t_ns) - 1e6 * sum_ms) > LOST_NS)
            b->count = b->taken = b->odd = 0;
        b->timed = 1;
        b->t_ns = t_ns;
    }
    for (size_t i = 0; i < count; i++)
        take(b, rr_ms[i], &all);
    *rate = rate_of(b, &all);
    return all.count;
}
