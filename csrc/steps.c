/* steps.c: steps, one by one.
 *
 * The vertical free acceleration, low-passed, is followed from turning point to turning point: a peak counts
 * as a candidate once the signal has fallen from it by a share of the recent strides' amplitude. Candidates
 * too soon after the last are one with it, the higher standing for both. Candidates become steps when several
 * follow each other with a regular interval; so a single gesture is none, and the first steps are told a
 * moment later, with their own stamps. A foot swings once for two steps: both are told.
 *
 * At most one step is told in TOLD_APART_NS, which is faster than anyone runs and bounds what a packet can
 * tell.
 */
#include "internal.h"

#define TOLD_APART_NS 125000000ull
#define AMPLITUDE_S 2.0     /* amplitude falls with that time where no stride comes */
#define PAUSE_STRIDES 2.2   /* intervals without a candidate that end the gait */
#define INTERVAL_SHARE 0.25 /* smoothing of the interval */

/* What differs with the place. */
typedef struct {
    double cutoff_hz; /* of the low pass */
    double floor;     /* least peak to peak, m/s^2 */
    double share;     /* of amplitude that a turn must exceed */
    double nearest_s; /* between strides */
    double farthest_s;
    uint32_t chain; /* candidates in a row that make a gait */
    uint32_t each;  /* steps for a stride */
} gait;

static const gait gaits[] = {
    [KF_UNKNOWN] = {3.0, 1.0, 0.4, 0.25, 1.2, 4, 1}, [KF_WRIST] = {3.0, 1.0, 0.4, 0.25, 1.2, 4, 1},
    [KF_CHEST] = {3.0, 0.8, 0.4, 0.25, 1.2, 4, 1},   [KF_FOOT] = {2.5, 5.0, 0.45, 0.5, 2.4, 3, 2},
    [KF_HIP] = {3.0, 0.8, 0.4, 0.25, 1.2, 4, 1},     [KF_POCKET] = {3.0, 1.0, 0.4, 0.25, 1.2, 4, 1},
};

static const gait *gait_of(const kf_device *device)
{
    return &gaits[device->profile.placement <= KF_POCKET ? device->profile.placement : KF_UNKNOWN];
}

/* The stream is broken: the gait starts anew, steps already found stay. */
void kf_steps_break(kf_step_state *s)
{
    s->walking = s->rising = s->candidate_count = s->has_last = s->warm = 0;
    s->amplitude = s->interval_s = 0;
}

/* Mean time between steps, s; 0 when not walking or running. */
double kf_steps_interval(const kf_device *device)
{
    return device->steps.walking ? device->steps.interval_s / (double)gait_of(device)->each : 0;
}

static void enqueue(kf_step_state *s, kf_stride stride)
{
    if (s->queue_count == KF_STEP_QUEUE)
        return;
    s->queue[(s->queue_head + s->queue_count) % KF_STEP_QUEUE] = stride;
    s->queue_count++;
}

/* A stride is sure: its step, and on a foot that of the other foot half a stride before. */
static void confirm(kf_step_state *s, const gait *g, kf_stride stride)
{
    if (g->each == 2) {
        const uint64_t half = (uint64_t)(s->interval_s / 2 * KF_NS_PER_S);
        const int64_t other_ns = (int64_t)((uint64_t)stride.t_ns - half);
        enqueue(s, (kf_stride){other_ns < stride.t_ns ? other_ns : stride.t_ns, stride.strength});
    }
    enqueue(s, stride);
}

/* Whether the candidates, in order, keep about one interval. */
static bool regular(const kf_step_state *s, double *mean_s)
{
    double least = 1e9, most = 0, sum = 0;

    for (uint32_t i = 1; i < s->candidate_count; i++) {
        const double interval = kf_seconds(s->candidates[i - 1].t_ns, s->candidates[i].t_ns);
        least = fmin(least, interval);
        most = fmax(most, interval);
        sum += interval;
    }
    *mean_s = sum / (double)(s->candidate_count - 1);
    return most < 1.8 * least;
}

static void drop_oldest(kf_step_state *s)
{
    for (uint32_t i = 1; i < s->candidate_count; i++)
        s->candidates[i - 1] = s->candidates[i];
    s->candidate_count--;
}

/* Not walking yet: see whether the candidates make a gait. */
static void gather(kf_step_state *s, const gait *g, kf_stride stride)
{
    double mean_s;

    s->candidates[s->candidate_count++] = stride;
    if (s->candidate_count < g->chain)
        return;
    if (!regular(s, &mean_s)) {
        drop_oldest(s);
        return;
    }
    s->interval_s = mean_s;
    s->walking = 1;
    for (uint32_t i = 0; i < s->candidate_count; i++)
        confirm(s, g, s->candidates[i]);
    s->candidate_count = 0;
}

/* A peak: a candidate, unless it is one with the last. */
static void peak(kf_step_state *s, const gait *g)
{
    const kf_stride stride = {s->top_ns, s->top - s->bottom};
    const bool joined = s->has_last && s->top_ns > s->last_ns;
    const double interval = joined ? kf_seconds(s->last_ns, s->top_ns) : 0;
    const double nearest = s->walking ? fmax(g->nearest_s, 0.55 * s->interval_s) : g->nearest_s;

    if (joined && interval < nearest) {
        if (!s->walking && s->candidate_count > 0 &&
            stride.strength > s->candidates[s->candidate_count - 1].strength) {
            s->candidates[s->candidate_count - 1] = stride;
            s->last_ns = s->top_ns;
        }
        return;
    }
    if (!joined || interval > g->farthest_s)
        s->candidate_count = 0;
    s->amplitude += (s->amplitude > 0 ? 0.3 : 1.0) * (stride.strength - s->amplitude);
    s->last_ns = s->top_ns;
    s->has_last = 1;
    if (s->walking) {
        s->interval_s += INTERVAL_SHARE * (fmin(interval, 1.5 * s->interval_s) - s->interval_s);
        confirm(s, g, stride);
    } else {
        gather(s, g, stride);
    }
}

/* Second-order low pass, damped critically, by implicit Euler: stable for any step. */
static double low_pass(kf_step_state *s, double value, double cutoff_hz, double dt_s)
{
    const double w = 2 * KF_PI * cutoff_hz;

    if (!s->warm) {
        s->warm = 1;
        s->low = value;
        s->slope = 0;
        s->top = s->bottom = value;
    }
    s->slope = (s->slope + dt_s * w * w * (value - s->low)) / (1 + 1.6 * w * dt_s + w * w * dt_s * dt_s);
    s->low += dt_s * s->slope;
    return s->low;
}

/* Follow the signal between its turning points. */
static void follow(kf_step_state *s, const gait *g, int64_t t_ns, double value)
{
    const double share = g->share * s->amplitude;
    const double turn = share > g->floor ? share : g->floor;

    if (s->rising) {
        if (value > s->top) {
            s->top = value;
            s->top_ns = t_ns;
        } else if (value < s->top - turn) {
            peak(s, g);
            s->rising = 0;
            s->bottom = value;
        }
    } else if (value < s->bottom) {
        s->bottom = value;
    } else if (value > s->bottom + turn) {
        s->rising = 1;
        s->top = value;
        s->top_ns = t_ns;
    }
}

/* Tell one step that waits, unless the last was told just now. */
static void tell(kf_device *device, int64_t t_ns, kf_sink *sink)
{
    kf_step_state *s = &device->steps;

    if (s->queue_count == 0)
        return;
    if (s->has_told && s->told_ns <= t_ns && kf_elapsed(s->told_ns, t_ns) < TOLD_APART_NS)
        return;
    const kf_stride *stride = &s->queue[s->queue_head % KF_STEP_QUEUE];
    sink->steps[sink->step_count++] =
        (kf_step){.device = sink->device, .strength = (float)stride->strength, .t_ns = stride->t_ns};
    s->queue_head = (s->queue_head + 1) % KF_STEP_QUEUE;
    s->queue_count--;
    s->count++;
    s->told_ns = t_ns;
    s->has_told = 1;
    device->window.steps++;
}

/* Take the vertical free acceleration at t_ns, dt_s after the one before. */
void kf_steps_take(kf_device *device, int64_t t_ns, double up, double dt_s, kf_sink *sink)
{
    kf_step_state *s = &device->steps;
    const gait *g = gait_of(device);
    const double value = low_pass(s, up, g->cutoff_hz, dt_s);

    s->amplitude *= 1 - dt_s / (AMPLITUDE_S + dt_s) * 0.5;
    if (s->has_last && s->last_ns < t_ns) {
        const double quiet_s = kf_seconds(s->last_ns, t_ns);
        if (s->walking && quiet_s > fmin(PAUSE_STRIDES * s->interval_s, 1.5 * g->farthest_s))
            s->walking = 0;
    }
    follow(s, g, t_ns, value);
    tell(device, t_ns, sink);
}
