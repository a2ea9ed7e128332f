/* schedule.c: what arrived becomes measurements in aligned time, each in its athlete's lane.
 *
 * Each event is taken in the order of arrival: its device's clock is observed, what it measured is aligned
 * and handed to its athlete's lane. Nothing here depends on where one call ends and the next begins.
 */
#include <string.h>

#include "internal.h"

_Static_assert(sizeof(kf_event) == 64, "no padding");
_Static_assert(sizeof(kf_measured_window) == KF_RECORD_BYTES, "the longest record");

static void refuse(kf_schedule *s, size_t event, uint32_t reason)
{
    const uint32_t device = s->events[event].device;

    s->refusals[s->refusal_count++] = (kf_refusal){device, reason, (uint32_t)event};
    s->links[device].refused++;
}

/* How far behind the newest something may come. */
static int64_t lifespan(const kf_schedule *s)
{
    return s->window_ns ? s->window_ns : KF_LIFESPAN_NS;
}

/* Why something of t_ns is of no use, or KF_OK; kind KF_NONE: it tells only how far time has come. */
static uint32_t refusal(const kf_schedule *s, const kf_lane *lane, const kf_link *link, const kf_event *e,
                        int64_t t_ns, uint32_t kind)
{
    const bool started = lane->flags & KF_LANE_STARTED, live = !(link->flags & KF_LINK_RECORDED);
    const bool far = t_ns <= -KF_STAMP_MAX || t_ns >= KF_STAMP_MAX;

    if (live && t_ns > e->arrived_ns + KF_FUTURE_NS)
        return KF_FUTURE;
    if (live && !started && t_ns < e->arrived_ns - KF_LIFESPAN_NS)
        return KF_STALE; /* there is no newer measurement yet, but the arrival tells as much */
    if ((kind != KF_NONE && lane->held[kind] >= KF_HELD_MAX) || lane->jobs >= KF_JOBS_MAX ||
        (lane->jobs > KF_CATCH_UP_MAX && s->jobs_waiting > KF_JOBS_ALL_MAX))
        return KF_TOO_FAST;
    if (!far && started && t_ns < lane->watermark_ns - lifespan(s))
        return KF_STALE;
    if (far || (started && t_ns > lane->watermark_ns + KF_DAY_NS))
        return KF_TIME_JUMP;
    return KF_OK;
}

/* The measurement that a window of the core is to an athlete's models. */
static void measure_window(const kf_window *w, const kf_link *link, int64_t t_ns, kf_item *item)
{
    const kf_measured_window m = {
        .row = (int32_t)link->athlete,
        .t_ns = t_ns,
        .device = (int32_t)link->number,
        .rank = (int32_t)link->rank,
        .duration_s = (double)w->duration_s,
        .dv_up_mps = (double)w->dv_e[2],
        .dv_sigma_mps = (double)w->dv_sigma,
        .accel_rms = (double)w->accel_rms,
        .gyro_rms = (double)w->gyro_rms,
        .steps = (int32_t)w->steps,
        .step_interval_s = (double)w->step_interval_s,
        .flags = w->flags,
    };

    item->kind = KF_KIND_WINDOW;
    memcpy(item->record, &m, sizeof m);
}

/* Hand what was found to its athlete's lane; the first measurement opens a workout. */
static void feed(kf_schedule *s, const kf_found *found)
{
    const kf_event *e = &s->events[found->event];
    kf_link *link = &s->links[e->device];
    const uint32_t row = link->athlete;
    kf_lane *lane = &s->lanes[row];
    const bool window = found->window != KF_NONE, measured = window || e->kind == KF_EVENT_SAMPLE;
    const uint32_t kind = window ? KF_KIND_WINDOW : measured ? e->measures : KF_NONE;
    const uint32_t reason = refusal(s, lane, link, e, found->t_ns, kind);
    const bool imu = e->kind == KF_EVENT_IMU;
    const kf_summary *summary = imu ? &s->summaries[e->index] : NULL;
    const kf_cause why = {e->device, imu ? summary->boot : e->boot, imu ? summary->seq : e->seq,
                          e->received_ns};

    if (!measured) {
        if (reason == KF_OK && (lane->flags & KF_LANE_STARTED))
            kf_lane_advance(s, row, found->t_ns, why);
        return;
    }
    if (reason != KF_OK) {
        refuse(s, found->event, reason);
        return;
    }
    kf_item item = {.t_ns = found->t_ns, .kind = kind};
    if (window)
        measure_window(&s->windows[found->window], link, found->t_ns, &item);
    else
        memcpy(item.record, s->records + (size_t)e->index * KF_RECORD_BYTES, KF_RECORD_BYTES);
    memcpy(item.record + 8, &found->t_ns, sizeof found->t_ns);
    if (found->t_ns > link->newest_ns)
        link->newest_ns = found->t_ns;
    if (lane->flags & KF_LANE_OPENS) {
        lane->flags = (lane->flags & ~(uint32_t)KF_LANE_OPENS) | KF_LANE_OPEN;
        kf_lane_tell(s, row, KF_JOB_BEGIN, found->t_ns, kf_nothing);
        lane->redo_ns = INT64_MAX;
    }
    if (!(lane->flags & KF_LANE_STARTED))
        kf_lane_restart(s, row, found->t_ns);
    if (kf_lane_keeps(s, lane, &item))
        return;
    kf_lane_hold(s, lane, &item);
    kf_lane_advance(s, row, found->t_ns, why);
}

static void heard(kf_schedule *s, const kf_event *e)
{
    kf_link *link = &s->links[e->device];

    link->flags |= KF_LINK_ONLINE;
    link->packets++;
    if (e->arrived_ns > link->arrived_ns) /* less where it has waited for its predecessor */
        link->arrived_ns = e->arrived_ns;
    if (e->arrived_ns > s->lanes[link->athlete].arrived_ns)
        s->lanes[link->athlete].arrived_ns = e->arrived_ns;
}

/* Aligned time of what tells none: its arrival; in a recording the newest time told. */
static int64_t now(const kf_lane *lane, const kf_event *e)
{
    const uint32_t both = KF_LANE_RECORDED | KF_LANE_STARTED;

    return (lane->flags & both) == both ? lane->watermark_ns : e->arrived_ns;
}

static void find(kf_schedule *s, int64_t t_ns, size_t event, uint32_t window)
{
    s->found[s->found_count++] = (kf_found){t_ns, (uint32_t)event, window};
}

/* What an IMU packet brought: the windows that it closed, and how far time has come. */
static void find_motion(kf_schedule *s, size_t event)
{
    const kf_event *e = &s->events[event];
    const kf_summary *summary = &s->summaries[e->index];
    kf_link *link = &s->links[e->device];
    kf_clock *clock = &s->clocks[e->device];
    const size_t first_window = s->next_window;

    s->next_window += summary->windows;
    if (summary->status != KF_OK)
        refuse(s, event, summary->status);
    if (summary->status != KF_OK && summary->status < KF_LATE)
        return;
    heard(s, e);
    const bool beside = summary->flags & KF_BESIDE;
    if (!beside)
        link->lost += summary->lost;
    else if (summary->status == KF_OK && link->lost)
        link->lost--; /* it was taken for lost */
    if (summary->status != KF_OK)
        return;
    if (!beside) {
        kf_clock_observe(clock, summary->t_last_ns, e->arrived_ns, summary->boot);
        link->rate_hz = summary->samples ? summary->rate_hz : link->rate_hz;
    }
    for (uint32_t i = 0; i < summary->windows; i++) {
        const uint32_t window = (uint32_t)first_window + i;
        find(s, kf_clock_align(clock, s->windows[window].t_ns), event, window);
    }
    find(s, kf_clock_align(clock, summary->t_last_ns), event, KF_NONE);
}

static void find_sample(kf_schedule *s, size_t event)
{
    const kf_event *e = &s->events[event];
    kf_clock *clock = &s->clocks[e->device];
    int64_t t_ns;

    heard(s, e);
    if (e->flags & KF_EVENT_TIMED) {
        kf_clock_observe(clock, e->t_ns, e->arrived_ns, e->flags & KF_EVENT_BOOT ? (int64_t)e->boot : -1);
        if (e->flags & KF_EVENT_PONG)
            kf_clock_pong(clock, e->t_ns, e->arrived_ns - (int64_t)e->measures * 1000, e->arrived_ns);
        t_ns = kf_clock_align(clock, e->t_ns);
    } else {
        t_ns = now(&s->lanes[e->athlete], e);
    }
    if (e->index != KF_NONE)
        find(s, t_ns, event, KF_NONE);
}

/* Whether a start is far from all that came: of a recording that begins again, from the time on at which it
 * began, or after the clock was set. */
static bool starts_anew(const kf_schedule *s, const kf_lane *lane, int64_t t_ns)
{
    const int64_t behind_ns = lane->watermark_ns - t_ns;

    if (!(lane->flags & KF_LANE_RECORDED))
        return behind_ns >= KF_CLOCK_SET_NS || behind_ns <= -KF_DAY_NS;
    return behind_ns >= lifespan(s) || behind_ns <= -KF_DAY_NS ||
           (behind_ns >= KF_LIFESPAN_NS && t_ns <= lane->begun_ns);
}

/* Queue a command behind all measurements up to its time; one that comes too late takes effect now.
 *
 * Only a recording's start turns time back, and any start after the server's clock was set. */
static void order(kf_schedule *s, const kf_event *e)
{
    kf_lane *lane = &s->lanes[e->athlete];
    const bool starts = e->kind == KF_EVENT_START;
    int64_t t_ns = e->flags & KF_EVENT_TIMED ? e->t_ns : now(lane, e);
    const int64_t ahead_ns = t_ns - lane->watermark_ns;
    const kf_cause why = {KF_NONE, 0, 0, e->received_ns};

    if (starts)
        lane->flags &= ~(uint32_t)KF_LANE_OPENS;
    if (!(lane->flags & KF_LANE_STARTED) || (starts && starts_anew(s, lane, t_ns)))
        kf_lane_restart(s, e->athlete, t_ns);
    else if (ahead_ns <= -lifespan(s))
        t_ns = lane->watermark_ns;
    /* What has the time of a start belongs to what it starts; of any other command, to what was before. */
    const int64_t until_ns = starts ? t_ns - 1 : t_ns;
    kf_lane_advance(s, e->athlete, until_ns, why);
    const bool late = until_ns < lane->stepped_ns;
    if (!late && lane->dirty_ns != INT64_MAX)
        kf_lane_rewind(s, e->athlete); /* so that it finds the totals as they are */
    const size_t before = s->job_count;
    kf_lane_step(s, e->athlete, KF_JOB_PARTIAL, until_ns, why);
    if (!s->jobs[before].count) { /* nothing to take in */
        s->job_count = before;
        lane->jobs--;
        s->jobs_waiting--;
    }
    kf_lane_tell(s, e->athlete, KF_JOB_ORDER, t_ns, why)->index = e->index;
    if (!late)
        return;
    if (!kf_lane_mark(s, lane, until_ns)) {
        kf_lane_settle(s, e->athlete); /* it stays where it is carried out: no base before that is right */
        return;
    }
    lane->deep_ns = until_ns < lane->deep_ns ? until_ns : lane->deep_ns; /* somebody waits for it */
    if (kf_lane_is_ripe(s, lane))
        kf_lane_rewind(s, e->athlete);
}

/* Have the rows of an event that comes soon brought near, and of one that comes sooner what its lane holds.
 */
static void look_ahead(const kf_schedule *s)
{
    const kf_event *e = &s->events[s->next_event];
    const size_t left = s->event_count - s->next_event;

    if (left > 8 && e[8].device != KF_NONE) {
        kf_prefetch(&s->links[e[8].device], sizeof *s->links);
        kf_prefetch(&s->clocks[e[8].device], sizeof *s->clocks);
        kf_prefetch(&s->lanes[e[8].athlete], sizeof *s->lanes);
    }
    if (left > 4) {
        const kf_lane *lane = &s->lanes[e[4].athlete];
        if (lane->last != KF_NONE)
            kf_prefetch(&s->items[lane->last], sizeof *s->items);
        kf_kept_prefetch(s, lane);
    }
}

/* Sort what was found in one message by time; what has one time stays in its order. */
static void sort_found(kf_found *found, size_t count)
{
    kf_found *from = found, *to = found + count;

    for (size_t width = 1; width < count; width *= 2) {
        for (size_t low = 0; low < count; low += 2 * width) {
            const size_t middle = low + width < count ? low + width : count;
            const size_t high = low + 2 * width < count ? low + 2 * width : count;
            size_t a = low, b = middle;
            for (size_t i = low; i < high; i++)
                to[i] = a < middle && (b == high || from[a].t_ns <= from[b].t_ns) ? from[a++] : from[b++];
        }
        kf_found *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != found)
        memcpy(found, from, count * sizeof *found);
}

static bool room_left(const kf_schedule *s)
{
    return s->job_room - s->job_count >= KF_JOBS_A_FOUND &&
           s->taken_room - s->taken_count >= KF_ITEMS_A_FOUND && s->refusal_room - s->refusal_count >= 2 &&
           (!s->window_ns || s->free_pages >= KF_PAGES_A_FOUND);
}

/* Find what the message of the next event measured, or carry it on where it is a command. */
static void read_message(kf_schedule *s)
{
    const kf_event *e = &s->events[s->next_event];
    const uint32_t message = e->message;
    const size_t first = s->next_event;

    look_ahead(s);
    s->found_count = s->next_found = 0;
    if (e->kind >= KF_EVENT_ORDER) {
        order(s, e);
        s->next_event++;
        return;
    }
    while (s->next_event < s->event_count && s->events[s->next_event].message == message) {
        if (s->events[s->next_event].kind == KF_EVENT_IMU)
            find_motion(s, s->next_event);
        else
            find_sample(s, s->next_event);
        s->next_event++;
    }
    if (s->next_event - first > 1)
        sort_found(s->found, s->found_count);
}

int kf_schedule_run(kf_schedule *s)
{
    while (s->next_found < s->found_count || s->next_event < s->event_count) {
        if (!room_left(s))
            return 1;
        if (s->next_found < s->found_count)
            feed(s, &s->found[s->next_found++]);
        else
            read_message(s);
    }
    return 0;
}

int kf_schedule_rewind(kf_schedule *s, uint32_t row)
{
    if (s->lanes[row].dirty_ns == INT64_MAX)
        return 0;
    if (!room_left(s))
        return 1;
    kf_lane_rewind(s, row);
    return 0;
}

int kf_schedule_pass(kf_schedule *s, uint32_t lane_count, int64_t utc_ns)
{
    for (; s->next_lane < lane_count; s->next_lane++) {
        kf_lane *lane = &s->lanes[s->next_lane];
        if ((lane->flags & (KF_LANE_STARTED | KF_LANE_RECORDED)) != KF_LANE_STARTED ||
            lane->due_ns + KF_WAIT_NS > utc_ns)
            continue;
        const bool silent = utc_ns - lane->arrived_ns > KF_SILENT_NS && !(lane->flags & KF_LANE_OPEN);
        if (silent && utc_ns - lane->due_ns < KF_IDLE_NS)
            continue;
        if (!room_left(s))
            return 1;
        if (silent) { /* one message tells of all that time */
            const int64_t last_ns = kf_lane_grid_after(lane, utc_ns - KF_WAIT_NS - KF_STEP_NS);
            lane->due_ns = last_ns > lane->due_ns ? last_ns : lane->due_ns;
        }
        kf_lane_advance(s, s->next_lane, utc_ns - KF_WAIT_NS, kf_nothing);
    }
    s->next_lane = 0;
    return 0;
}

void kf_items_sort(const kf_item *items, size_t count, const uint32_t *record_bytes, size_t kind_count,
                   uint8_t *records, uint32_t *counts)
{
    uint8_t *next[KF_KINDS];

    memset(counts, 0, kind_count * sizeof *counts);
    for (size_t i = 0; i < count; i++)
        counts[items[i].kind]++;
    for (size_t kind = 0; kind < kind_count; kind++) {
        next[kind] = records;
        records += (size_t)counts[kind] * record_bytes[kind];
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t kind = items[i].kind;
        memcpy(next[kind], items[i].record, record_bytes[kind]);
        next[kind] += record_bytes[kind];
    }
}
