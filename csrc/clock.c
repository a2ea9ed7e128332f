/* clock.c: from a device's clock to aligned time: offset and skew, estimated from when packets arrive.
 *
 * A packet that was stamped t by its device and arrived at a shows a - t = offset(t) + delay, and no delay is
 * negative. So the smallest a - t of each second of arrivals is a measurement of the offset, and a filter
 * with two states follows it:
 *
 *     offset' = skew,  skew' = white noise of density SKEW_NOISE;  offset itself wanders with PHASE_NOISE
 *     Q(dt) = [[q dt^3 / 3 + p dt, q dt^2 / 2], [q dt^2 / 2, q dt]]
 *
 * Delays have a long tail on one side. The noise R follows the innovations, a late second counts less than
 * an early one (EXPECTILE), and a very late one less still. So the estimated line lies above the
 * least of all delays by a share of the noise, and the published one is lowered by it (ABOVE). What is
 * published is thus the offset plus the constant delay; the two cannot be told apart from arrivals alone, but
 * where the device answers pings (kf_clock_pong).
 *
 * What is published never steps but at a counted jump: where the estimate moves, the published line starts
 * from where it was at the newest stamp seen before, and closes up at SLEW at most, so it is monotonic. At
 * first and after a jump, when the delays of one or two packets are all that is known, it closes up faster;
 * so it does where packets come earlier than it says, because no delay explains that. Steps of less than
 * JUMP_NS are followed so. A counter of 32 bit that begins anew is no jump.
 *
 * Times are int64 ns; doubles hold differences only.
 *
 * Source: the two-state clock model of Zucca and Tavella, doi:10.1109/TUFFC.2005.1406554; minimum filtering
 * of one-way delays as in Paxson, doi:10.1145/277858.277865; the least round trip as in Cristian,
 * doi:10.1007/BF01784024, but each way by its own least, and its ageing as in NTP's clock filter, RFC
 * 5905, 10.
 */
#include <math.h>

#include "internal.h"

#define BLOCK_NS 1000000000    /* the smallest delay is taken of so long */
#define JUMP_NS 1000000000     /* a packet that is further off is an outlier, or the first after a jump */
#define HALF_NS 500000000      /* late arrivals are a jump and not a stall where two such times have */
#define ALIKE_NS 50000000      /* least delays as alike as this, */
#define PERSIST_NS 10000000000 /* or whatever they have, after so long */
#define SLEW 0.1               /* the most by which published time runs fast or slow, s/s */
#define SLEW_NS 1e9            /* the time over which a small correction is spread */
#define EARLY_SLEW 0.5         /* likewise, for a correction that takes longer and that no delay explains */
#define SETTLING_BLOCKS 2      /* for so long after the start or a jump */
#define SETTLING_SLEW 0.9      /* it is this: time must not stand still, let alone go back */

#define SKEW_NOISE 1e-14   /* 1/s: a crystal drifts by about 1 ppm in 100 s */
#define PHASE_NOISE 4e-10  /* s^2/s: 20 us after one second */
#define SKEW_SIGMA 50e-6   /* s/s, of a clock that was never heard */
#define SKEW_MAX 500e-6    /* s/s; what NTP slews by at most */
#define START_SIGMA_S 0.05 /* before a whole block was seen */
#define NOISE_S 5e-3       /* of a block's minimum, before any was compared */
#define NOISE_MIN_S 0.5e-3
#define NOISE_GAIN 0.02 /* and all blocks alike, before there are so many */
#define EXPECTILE 8.0   /* R of a block that is late, over R of one that is early */
#define ABOVE 0.5     /* where that expectile of one-sided exponential noise lies, in sigmas from its least */
#define TAIL 3.0      /* sigmas from which lateness counts less still */
#define GATE 6.0      /* sigmas from which the clock was set, by less than JUMP_NS: */
#define EARLY_S 10e-3 /* no delay is negative, so where a block is earlier than this; */
#define LATE_S 50e-3  /* and where two in a row are later than this, and */
#define LATE_SHARE 0.25 /* differ by less than this share */

#define TRIP_MAX_NS 2000000000 /* a longer round trip tells nothing */
#define TRIP_AGE 1e-4          /* by which the best round trip counts for longer, s/s */

#define WRAP_MS_NS (INT64_C(4294967296) * 1000000) /* a counter of ms in 32 bit begins anew */
#define WRAP_US_NS (INT64_C(4294967296) * 1000)

#define FAR_NS (INT64_C(1) << 60) /* 36 years from the reference a line is not drawn on */

_Static_assert(sizeof(kf_clock) == 224, "no padding");

__extension__ typedef __int128 wide;

/* a - b, held to FAR_NS either way. */
static int64_t apart(int64_t a_ns, int64_t b_ns)
{
    const wide difference = (wide)a_ns - b_ns;

    return (int64_t)(difference > FAR_NS ? FAR_NS : difference < -FAR_NS ? -FAR_NS : difference);
}

static double held(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

/* The estimated aligned time of a packet that has the constant delay. */
static int64_t estimate(const kf_clock *clock, int64_t device_ns)
{
    const int64_t elapsed_ns = apart(device_ns, clock->ref_ns);

    return clock->at_ns + elapsed_ns + (int64_t)floor(clock->skew * (double)elapsed_ns);
}

/* The estimate without the delay that pings told, plus what is left of its error when it last moved. */
static int64_t published(const kf_clock *clock, int64_t device_ns)
{
    const int64_t elapsed_ns = apart(device_ns, clock->ref_ns);
    const double slew_ns = clock->slew_ns > 1 ? clock->slew_ns : 1;
    const double spent = (double)apart(device_ns, clock->anchor_ns) / slew_ns;
    const double left_ns = clock->error_ns * held(1 - spent, 0, 1);

    return clock->at_ns - clock->delay_ns + elapsed_ns +
           (int64_t)floor(clock->skew * (double)elapsed_ns + left_ns);
}

int64_t kf_clock_align(const kf_clock *clock, int64_t device_ns)
{
    return clock->phase == KF_CLOCK_LIVE ? published(clock, device_ns) : device_ns;
}

void kf_clock_align_many(const kf_clock *clocks, const uint32_t *rows, const int64_t *device_ns, size_t count,
                         int64_t *aligned_ns)
{
    for (size_t i = 0; i < count; i++)
        aligned_ns[i] = kf_clock_align(&clocks[rows[i]], device_ns[i]);
}

void kf_clock_reset(kf_clock *clock, int recorded)
{
    *clock = (kf_clock){
        .boot = -1,
        .phase = recorded ? KF_CLOCK_RECORDED : KF_CLOCK_FRESH,
        .p_ss = SKEW_SIGMA * SKEW_SIGMA,
        .noise_s2 = NOISE_S * NOISE_S,
    };
}

/* Let the published line leave its course at the newest stamp seen, where it was published_ns. By more than
 * JUMP_NS too late it does not close up: the clock jumped, while the link delayed so much that it did not
 * show. */
static void leave(kf_clock *clock, int64_t published_ns)
{
    clock->anchor_ns = clock->newest_ns;
    clock->error_ns = (double)(published_ns - (estimate(clock, clock->anchor_ns) - clock->delay_ns));
    clock->slew_ns = fmax(SLEW_NS, fabs(clock->error_ns) / SLEW);
    if (clock->blocks < SETTLING_BLOCKS) {
        clock->slew_ns = fabs(clock->error_ns) / SETTLING_SLEW;
    } else if (clock->error_ns > JUMP_NS) {
        clock->jumps++;
        clock->error_ns = 0;
    } else if (clock->error_ns > SLEW * SLEW_NS) {
        clock->slew_ns = clock->error_ns / EARLY_SLEW;
    }
}

/* By how much the estimated line lies above the least of all arrivals. */
static int64_t above_ns(const kf_clock *clock)
{
    return llrint(ABOVE * sqrt(clock->noise_s2) * 1e9);
}

/* Put the published line below the estimated one: ways there and back are taken to be alike at their best. */
static void lower(kf_clock *clock)
{
    clock->delay_ns = above_ns(clock) + clock->trip_ns / 2;
}

/* Draw the estimated line anew, and the published one that much lower. */
static void move(kf_clock *clock, int64_t ref_ns, int64_t at_ns, double skew)
{
    const int64_t published_ns = published(clock, clock->newest_ns);

    clock->ref_ns = ref_ns;
    clock->at_ns = at_ns;
    clock->skew = skew;
    lower(clock);
    leave(clock, published_ns);
}

/* Begin with shown_ns, arrival - stamp, for what there is of delay; what was learnt of the skew, and by
 * pings, is kept. */
static void start(kf_clock *clock, int64_t device_ns, int64_t arrived_ns, int64_t shown_ns)
{
    clock->phase = KF_CLOCK_LIVE;
    clock->blocks = clock->suspects = 0;
    clock->ref_ns = clock->newest_ns = clock->anchor_ns = clock->least_at_ns = device_ns;
    clock->at_ns = device_ns + shown_ns;
    clock->error_ns = clock->late_s = 0;
    clock->slew_ns = SLEW_NS;
    clock->block_end_ns = arrived_ns + BLOCK_NS;
    clock->least_ns = shown_ns;
    clock->p_oo = START_SIGMA_S * START_SIGMA_S;
    clock->p_os = 0;
}

/* Whether packets are late in the same way for long enough; a backlog that is delivered is less and less
 * late, and while a link is bad its backlog may grow. No backlog has stamps before the newest that came. */
static bool stays_late(kf_clock *clock, int64_t device_ns, int64_t arrived_ns)
{
    if (arrived_ns < clock->half_end_ns)
        return false;
    const wide grown_ns = (wide)clock->suspect_least_ns - clock->half_least_ns;
    const int64_t most_ns = device_ns < clock->newest_ns ? JUMP_NS : ALIKE_NS;
    const bool alike = clock->half_least_ns != INT64_MAX && -ALIKE_NS <= grown_ns && grown_ns <= most_ns;
    if (alike || arrived_ns - clock->suspect_ns >= PERSIST_NS)
        return true;
    clock->half_least_ns = clock->suspect_least_ns;
    clock->suspect_least_ns = INT64_MAX;
    clock->half_end_ns = arrived_ns + HALF_NS;
    return false;
}

/* Take in a packet that is more than JUMP_NS off; begin anew where such packets persist.
 *
 * Two that are early cannot be delays: the clock jumped. Late ones may be a link that stalled and now
 * delivers its backlog at once, so they must be late in the same way for a while, and none in between.
 * The least delayed of them tells the new offset; of two early ones the first may have been a wild stamp. */
static void suspect(kf_clock *clock, int64_t device_ns, int64_t arrived_ns, bool late)
{
    const int64_t shown_ns = arrived_ns - device_ns;

    if (late != (clock->suspects > 0) || clock->suspects == 0) {
        clock->suspects = late ? 1 : -1;
        clock->suspect_ns = arrived_ns;
        clock->half_end_ns = arrived_ns + HALF_NS;
        clock->suspect_least_ns = shown_ns;
        clock->half_least_ns = INT64_MAX;
        return;
    }
    const wide after_ns = (wide)shown_ns - clock->suspect_least_ns;
    clock->suspects += late ? 1 : -1;
    if (after_ns < 0 || (!late && after_ns > JUMP_NS))
        clock->suspect_least_ns = shown_ns;
    if (late && !stays_late(clock, device_ns, arrived_ns))
        return;
    if (clock->blocks) /* in the first second it was the first packet that came late */
        clock->jumps++;
    start(clock, device_ns, arrived_ns,
          clock->half_least_ns < clock->suspect_least_ns ? clock->half_least_ns : clock->suspect_least_ns);
}

/* By how much a packet comes after its stamp in estimated time. */
static wide lateness(const kf_clock *clock, int64_t device_ns, int64_t arrived_ns)
{
    const int64_t elapsed_ns = device_ns - clock->ref_ns;

    return (wide)arrived_ns - clock->at_ns - elapsed_ns - (int64_t)(clock->skew * (double)elapsed_ns);
}

/* Where a packet is late by the length of a counter, go on with that counter's next turn; return how late it
 * is then. */
static wide unwrap(kf_clock *clock, int64_t device_ns, int64_t arrived_ns, wide late_ns)
{
    const int64_t turns_ns[] = {WRAP_US_NS, WRAP_MS_NS};

    for (size_t i = 0; i < sizeof turns_ns / sizeof *turns_ns; i++) {
        const int64_t turn_ns = turns_ns[i];
        if (device_ns >= clock->ref_ns || clock->ref_ns <= turn_ns - KF_STAMP_MAX)
            continue;
        const wide then_ns = lateness(clock, device_ns + turn_ns, arrived_ns);
        if (then_ns < -JUMP_NS || then_ns > JUMP_NS)
            continue;
        clock->ref_ns -= turn_ns;
        clock->newest_ns -= turn_ns;
        clock->anchor_ns -= turn_ns;
        clock->least_at_ns -= turn_ns;
        if (clock->least_ns != INT64_MAX)
            clock->least_ns += turn_ns;
        clock->wraps++;
        return then_ns;
    }
    return late_ns;
}

typedef struct {
    double oo, os, ss;
} covariance;

/* The covariance after so many seconds, either way: F P F' + Q. */
static covariance grown(const kf_clock *clock, double elapsed_s)
{
    const double dt = fabs(elapsed_s), q = SKEW_NOISE;

    return (covariance){
        clock->p_oo + 2 * elapsed_s * clock->p_os + dt * dt * clock->p_ss + q * (dt * dt * dt) / 3 +
            PHASE_NOISE * dt,
        clock->p_os + elapsed_s * clock->p_ss + q * dt * elapsed_s / 2,
        clock->p_ss + q * dt,
    };
}

/* Whether the clock was set by a little, as a block's innovation tells whose variance is expected_s2. */
static bool was_set(kf_clock *clock, double innovation_s, double expected_s2)
{
    const bool far = innovation_s * innovation_s > GATE * GATE * expected_s2;
    const bool late = far && innovation_s > LATE_S;
    const bool again = late && fabs(innovation_s - clock->late_s) < LATE_SHARE * innovation_s;

    clock->late_s = late ? innovation_s : 0;
    return again || (far && innovation_s < -EARLY_S);
}

/* Predict to device_ns and correct with the arrival there (Joseph's form, two states). */
static void update(kf_clock *clock, int64_t device_ns, int64_t arrived_ns)
{
    const int64_t predicted_ns = estimate(clock, device_ns);
    const double noise = clock->noise_s2;
    const double innovation_s = (double)(arrived_ns - predicted_ns) * 1e-9;
    const double share = innovation_s * innovation_s / noise;
    covariance P = grown(clock, (double)(device_ns - clock->ref_ns) * 1e-9);
    double r = noise;

    if (was_set(clock, innovation_s, P.oo + noise)) {
        P.oo += innovation_s * innovation_s;
    } else {
        const double gain = fmax(NOISE_GAIN, 1 / (double)clock->blocks);
        if (innovation_s > 0)
            r = noise * (EXPECTILE * fmax(1, share / (TAIL * TAIL)));
        clock->noise_s2 =
            fmax(NOISE_MIN_S * NOISE_MIN_S, noise + gain * noise * (fmin(share, TAIL * TAIL) - 1));
    }
    const double s = P.oo + r, k_o = P.oo / s, k_s = P.os / s, keep = 1 - k_o;
    clock->p_oo = keep * keep * P.oo + k_o * k_o * r;
    clock->p_os = keep * (P.os - k_s * P.oo) + k_o * k_s * r;
    clock->p_ss = P.ss - 2 * k_s * P.os + k_s * k_s * s;
    move(clock, device_ns, predicted_ns + llrint(k_o * innovation_s * 1e9),
         held(clock->skew + k_s * innovation_s, -SKEW_MAX, SKEW_MAX));
}

/* Update the filter with the smallest arrival - stamp of the block, and open the next. */
static void close_block(kf_clock *clock, int64_t arrived_ns)
{
    const int64_t least_at_ns = clock->least_at_ns, measured_ns = clock->least_ns + least_at_ns;
    const bool first = !clock->blocks;

    clock->blocks++;
    clock->block_end_ns = arrived_ns + BLOCK_NS;
    clock->least_ns = INT64_MAX;
    if (first)
        clock->p_oo = clock->noise_s2;
    else
        update(clock, least_at_ns, measured_ns);
}

/* Whether a packet comes so early that its block need not be waited for. */
static bool is_early(const kf_clock *clock, double late_s)
{
    return clock->blocks && late_s < -EARLY_S &&
           late_s * late_s > GATE * GATE * (clock->p_oo + clock->noise_s2);
}

void kf_clock_observe(kf_clock *clock, int64_t device_ns, int64_t arrived_ns, int64_t boot)
{
    if (clock->phase == KF_CLOCK_RECORDED || device_ns <= -KF_STAMP_MAX || device_ns >= KF_STAMP_MAX)
        return;
    bool fresh = clock->phase == KF_CLOCK_FRESH;
    if (boot >= 0 && boot != clock->boot) {
        if (clock->boot != -1 && clock->phase == KF_CLOCK_LIVE) {
            clock->jumps++;
            fresh = true;
        }
        clock->boot = boot;
    }
    if (fresh) {
        start(clock, device_ns, arrived_ns, arrived_ns - device_ns);
        return;
    }
    wide late_ns = lateness(clock, device_ns, arrived_ns);
    if (late_ns > JUMP_NS)
        late_ns = unwrap(clock, device_ns, arrived_ns, late_ns);
    if (late_ns < -JUMP_NS || late_ns > JUMP_NS) {
        suspect(clock, device_ns, arrived_ns, late_ns > 0);
        return;
    }
    clock->suspects = 0;
    if (arrived_ns - device_ns < clock->least_ns) {
        clock->least_ns = arrived_ns - device_ns;
        clock->least_at_ns = device_ns;
        if (!clock->blocks && late_ns < 0)
            move(clock, device_ns, arrived_ns, clock->skew);
    }
    if (arrived_ns >= clock->block_end_ns || is_early(clock, (double)late_ns * 1e-9))
        close_block(clock, arrived_ns);
    if (device_ns > clock->newest_ns)
        clock->newest_ns = device_ns;
}

void kf_clock_pong(kf_clock *clock, int64_t device_ns, int64_t sent_ns, int64_t arrived_ns)
{
    const int64_t took_ns = arrived_ns - sent_ns, apart_ns = apart(device_ns, clock->newest_ns);
    const double age_ns = (double)(arrived_ns - clock->trip_at_ns);

    if (clock->phase != KF_CLOCK_LIVE || !clock->blocks || took_ns <= 0 || took_ns > TRIP_MAX_NS ||
        apart_ns < -TRIP_MAX_NS || apart_ns > TRIP_MAX_NS)
        return;
    const int64_t back_ns = estimate(clock, device_ns) - above_ns(clock); /* of the best of answers */
    const int64_t trip_ns = back_ns - sent_ns > 1 ? back_ns - sent_ns : 1;
    if (trip_ns > TRIP_MAX_NS ||
        (clock->trip_ns && (double)trip_ns > (double)clock->trip_ns + TRIP_AGE * age_ns))
        return;
    const int64_t published_ns = published(clock, clock->newest_ns);
    clock->trip_ns = trip_ns;
    clock->trip_at_ns = arrived_ns;
    lower(clock);
    leave(clock, published_ns);
}

double kf_clock_sigma_ns(const kf_clock *clock)
{
    if (clock->phase != KF_CLOCK_LIVE)
        return clock->phase == KF_CLOCK_RECORDED ? 0 : INFINITY;
    const int64_t aim_ns = estimate(clock, clock->newest_ns) - clock->delay_ns;
    const double left_ns = (double)(published(clock, clock->newest_ns) - aim_ns);
    const double elapsed_s = (double)(clock->newest_ns - clock->ref_ns) * 1e-9;
    const double trip_ns = (double)clock->trip_ns; /* the way to is anything of the round trip */
    return sqrt(grown(clock, elapsed_s).oo * 1e18 + left_ns * left_ns + trip_ns * trip_ns / 12);
}
