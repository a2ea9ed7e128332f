/* heading.c: where north is, from the magnetometer.
 *
 * A scalar Kalman filter on the angle about z from the earth of q6 to ENU. Its drift is the gyroscope's; its
 * measurement is the horizontal field rotated by q6, taken only while norm and dip fit what they were. A
 * field that stays consistent in a new way for RENEW_S of motion becomes the reference.
 */
#include "internal.h"

#define DRIFT 1.7e-3     /* rad/sqrt(s) */
#define RATE_DRIFT 4e-3  /* rad/sqrt(s) per rad/s */
#define FIELD_NOISE 0.12 /* rad sqrt(s) */
#define FIRST_SIGMA 0.3  /* rad, of the first field */
#define NORM_SHARE 0.1
#define DIP_OFF 0.17 /* rad */
#define FIT_S 0.5    /* a field must fit so long before it is used again */
#define LOW_S 20.0   /* of the reference */
#define NEW_LOW_S 2.0
#define RENEW_S 15.0
#define RENEW_RATE 0.35 /* rad/s: a field proves itself only while the device turns */
#define PATIENCE_S 60.0 /* a field that never fits is used with care after that */
#define CARE 25.0
#define STALE_TURN 0.1 /* rad that the device may turn between field and sample */
#define STEP_MAX_S 1.0

/* Var of heading grows: by time, by rate^2 dt, and by what a step left open. */
void kf_heading_drift(kf_orientation *o, double dt_s, double rate2_s, double open)
{
    o->heading_var += DRIFT * DRIFT * dt_s + RATE_DRIFT * RATE_DRIFT * rate2_s + open;
    o->heading_var = fmin(o->heading_var, KF_PI * KF_PI);
}

/* The field in the earth of q6. */
static kf_vec field_in_e6(const kf_orientation *o, kf_vec v)
{
    const kf_quat q = o->q6;
    const kf_vec u = {q.x, q.y, q.z};
    const kf_vec t = {2 * (u.y * v.z - u.z * v.y), 2 * (u.z * v.x - u.x * v.z), 2 * (u.x * v.y - u.y * v.x)};
    const kf_vec w = {u.y * t.z - u.z * t.y, u.z * t.x - u.x * t.z, u.x * t.y - u.y * t.x};

    return kf_add(kf_add(v, kf_scale(q.w, t)), w);
}

static double wrapped(double angle)
{
    return angle > KF_PI ? angle - 2 * KF_PI : angle < -KF_PI ? angle + 2 * KF_PI : angle;
}

static bool fits(double norm, double dip, double norm_ref, double dip_ref)
{
    return fabs(norm - norm_ref) < NORM_SHARE * norm_ref && fabs(dip - dip_ref) < DIP_OFF;
}

static void follow(double *mean, double value, double share)
{
    *mean += share * (value - *mean);
}

/* Keep a second reference that follows quickly; let it take over once it has proved itself. */
static void renew(kf_orientation *o, double norm, double dip, double rate, double dt_s)
{
    if (fits(norm, dip, o->norm_new, o->dip_new)) {
        if (rate > RENEW_RATE)
            o->new_s += dt_s;
    } else {
        o->new_s = 0;
    }
    follow(&o->norm_new, norm, dt_s / (NEW_LOW_S + dt_s));
    follow(&o->dip_new, dip, dt_s / (NEW_LOW_S + dt_s));
    if (o->new_s >= RENEW_S) {
        o->norm_ref = o->norm_new;
        o->dip_ref = o->dip_new;
        o->new_s = o->misfit_s = 0;
        o->fit_s = FIT_S;
    }
}

/* Judge the field; return the factor on its noise, or 0 where it is not to be used. */
static double trust(kf_orientation *o, double norm, double dip, double rate, double dt_s)
{
    if (fits(norm, dip, o->norm_ref, o->dip_ref)) {
        const double low_s = fmin(o->mag_s + dt_s, LOW_S);
        o->fit_s = fmin(o->fit_s + dt_s, FIT_S);
        if (o->fit_s >= FIT_S) {
            o->misfit_s = 0;
            o->new_s = 0;
            o->state &= ~KF_FIELD_OFF;
            follow(&o->norm_ref, norm, dt_s / (low_s + dt_s));
            follow(&o->dip_ref, dip, dt_s / (low_s + dt_s));
            o->norm_new = o->norm_ref;
            o->dip_new = o->dip_ref;
            return 1;
        }
    } else {
        o->fit_s = 0;
        o->state |= KF_FIELD_OFF;
        renew(o, norm, dip, rate, dt_s);
    }
    o->misfit_s = fmin(o->misfit_s + dt_s, PATIENCE_S);
    return o->misfit_s >= PATIENCE_S ? CARE : 0;
}

static void begin(kf_orientation *o, double norm, double dip, double heading)
{
    o->norm_ref = o->norm_new = norm;
    o->dip_ref = o->dip_new = dip;
    o->fit_s = FIT_S;
    o->heading = heading;
    o->heading_var = FIRST_SIGMA * FIRST_SIGMA;
    o->state |= KF_HEADING_KNOWN;
}

/* Take the field that came with s. */
void kf_heading_step(kf_orientation *o, const kf_sample *s, double rate)
{
    const double age_s = kf_seconds(s->mag_t_ns, s->t_ns);
    const kf_vec m = field_in_e6(o, s->mag_b);
    const double across = hypot(m.x, m.y), norm = kf_norm(m);
    double dt_s =
        (o->state & KF_MAG_SEEN) && s->mag_t_ns > o->mag_t_ns ? kf_seconds(o->mag_t_ns, s->mag_t_ns) : 0;

    if (age_s * rate > STALE_TURN || norm < 1e-3 || across < 1e-3 * norm)
        return;
    dt_s = fmin(dt_s, STEP_MAX_S);
    o->mag_t_ns = s->mag_t_ns;
    o->state |= KF_MAG_SEEN;
    const double dip = atan2(-m.z, across), heading = atan2(m.x, m.y);
    if (!(o->state & KF_HEADING_KNOWN)) {
        begin(o, norm, dip, heading);
        return;
    }
    if (dt_s <= 0)
        return;
    const double noise = trust(o, norm, dip, rate, dt_s);
    o->mag_s = fmin(o->mag_s + dt_s, LOW_S);
    if (noise <= 0)
        return;
    const double R = noise * FIELD_NOISE * FIELD_NOISE / dt_s;
    const double K = o->heading_var / (o->heading_var + R);
    o->heading = wrapped(o->heading + K * wrapped(heading - o->heading));
    o->heading_var *= 1 - K;
}
