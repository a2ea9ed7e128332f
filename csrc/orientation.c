/* orientation.c: which way the sensor points.
 *
 * Per sample the quaternion q_eb is turned by the rate without bias over the real time step: over the
 * interval's mean where samples are means, by the trapezoid with the coning term otherwise (Savage 1998,
 * doi 10.2514/2.4228). Rotated specific force and rotation are summed. Every BLOCK_S an error-state Kalman
 * filter of seven states corrects tilt and bias:
 *
 *     x = [tilt error, horizontal velocity error (both e), bias error (b)]
 *     d tilt / dt = -R bias,   d velocity / dt = g (tilt_y, -tilt_x)
 *
 * with the only thing that is known of a body-worn sensor's velocity: it is bounded (pseudo-measurement of
 * zero with a spectral density). This is the low-pass of specific force in a nearly inertial frame (VQF:
 * Laidig and Seel 2023, doi 10.1016/j.inffus.2022.10.014) with a gain that follows the covariance, hence
 * right for any step, after a gap, and at the start. A vertical channel of the same kind learns what gravity
 * reads beyond nominal. At rest velocity is zero and the gyroscope reads its bias. Heading: heading.c; it
 * never touches tilt.
 */
#include "internal.h"

#define BLOCK_S 0.03
#define G KF_GRAVITY

/* Noise; spectral densities per second. The larger part of the gyroscope's grows with the rate: scale,
 * alignment and the step's integration. */
#define GYRO_NOISE 1.7e-3    /* rad/sqrt(s) */
#define GYRO_RATE_NOISE 4e-3 /* rad/sqrt(s) per rad/s */
#define BIAS_WALK 2.0e-5     /* rad/s per sqrt(s) */
#define BIAS_SIGMA 0.02      /* rad/s, at first and at most */
#define ACCEL_NOISE 0.05     /* m/s per sqrt(s) */
#define VELOCITY_NOISE 0.35  /* m/s sqrt(s): velocity of about 0.5 m/s, correlated over half a second */
#define VELOCITY_SIGMA 1.0   /* m/s, at first */
#define TILT_SIGMA 0.5       /* rad, at first and at most */
#define UP_NOISE 1.0         /* m/s sqrt(s): climbing goes on for long */
#define GRAVITY_SIGMA 0.1    /* m/s^2 */
#define GRAVITY_WALK 1.0e-3  /* m/s^2 per sqrt(s) */
#define BLIND_RATE 1.5       /* rad/s, where there is no gyroscope */
#define OPEN_SHARE 0.3       /* of the turn in an interval with samples missing that may be wrong */
#define CLIP_SHARE 0.5
#define SNAP_GAP_S 1.0 /* after a longer gap tilt is taken from specific force anew */

/* Rest: deviation from a low-passed mean, held for a while. */
#define REST_RATE 0.035 /* rad/s */
#define REST_ACCEL 0.5  /* m/s^2 */
#define REST_NORM 0.15  /* m/s^2: mean specific force is gravity, also in a lift */
#define REST_AFTER_S 1.5
#define REST_LOW_S 0.5
#define REST_BIAS_NOISE 1.5e-3 /* rad/s sqrt(s) */
#define REST_DV_SIGMA 0.005    /* m/s, of the increment of velocity over a block at rest */
#define BIAS_MAX 0.35          /* rad/s */
#define GRAVITY_ERROR_MAX 0.5  /* m/s^2 */
#define SETTLED_SIGMA 0.06     /* rad */
#define SETTLED_AGE_S 2.0

static kf_quat multiply(kf_quat a, kf_quat b)
{
    return (kf_quat){
        a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
        a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

static kf_quat normalised(kf_quat q)
{
    const double n = sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);

    return (kf_quat){q.w / n, q.x / n, q.y / n, q.z / n};
}

/* The turn by rotation vector r; series below half a radian (error under 1e-9), else exact. */
static kf_quat turn(kf_vec r)
{
    const double h2 = kf_dot(r, r) / 4;
    double c, s; /* cos |r|/2, sin(|r|/2) / |r| */

    if (h2 < 0.0625) {
        c = 1 - h2 / 2 * (1 - h2 / 12 * (1 - h2 / 30 * (1 - h2 / 56)));
        s = (1 - h2 / 6 * (1 - h2 / 20 * (1 - h2 / 42 * (1 - h2 / 72)))) / 2;
    } else {
        const double h = sqrt(h2);
        c = cos(h);
        s = sin(h) / h / 2;
    }
    return (kf_quat){c, s * r.x, s * r.y, s * r.z};
}

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
    return normalised((kf_quat){1 + u.z, u.y, -u.x, 0});
}

static void open_covariance(kf_orientation *o)
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < KF_TILT_STATES; j++)
            o->P[i][j] = o->P[j][i] = 0;
    o->P[0][0] = o->P[1][1] = TILT_SIGMA * TILT_SIGMA;
    o->P[2][2] = o->P[3][3] = VELOCITY_SIGMA * VELOCITY_SIGMA;
    o->velocity[0] = o->velocity[1] = 0;
}

static void open_vertical(kf_orientation *o)
{
    o->up_mps = 0;
    o->Pz[0] = VELOCITY_SIGMA * VELOCITY_SIGMA;
    o->Pz[1] = 0;
}

void kf_orientation_reset(kf_orientation *o)
{
    *o = (kf_orientation){.q6 = {1, 0, 0, 0}};
    open_covariance(o);
    for (int i = 4; i < KF_TILT_STATES; i++)
        o->P[i][i] = BIAS_SIGMA * BIAS_SIGMA;
    open_vertical(o);
    o->Pz[2] = GRAVITY_SIGMA * GRAVITY_SIGMA;
    o->heading_var = KF_PI * KF_PI;
}

static void clear_block(kf_orientation *o)
{
    o->block_s = o->block_accel_s = o->block_rate2 = o->block_open = 0;
    for (int i = 0; i < 3; i++)
        o->block_dv[i] = o->block_turn[0][i] = o->block_turn[1][i] = 0;
}

/* Hold var of state i at limit; its row and column shrink together, so P stays positive. */
static void hold_variance(kf_orientation *o, int i, double limit)
{
    if (o->P[i][i] <= limit)
        return;
    const double k = sqrt(limit / o->P[i][i]);
    for (int j = 0; j < KF_TILT_STATES; j++) {
        o->P[i][j] *= k;
        o->P[j][i] *= k;
    }
}

static void open_tilt(kf_orientation *o, double variance)
{
    o->P[0][0] += variance;
    o->P[1][1] += variance;
    hold_variance(o, 0, TILT_SIGMA * TILT_SIGMA);
    hold_variance(o, 1, TILT_SIGMA * TILT_SIGMA);
}

/* Count horizontal velocity from here, known to variance. */
static void begin_velocity(kf_orientation *o, double variance)
{
    o->velocity[0] = o->velocity[1] = 0;
    for (int i = 2; i < 4; i++) {
        for (int j = 0; j < KF_TILT_STATES; j++)
            o->P[i][j] = o->P[j][i] = 0;
        o->P[i][i] = variance;
    }
}

/* The stream is broken: nothing is known of the time between. */
void kf_orientation_break(kf_orientation *o, double gap_s)
{
    clear_block(o);
    o->prev = 0;
    o->still_s = 0;
    o->state &= ~(KF_STILL | KF_MAG_SEEN);
    if (gap_s > SNAP_GAP_S) {
        o->state &= ~KF_TILT_KNOWN;
        o->age_s = 0;
    }
    open_vertical(o);
    open_tilt(o, gap_s * gap_s);
    begin_velocity(o, VELOCITY_SIGMA * VELOCITY_SIGMA);
    kf_heading_drift(o, 0, 0, gap_s * gap_s);
}

/* Take tilt from specific force; heading stays as near as it can. */
static void snap(kf_orientation *o, kf_vec accel_b)
{
    const matrix m = rotation(o->q6);

    o->q6 = normalised(multiply(upright(rotate(&m, accel_b)), o->q6));
    open_covariance(o);
    o->state |= KF_TILT_KNOWN;
}

/* P <- F P F' + Q over a block. */
static void predict(kf_orientation *o)
{
    const double T = o->block_s, gT = (G + o->gravity_error) * o->block_accel_s;

    for (int j = 0; j < KF_TILT_STATES; j++) { /* F P */
        o->P[2][j] += gT * o->P[1][j];
        o->P[3][j] -= gT * o->P[0][j];
        for (int i = 0; i < 2; i++)
            o->P[i][j] -= o->block_turn[i][0] * o->P[4][j] + o->block_turn[i][1] * o->P[5][j] +
                          o->block_turn[i][2] * o->P[6][j];
    }
    for (int j = 0; j < KF_TILT_STATES; j++) { /* (F P) F' */
        o->P[j][2] += gT * o->P[j][1];
        o->P[j][3] -= gT * o->P[j][0];
        for (int i = 0; i < 2; i++)
            o->P[j][i] -= o->block_turn[i][0] * o->P[j][4] + o->block_turn[i][1] * o->P[j][5] +
                          o->block_turn[i][2] * o->P[j][6];
    }
    for (int i = 0; i < KF_TILT_STATES; i++) /* rounding must not make it lopsided */
        for (int j = 0; j < i; j++)
            o->P[i][j] = o->P[j][i];
    const double tilt = GYRO_NOISE * GYRO_NOISE * T + GYRO_RATE_NOISE * GYRO_RATE_NOISE * o->block_rate2;
    o->P[2][2] += ACCEL_NOISE * ACCEL_NOISE * T;
    o->P[3][3] += ACCEL_NOISE * ACCEL_NOISE * T;
    for (int i = 4; i < KF_TILT_STATES; i++) {
        o->P[i][i] += BIAS_WALK * BIAS_WALK * T;
        hold_variance(o, i, BIAS_SIGMA * BIAS_SIGMA);
    }
    open_tilt(o, tilt + o->block_open);
}

/* Scalar update of state i, measured with an error of residual and variance R. */
static void update(kf_orientation *o, int i, double residual, double R, double x[KF_TILT_STATES])
{
    double K[KF_TILT_STATES];
    const double S = o->P[i][i] + R;

    for (int j = 0; j < KF_TILT_STATES; j++)
        K[j] = o->P[j][i] / S;
    const double innovation = residual - x[i];
    for (int j = 0; j < KF_TILT_STATES; j++)
        x[j] += K[j] * innovation;
    for (int j = 0; j < KF_TILT_STATES; j++)
        for (int k = j; k < KF_TILT_STATES; k++)
            o->P[j][k] = o->P[k][j] = o->P[j][k] - K[j] * K[k] * S;
}

/* Vertical velocity and gravity, by the same argument. */
static void correct_vertical(kf_orientation *o, bool still)
{
    const double T = o->block_accel_s;

    if (still) {
        o->up_mps = 0;
        o->Pz[0] = o->Pz[1] = 0;
    }
    o->up_mps += o->block_dv[2];
    o->Pz[0] += -2 * T * o->Pz[1] + T * T * o->Pz[2] + ACCEL_NOISE * ACCEL_NOISE * T;
    o->Pz[1] -= T * o->Pz[2];
    o->Pz[2] += GRAVITY_WALK * GRAVITY_WALK * T;
    if (o->Pz[2] > GRAVITY_SIGMA * GRAVITY_SIGMA) {
        const double k = GRAVITY_SIGMA / sqrt(o->Pz[2]);
        o->Pz[1] *= k;
        o->Pz[2] *= k * k;
    }
    const double S = o->Pz[0] + (still ? REST_DV_SIGMA * REST_DV_SIGMA : UP_NOISE * UP_NOISE / T);
    const double K0 = o->Pz[0] / S, K1 = o->Pz[1] / S;
    const double residual = -o->up_mps;
    o->up_mps += K0 * residual;
    o->gravity_error = fmax(-GRAVITY_ERROR_MAX, fmin(o->gravity_error + K1 * residual, GRAVITY_ERROR_MAX));
    o->Pz[2] -= K1 * K1 * S;
    o->Pz[1] -= K0 * K1 * S;
    o->Pz[0] -= K0 * K0 * S;
}

/* v, no longer than limit. */
static kf_vec shortened(kf_vec v, double limit)
{
    const double n = kf_norm(v);

    return n > limit ? kf_scale(limit / n, v) : v;
}

/* Close the block: correct tilt, bias and gravity by what it tells. */
static void correct(kf_orientation *o)
{
    double x[KF_TILT_STATES] = {0};
    const bool still = o->state & KF_STILL;
    const double T = o->block_s;

    if (still)
        begin_velocity(o, 0);
    predict(o);
    if (o->block_accel_s > 0) {
        const double R =
            still ? REST_DV_SIGMA * REST_DV_SIGMA : VELOCITY_NOISE * VELOCITY_NOISE / o->block_accel_s;
        o->velocity[0] += o->block_dv[0];
        o->velocity[1] += o->block_dv[1];
        update(o, 2, -o->velocity[0], R, x);
        update(o, 3, -o->velocity[1], R, x);
        correct_vertical(o, still);
    }
    if (still) {
        const double R = REST_BIAS_NOISE * REST_BIAS_NOISE / T;
        update(o, 4, o->gyro_low_b.x - o->bias_b.x, R, x);
        update(o, 5, o->gyro_low_b.y - o->bias_b.y, R, x);
        update(o, 6, o->gyro_low_b.z - o->bias_b.z, R, x);
    }
    o->q6 = normalised(multiply(turn((kf_vec){x[0], x[1], 0}), o->q6));
    o->velocity[0] += x[2];
    o->velocity[1] += x[3];
    o->bias_b = shortened(kf_add(o->bias_b, (kf_vec){x[4], x[5], x[6]}), BIAS_MAX);
    clear_block(o);
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
    const double weight_off = kf_norm(o->accel_low_b) - G - o->gravity_error;
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

    a.z -= G + o->gravity_error;
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
    const matrix middle = s->means ? rotation(multiply(o->q6, turn(kf_scale(0.5, r)))) : (matrix){0};
    o->q6 = multiply(o->q6, turn(r));
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
            correct(o);
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
    return multiply((kf_quat){cos(o->heading / 2), 0, 0, sin(o->heading / 2)}, o->q6);
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
