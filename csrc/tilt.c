/* tilt.c: corrections of tilt, bias and gravity.
 *
 * An error-state Kalman filter of seven states, once a block:
 *
 *     x = [tilt error, horizontal velocity error (both e), bias error (b)]
 *     d tilt / dt = -R bias,   d velocity / dt = g (tilt_y, -tilt_x)
 *
 * with the only thing that is known of a body-worn sensor's velocity: it is bounded (pseudo-measurement of
 * zero with a spectral density). This is the low-pass of specific force in a nearly inertial frame (VQF:
 * Laidig and Seel 2023, doi 10.1016/j.inffus.2022.10.014) with a gain that follows the covariance, hence
 * right for any step, after a gap, and at the start. A vertical channel of the same kind learns what gravity
 * reads beyond nominal. At rest velocity does not change (it need not be zero: lifts, trains), and the
 * gyroscope reads its bias.
 */
#include "internal.h"

/* Noise; spectral densities per second. The larger part of the gyroscope's grows with the rate: scale,
 * alignment and the step's integration. */
#define GYRO_NOISE 1.7e-3      /* rad/sqrt(s) */
#define GYRO_RATE_NOISE 4e-3   /* rad/sqrt(s) per rad/s */
#define BIAS_WALK 2.0e-5       /* rad/s per sqrt(s) */
#define ACCEL_NOISE 0.05       /* m/s per sqrt(s) */
#define VELOCITY_NOISE 0.35    /* m/s sqrt(s): velocity of about 0.5 m/s, correlated over half a second */
#define TILT_SIGMA 0.5         /* rad, at first and at most */
#define UP_NOISE 1.0           /* m/s sqrt(s): climbing goes on for long */
#define GRAVITY_WALK 1.0e-3    /* m/s^2 per sqrt(s) */
#define REST_BIAS_NOISE 1.5e-3 /* rad/s sqrt(s) */
#define REST_DV_SIGMA 0.005    /* m/s, of the increment of velocity over a block at rest */
#define BIAS_MAX 0.35          /* rad/s */
#define GRAVITY_ERROR_MAX 0.5  /* m/s^2 */
#define BIAS_SIGMA 0.02        /* rad/s, at first and at most */
#define VELOCITY_SIGMA 1.0     /* m/s, at first */
#define GRAVITY_SIGMA 0.1      /* m/s^2 */

void kf_tilt_open_all(kf_orientation *o)
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

static void begin_block(kf_orientation *o)
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

void kf_tilt_reset(kf_orientation *o)
{
    kf_tilt_open_all(o);
    for (int i = 4; i < KF_TILT_STATES; i++)
        o->P[i][i] = BIAS_SIGMA * BIAS_SIGMA;
    open_vertical(o);
    o->Pz[2] = GRAVITY_SIGMA * GRAVITY_SIGMA;
}

/* Nothing is known of gap_s seconds: a turn of a radian a second, any velocity. */
void kf_tilt_break(kf_orientation *o, double gap_s)
{
    begin_block(o);
    open_vertical(o);
    open_tilt(o, gap_s * gap_s);
    begin_velocity(o, VELOCITY_SIGMA * VELOCITY_SIGMA);
}

/* P <- F P F' + Q over a block. */
static void predict(kf_orientation *o)
{
    const double T = o->block_s, gT = (KF_GRAVITY + o->gravity_error) * o->block_accel_s;

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
void kf_tilt_correct(kf_orientation *o)
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
    o->q6 = kf_normalised(kf_multiply(kf_turn((kf_vec){x[0], x[1], 0}), o->q6));
    o->velocity[0] += x[2];
    o->velocity[1] += x[3];
    o->bias_b = shortened(kf_add(o->bias_b, (kf_vec){x[4], x[5], x[6]}), BIAS_MAX);
    begin_block(o);
}
