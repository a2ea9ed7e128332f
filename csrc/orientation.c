/* orientation.c: which way the sensor points.
 *
 * Per sample the quaternion q_eb is turned by the rate without bias over the real time step: over the
 * interval's mean where samples are means, by the trapezoid with the coning term otherwise (Savage 1998,
 * doi 10.2514/2.4228). Rotated specific force and rotation are summed; every BLOCK_S tilt.c corrects tilt,
 * bias and gravity by the sums. Heading: heading.c; it never touches tilt.
 */
#include "internal.h"

#define BLOCK_S 0.03

/* What a step leaves open. */
#define BLIND_RATE 1.5 /* rad/s, where there is no gyroscope */
#define OPEN_SHARE 0.3 /* of the turn in an interval with samples missing that may be wrong */
#define CLIP_SHARE 0.5
#define SNAP_GAP_S 1.0 /* after a longer gap tilt is taken from specific force anew */

/* Rest: deviation from a low-passed mean, held for a while. */
#define REST_RATE 0.035 /* rad/s */
#define REST_ACCEL 0.5  /* m/s^2 */
#define REST_NORM 0.15  /* m/s^2: mean specific force is gravity, also in a lift */
#define REST_AFTER_S 1.5
#define REST_LOW_S 0.5
#define SETTLED_SIGMA 0.06 /* rad */
#define SETTLED_AGE_S 2.0

/* Rows of the rotation matrix of q. */
typedef struct {
    kf_vec x, y, z;
} matrix;

static matrix rotation(kf_quat q)
{
    const double xx = q.x * q.x, yy = q.y * q.y, zz = q.z * q.z;
    const double xy = q.x * q.y, xz = q.x * q.z, yz = q.y * q.z;
    const double wx = q.w * q.x, wy = q.w * q.y, wz = q.w * q.z;

    return (matrix){{1 - 2 * (yy + zz), 2 * (xy - wz), 2 * (xz + wy)},
                    {2 * (xy + wz), 1 - 2 * (xx + zz), 2 * (yz - wx)},
                    {2 * (xz - wy), 2 * (yz + wx), 1 - 2 * (xx + yy)}};
}

static kf_vec rotate(const matrix *m, kf_vec v)
{
    return (kf_vec){kf_dot(m->x, v), kf_dot(m->y, v), kf_dot(m->z, v)};
}

static kf_vec cross(kf_vec a, kf_vec b)
{
    return (kf_vec){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

/* The smallest turn that takes v to straight up. */
static kf_quat upright(kf_vec v)
{
    const double n = kf_norm(v);

    if (n < 1e-6)
        return (kf_quat){1, 0, 0, 0};
    const kf_vec u = kf_scale(1 / n, v);
    if (u.z < -0.999999)
        return (kf_quat){0, 1, 0, 0};
    return kf_normalised((kf_quat){1 + u.z, u.y, -u.x, 0});
}

void kf_orientation_reset(kf_orientation *o)
{
    *o = (kf_orientation){.q6 = {1, 0, 0, 0}};
    kf_tilt_reset(o);
    o->heading_var = KF_PI * KF_PI;
}

/* The stream is broken: nothing is known of the time between. */
void kf_orientation_break(kf_orientation *o, double gap_s)
{
    o->prev = 0;
    o->still_s = 0;
    o->state &= ~(KF_STILL | KF_MAG_SEEN);
    if (gap_s > SNAP_GAP_S) {
        o->state &= ~KF_TILT_KNOWN;
        o->age_s = 0;
    }
    kf_tilt_break(o, gap_s);
    kf_heading_drift(o, 0, 0, gap_s * gap_s);
}

/* Take tilt from specific force; heading stays as near as it can. */
static void snap(kf_orientation *o, kf_vec accel_b)
{
    const matrix m = rotation(o->q6);

    o->q6 = kf_normalised(kf_multiply(upright(rotate(&m, accel_b)), o->q6));
    kf_tilt_open_all(o);
    o->state |= KF_TILT_KNOWN;
}

/* Whether the device lies still. */
static void judge_rest(kf_orientation *o, const kf_sample *s, double dt_s)
{
    const double k = dt_s / (REST_LOW_S + dt_s);
    const bool both = (s->has & (KF_BIT_ACCEL | KF_BIT_GYRO)) == (KF_BIT_ACCEL | KF_BIT_GYRO);

    if (!both || s->clipped) {
        o->still_s = 0;
        o->state &= ~KF_STILL;
        return;
    }
    if (o->age_s <= 0) {
        o->gyro_low_b = s->gyro_b;
        o->accel_low_b = s->accel_b;
    }
    const kf_vec rate = kf_sub(s->gyro_b, o->gyro_low_b), accel = kf_sub(s->accel_b, o->accel_low_b);
    o->gyro_low_b = kf_add(o->gyro_low_b, kf_scale(k, rate));
    o->accel_low_b = kf_add(o->accel_low_b, kf_scale(k, accel));
    const kf_vec off = kf_sub(o->gyro_low_b, o->bias_b);
    const double sigma2 = o->P[4][4] + o->P[5][5] + o->P[6][6];
    const double weight_off = kf_norm(o->accel_low_b) - KF_GRAVITY - o->gravity_error;
    const bool calm = fabs(weight_off) < REST_NORM + 3 * sqrt(o->Pz[2]) &&
                      kf_dot(rate, rate) < REST_RATE * REST_RATE &&
                      kf_dot(accel, accel) < REST_ACCEL * REST_ACCEL &&
                      kf_dot(off, off) < REST_RATE * REST_RATE + 9 * sigma2;
    o->still_s = calm ? fmin(o->still_s + dt_s, REST_AFTER_S) : 0;
    o->state = o->still_s >= REST_AFTER_S ? o->state | KF_STILL : o->state & ~KF_STILL;
}

/* The rotation over the step that ends with s, without bias. */
static kf_vec step_turn(const kf_orientation *o, const kf_sample *s, double dt_s)
{
    if (!(s->has & KF_BIT_GYRO))
        return (kf_vec){0, 0, 0};
    const kf_vec rate = kf_sub(s->gyro_b, o->bias_b);
    if (s->means || !(o->prev & KF_BIT_GYRO))
        return kf_scale(dt_s, rate);
    const kf_vec before = kf_sub(o->gyro_prev_b, o->bias_b);
    return kf_add(kf_scale(dt_s / 2, kf_add(before, rate)), kf_scale(dt_s * dt_s / 12, cross(before, rate)));
}

static kf_vec free_of(const kf_orientation *o, const matrix *m, kf_vec accel_b)
{
    kf_vec a = rotate(m, accel_b);

    a.z -= KF_GRAVITY + o->gravity_error;
    return a;
}

static void add_turn(kf_orientation *o, const matrix *m, double dt_s)
{
    o->block_turn[0][0] += dt_s * m->x.x;
    o->block_turn[0][1] += dt_s * m->x.y;
    o->block_turn[0][2] += dt_s * m->x.z;
    o->block_turn[1][0] += dt_s * m->y.x;
    o->block_turn[1][1] += dt_s * m->y.y;
    o->block_turn[1][2] += dt_s * m->y.z;
}

/* Variance of the turn that this step leaves open, beyond noise: samples missing, clipped, or no gyroscope.
 */
static double open_share(const kf_sample *s, double rate, double dt_s, double usual_s)
{
    double open = 0;

    if (!(s->has & KF_BIT_GYRO))
        return BLIND_RATE * BLIND_RATE * dt_s * 0.1;
    if (usual_s > 0 && dt_s > 1.8 * usual_s) {
        const double share = OPEN_SHARE * rate * (dt_s - usual_s);
        open += share * share;
    }
    if (s->clipped & KF_BIT_GYRO) {
        const double share = CLIP_SHARE * rate * dt_s;
        open += share * share;
    }
    return open;
}

/* Add specific force over the step to the sums; m holds at its end, middle halfway. */
static void add_force(kf_orientation *o, const kf_sample *s, const matrix *middle, double dt_s,
                      kf_motion *out)
{
    if (s->means)
        out->dv_e = kf_scale(dt_s, free_of(o, middle, s->accel_b));
    else if (o->prev & KF_BIT_ACCEL)
        out->dv_e = kf_scale(dt_s / 2, kf_add(o->free_prev_e, out->free_e));
    else
        out->dv_e = kf_scale(dt_s, out->free_e);
    out->covered_s = dt_s;
    o->block_accel_s += dt_s;
    o->block_dv[0] += out->dv_e.x;
    o->block_dv[1] += out->dv_e.y;
    o->block_dv[2] += out->dv_e.z;
}

/* Take one sample, dt_s after the one before (0: nothing joins it). usual_s is the usual step, 0 if not
 * known. */
kf_motion kf_orientation_step(kf_orientation *o, const kf_sample *s, double dt_s, double usual_s)
{
    kf_motion out = {0};
    const bool gyro = s->has & KF_BIT_GYRO;

    out.has_accel = s->has & KF_BIT_ACCEL;
    out.rate = gyro ? kf_norm(kf_sub(s->gyro_b, o->bias_b)) : 0;
    if (!(o->state & KF_TILT_KNOWN)) {
        if (!out.has_accel)
            return out;
        snap(o, s->accel_b);
        dt_s = 0;
    }
    judge_rest(o, s, dt_s);
    const kf_vec r = step_turn(o, s, dt_s);
    const matrix middle = s->means ? rotation(kf_multiply(o->q6, kf_turn(kf_scale(0.5, r)))) : (matrix){0};
    o->q6 = kf_multiply(o->q6, kf_turn(r));
    const matrix m = rotation(o->q6);
    if (out.has_accel)
        out.free_e = free_of(o, &m, s->accel_b);
    if (dt_s > 0) {
        const double open = open_share(s, out.rate, dt_s, usual_s);
        if (out.has_accel)
            add_force(o, s, &middle, dt_s, &out);
        add_turn(o, &m, dt_s);
        o->block_s += dt_s;
        o->block_rate2 += out.rate * out.rate * dt_s;
        o->block_open += open;
        o->age_s += dt_s;
        kf_heading_drift(o, dt_s, out.rate * out.rate * dt_s, open);
        if (o->block_s >= BLOCK_S)
            kf_tilt_correct(o);
    }
    if (s->has & KF_BIT_MAG)
        kf_heading_step(o, s, out.rate);
    o->gyro_prev_b = s->gyro_b;
    o->free_prev_e = out.free_e;
    o->prev = s->has;
    return out;
}

kf_quat kf_orientation_q9(const kf_orientation *o)
{
    if (!(o->state & KF_HEADING_KNOWN))
        return o->q6;
    return kf_multiply((kf_quat){cos(o->heading / 2), 0, 0, sin(o->heading / 2)}, o->q6);
}

/* A vector of q6's earth in that of q9. */
kf_vec kf_orientation_to_e9(const kf_orientation *o, kf_vec e6)
{
    if (!(o->state & KF_HEADING_KNOWN))
        return e6;
    const double c = cos(o->heading), s = sin(o->heading);
    return (kf_vec){c * e6.x - s * e6.y, s * e6.x + c * e6.y, e6.z};
}

double kf_orientation_tilt_sigma(const kf_orientation *o)
{
    return sqrt(fmax(0, (o->P[0][0] + o->P[1][1]) / 2));
}

double kf_orientation_heading_sigma(const kf_orientation *o)
{
    return (o->state & KF_HEADING_KNOWN) ? fmin(sqrt(o->heading_var), KF_PI) : KF_PI;
}

uint32_t kf_orientation_flags(const kf_orientation *o)
{
    uint32_t flags = 0;

    if (o->state & KF_STILL)
        flags |= KF_REST;
    if (o->state & KF_HEADING_KNOWN)
        flags |= KF_HAS_MAG;
    if (o->state & KF_FIELD_OFF)
        flags |= KF_MAG_DISTURBED;
    if ((o->state & KF_TILT_KNOWN) && o->age_s >= SETTLED_AGE_S &&
        kf_orientation_tilt_sigma(o) < SETTLED_SIGMA)
        flags |= KF_SETTLED;
    return flags;
}
