/* lanes.c: the measurements of one athlete become steps of the models, and rewinds of what came late.
 *
 * A lane holds what no step has taken in yet, and keeps what steps took in for as long as something may come
 * that belongs before it.
 */
#include <string.h>

#include "internal.h"

_Static_assert(sizeof(kf_item) == 104 && sizeof(kf_job) == 48, "no padding");

void kf_lane_reset(kf_lane *lane, int64_t phase_ns)
{
    memset(lane, 0, sizeof *lane);
    lane->phase_ns = phase_ns;
    lane->first = lane->last = KF_NONE;
    lane->kept_first = lane->kept_last = KF_NONE;
    lane->stepped_ns = lane->rewound_ns = lane->intact_ns = -KF_LONG_AGO_NS;
    lane->dirty_ns = lane->deep_ns = lane->redo_ns = INT64_MAX;
}

void kf_schedule_free(kf_schedule *s, uint32_t first, uint32_t count)
{
    for (uint32_t i = first + count; i-- > first;) {
        s->items[i].next = s->free_item;
        s->free_item = i;
        s->free_count++;
    }
}

static void drop_held(kf_schedule *s, kf_lane *lane)
{
    if (lane->last != KF_NONE) {
        s->items[lane->last].next = s->free_item;
        s->free_item = lane->first;
    }
    for (size_t kind = 0; kind < KF_KINDS; kind++)
        s->free_count += lane->held[kind];
    lane->first = lane->last = KF_NONE;
    memset(lane->held, 0, sizeof lane->held);
}

static void drop_kept(kf_schedule *s, kf_lane *lane)
{
    kf_kept_clear(s, lane);
    lane->base_count = 0;
    lane->dirty_ns = lane->deep_ns = lane->redo_ns = INT64_MAX;
}

void kf_lane_settle(kf_schedule *s, uint32_t row)
{
    drop_kept(s, &s->lanes[row]);
}

void kf_lane_forget(kf_schedule *s, uint32_t row)
{
    drop_held(s, &s->lanes[row]);
    drop_kept(s, &s->lanes[row]);
    s->lanes[row].stepped_ns = -KF_LONG_AGO_NS;
    s->lanes[row].flags &= ~(uint32_t)KF_LANE_STARTED;
}

/* The first moment of the grid after t_ns. */
int64_t kf_lane_grid_after(const kf_lane *lane, int64_t t_ns)
{
    const int64_t since = t_ns - lane->phase_ns, over = since % KF_STEP_NS;

    return t_ns - (over < 0 ? over + KF_STEP_NS : over) + KF_STEP_NS;
}

/* Sort items by time; those of one time stay in their order. Nearly all stand in order already. */
static void sort_items(kf_item *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        size_t to = i;
        while (to > 0 && items[to - 1].t_ns > items[i].t_ns)
            to--;
        if (to == i)
            continue;
        const kf_item moved = items[i];
        memmove(&items[to + 1], &items[to], (i - to) * sizeof *items);
        items[to] = moved;
    }
}

/* Drop the oldest measurement that a lane keeps. */
static void drop_oldest(kf_schedule *s, kf_lane *lane)
{
    const int64_t t_ns = kf_kept_oldest(s, lane);

    kf_kept_drop(s, lane);
    if (t_ns > lane->intact_ns)
        lane->intact_ns = t_ns;
}

/* Keep a measurement for rewinds, where there are some. */
static void keep(kf_schedule *s, kf_lane *lane, const kf_item *item)
{
    if (!s->window_ns)
        return;
    kf_kept_add(s, lane, item);
    if (lane->kept_count > KF_KEPT_MAX)
        drop_oldest(s, lane);
}

/* Move what is not newer than due_ns out of a lane; return how many there were. */
static uint32_t take(kf_schedule *s, kf_lane *lane, int64_t due_ns)
{
    kf_item *taken = &s->taken[s->taken_count];
    uint32_t count = 0, *link = &lane->first, at = lane->first;

    lane->last = KF_NONE;
    while (at != KF_NONE) {
        kf_item *item = &s->items[at];
        const uint32_t next = item->next;
        if (item->t_ns <= due_ns) {
            taken[count++] = *item;
            lane->held[item->kind]--;
            *link = next;
            keep(s, lane, item);
            item->next = s->free_item;
            s->free_item = at;
            s->free_count++;
        } else {
            lane->last = at;
            link = &item->next;
        }
        at = next;
    }
    sort_items(taken, count);
    s->taken_count += count;
    return count;
}

kf_job *kf_lane_tell(kf_schedule *s, uint32_t row, uint32_t kind, int64_t due_ns, kf_cause why)
{
    kf_job *job = &s->jobs[s->job_count++];

    *job = (kf_job){.kind = kind,
                    .athlete = row,
                    .device = why.device,
                    .boot = why.boot,
                    .seq = why.seq,
                    .index = KF_NONE,
                    .due_ns = due_ns,
                    .received_ns = why.received_ns};
    if (kind != KF_JOB_BEGIN) {
        s->lanes[row].jobs++;
        s->jobs_waiting++;
    }
    return job;
}

/* Let a job take in all that is kept from after from_ns up to where steps were told, in the order of time. */
static void take_again(kf_schedule *s, kf_lane *lane, kf_job *job, int64_t from_ns)
{
    const size_t first = s->taken_count;

    (void)take(s, lane, lane->stepped_ns); /* what waits for the next step is kept */
    s->taken_count = first;
    const uint32_t count = kf_kept_tell(s, job->athlete, from_ns, lane->stepped_ns, &s->taken[first]);
    sort_items(&s->taken[first], count);
    s->taken_count += count;
    job->first = (uint32_t)first;
    job->count = count;
    lane->dirty_ns = lane->deep_ns = INT64_MAX;
}

void kf_lane_step(kf_schedule *s, uint32_t row, uint32_t kind, int64_t due_ns, kf_cause why)
{
    kf_lane *lane = &s->lanes[row];

    /* A first step has what opens a workout before it, any other job a command behind it. */
    const bool alone = kind == KF_JOB_STEP && lane->stepped_ns != -KF_LONG_AGO_NS;
    lane->redo_ns = alone ? lane->stepped_ns : INT64_MAX;
    kf_job *job = kf_lane_tell(s, row, kind, due_ns, why);

    job->first = (uint32_t)s->taken_count;
    job->count = take(s, lane, due_ns);
    if (due_ns > lane->stepped_ns)
        lane->stepped_ns = due_ns;
    if (kind != KF_JOB_STEP || !s->window_ns || (due_ns / KF_STEP_NS + row) % (KF_BASE_NS / KF_STEP_NS))
        return;
    job->index = KF_KEEP;
    if (lane->base_count == s->base_room)
        memmove(lane->bases, lane->bases + 1, --lane->base_count * sizeof *lane->bases);
    lane->bases[lane->base_count++] = due_ns;
}

/* Begin anew at t_ns: a recording starts (again), or the clock was set. */
void kf_lane_restart(kf_schedule *s, uint32_t row, int64_t t_ns)
{
    kf_lane *lane = &s->lanes[row];

    drop_held(s, lane);
    drop_kept(s, lane);
    lane->watermark_ns = lane->begun_ns = t_ns;
    lane->due_ns = kf_lane_grid_after(lane, t_ns);
    lane->flags |= KF_LANE_STARTED;
    lane->stepped_ns = lane->rewound_ns = lane->intact_ns = -KF_LONG_AGO_NS;
    if (!s->window_ns)
        return;
    kf_lane_tell(s, row, KF_JOB_KEEP, -KF_LONG_AGO_NS, kf_nothing)->received_ns = t_ns;
    lane->bases[lane->base_count++] = -KF_LONG_AGO_NS;
}

/* The newest base before t_ns from which all is kept; its place, or base_count where there is none. */
static uint32_t base_before(const kf_lane *lane, int64_t t_ns)
{
    for (uint32_t i = lane->base_count; i-- > 0;)
        if (lane->bases[i] < t_ns)
            return lane->bases[i] >= lane->intact_ns ? i : lane->base_count;
    return lane->base_count;
}

/* Something of t_ns comes late; returns whether a rewind will take it in. */
bool kf_lane_mark(kf_schedule *s, kf_lane *lane, int64_t t_ns)
{
    if (!s->window_ns || base_before(lane, t_ns) == lane->base_count)
        return false;
    if (t_ns < lane->dirty_ns)
        lane->dirty_ns = t_ns;
    if (t_ns <= lane->stepped_ns - KF_DEEP_NS && t_ns < lane->deep_ns)
        lane->deep_ns = t_ns;
    return true;
}

/* Whether all that came late belongs to the newest step, which can be made again. Most that is late is so by
 * less than a step: a strap tells of its last beat, a packet waits for the radio. */
static bool can_redo(const kf_lane *lane)
{
    return lane->dirty_ns != INT64_MAX && lane->dirty_ns > lane->redo_ns && lane->redo_ns >= lane->intact_ns;
}

static void redo(kf_schedule *s, uint32_t row)
{
    kf_lane *lane = &s->lanes[row];
    kf_job *job = kf_lane_tell(s, row, KF_JOB_REDO, lane->stepped_ns, kf_nothing);

    if (lane->base_count && lane->bases[lane->base_count - 1] == lane->stepped_ns)
        job->index = KF_KEEP;
    take_again(s, lane, job, lane->redo_ns);
}

void kf_lane_rewind(kf_schedule *s, uint32_t row)
{
    kf_lane *lane = &s->lanes[row];
    const uint32_t base = base_before(lane, lane->dirty_ns);

    if (lane->stepped_ns == -KF_LONG_AGO_NS)
        return; /* there is nothing yet to make again */
    if (can_redo(lane)) {
        redo(s, row);
        return;
    }
    if (base == lane->base_count) {
        lane->dirty_ns = lane->deep_ns = INT64_MAX;
        return;
    }
    kf_job *job = kf_lane_tell(s, row, KF_JOB_REWIND, lane->bases[base], kf_nothing);
    job->received_ns = lane->rewound_ns = lane->stepped_ns;
    lane->redo_ns = INT64_MAX;
    take_again(s, lane, job, lane->bases[base]);
}

/* Whether it is time for a rewind. What steps took in a little later waits for more of its kind; what they
 * could not take in waits the less, the less there is to be done again. */
bool kf_lane_is_ripe(const kf_schedule *s, const kf_lane *lane)
{
    if (lane->dirty_ns == INT64_MAX)
        return false;
    const int64_t age_ns = lane->stepped_ns - lane->dirty_ns;

    if (lane->deep_ns != INT64_MAX && lane->stepped_ns - lane->rewound_ns >= (age_ns + 3) / 4)
        return true;
    return age_ns >= s->window_ns - s->window_ns / 3;
}

/* After when something is yet wanted: the newest base before all that may come, and that waits for a rewind.
 */
static int64_t wanted_from(const kf_schedule *s, const kf_lane *lane)
{
    const int64_t may_come_ns = lane->watermark_ns - s->window_ns;
    const int64_t oldest_ns = lane->dirty_ns < may_come_ns ? lane->dirty_ns : may_come_ns;

    for (uint32_t i = lane->base_count; i-- > 0;)
        if (lane->bases[i] < oldest_ns)
            return lane->bases[i];
    return oldest_ns - KF_BASE_NS - (int64_t)2 * KF_STEP_NS;
}

/* Aligned time has reached t_ns: tell the steps that are due. */
void kf_lane_advance(kf_schedule *s, uint32_t row, int64_t t_ns, kf_cause why)
{
    kf_lane *lane = &s->lanes[row];

    if (!(lane->flags & KF_LANE_STARTED) || t_ns > lane->watermark_ns) {
        lane->watermark_ns = t_ns;
        lane->flags |= KF_LANE_STARTED;
    }
    /* Half a step later most that is late is there, and few others step in the same moment. */
    if (can_redo(lane) && t_ns >= lane->stepped_ns + KF_STEP_NS / 2)
        redo(s, row);
    while (lane->due_ns <= t_ns) {
        kf_lane_step(s, row, KF_JOB_STEP, lane->due_ns, why);
        if (kf_lane_is_ripe(s, lane))
            kf_lane_rewind(s, row);
        lane->due_ns += KF_STEP_NS;
        if (t_ns - lane->due_ns > KF_CATCH_UP_NS)
            lane->due_ns = kf_lane_grid_after(lane, t_ns - KF_STEP_NS);
    }
    const int64_t old_ns = wanted_from(s, lane);
    while (lane->kept_count && kf_kept_oldest(s, lane) <= old_ns)
        drop_oldest(s, lane);
}

void kf_lane_hold(kf_schedule *s, kf_lane *lane, const kf_item *item)
{
    const uint32_t at = s->free_item;

    s->free_item = s->items[at].next;
    s->free_count--;
    s->items[at] = *item;
    s->items[at].next = KF_NONE;
    if (lane->last == KF_NONE)
        lane->first = at;
    else
        s->items[lane->last].next = at;
    lane->last = at;
    lane->held[item->kind]++;
}

/* Take in a measurement that is not newer than what was stepped to; a rewind puts it into its place. Returns
 * whether it is kept for that alone: it comes too late for any step. */
bool kf_lane_keeps(kf_schedule *s, kf_lane *lane, const kf_item *item)
{
    if (item->t_ns < lane->begun_ns && kf_lane_mark(s, lane, item->t_ns)) {
        lane->begun_ns = item->t_ns;
        lane->deep_ns = item->t_ns < lane->deep_ns ? item->t_ns : lane->deep_ns; /* all began sooner */
    }
    if (item->t_ns > lane->stepped_ns || !kf_lane_mark(s, lane, item->t_ns) ||
        item->t_ns > lane->stepped_ns - KF_DEEP_NS)
        return false;
    keep(s, lane, item);
    return true;
}
