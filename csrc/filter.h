/* filter.h: the orientation filter, of KF_LANES devices side by side; see docs/orientation.md.
 *
 * Per increment the quaternion q_eb is turned by the rotation without bias; specific force and field are
 * rotated by the orientation halfway and summed. Every KF_BLOCK_S the sums correct the state. Two filters,
 * one after the other:
 *
 * Tilt. An error-state Kalman filter of seven states,
 *
 *     x = [tilt error (e, 2), horizontal velocity error (e, 2), bias error (b, 3)]
 *     d tilt / dt = -R bias,   d velocity / dt = g (tilt_y, -tilt_x)
 *
 * with the only thing that is known of a body-worn sensor's velocity: it is bounded (a pseudo-measurement
 * of zero with a spectral density). This is the low-pass of specific force in a nearly inertial frame (VQF:
 * Laidig and Seel 2023, doi 10.1016/j.inffus.2022.10.014) with a gain that follows the covariance: right
 * for any step, after a gap, and at the start. A vertical channel of the same kind learns what gravity
 * reads beyond nominal. A swinging arm moves in step with its own turns, which no noise does: so the noise
 * grows with the speed that is seen, and the bias takes but a share of its gain. At rest velocity does not
 * change (it need not be zero: lifts, trains), and the gyroscope reads its bias.
 *
 * Heading. A scalar Kalman filter on the angle about z from the earth of q6 to ENU. The magnetometer never
 * touches tilt. Where the field is disturbed its horizontal part is off by about as much as the part that
 * can be seen: its length and dip; so the noise follows the misfit, and a field that is far off is not
 * used. A field that stays consistent in a new way for RENEW_S of motion becomes the reference.
 */
#ifndef KF_FILTER_H
#define KF_FILTER_H

#include "internal.h"
#include "lanes.h"

#define G 9.80665F

/* Noise; spectral densities per second. The larger part of the gyroscope's grows with the rate: scale,
 * alignment, and the time between samples. */
#define GYRO_NOISE 1.7e-3F      /* rad/sqrt(s) */
#define GYRO_RATE_NOISE 3.0e-3F /* rad/sqrt(s) per rad/s */
#define BIAS_WALK 8.0e-5F       /* rad/s per sqrt(s) */
#define ACCEL_NOISE 0.05F       /* m/s per sqrt(s) */
#define VELOCITY_NOISE 0.4F     /* m/s sqrt(s): a velocity of about 0.6 m/s, correlated over half a second */
#define SPEED_NOISE 0.3F        /* s: of the mean square of the speed that is seen, beside it */
#define SPEED_LOW_S 2.0F
#define MOTION_SHARE                                                                                         \
    0.2F              /* of the gain on the bias, in motion: there acceleration is no noise, but in step */
#define UP_NOISE 1.0F /* m/s sqrt(s): climbing goes on for long */
#define GRAVITY_WALK 1.0e-3F   /* m/s^2 per sqrt(s) */
#define GRAVITY_ERROR_MAX 0.5F /* m/s^2 */
#define TILT_SIGMA 0.5F        /* rad, at first and at most */
#define VELOCITY_SIGMA 1.0F    /* m/s, at first */
#define BIAS_SIGMA 0.02F       /* rad/s, at first and at most */
#define GRAVITY_SIGMA 0.1F     /* m/s^2 */
#define HEADING_VAR_MAX 9.8696044F
#define AGE_MAX_S 1.0e6F
#define SETTLED_SIGMA 0.06F /* rad */
#define SETTLED_AGE_S 2.0F
#define BIAS_MAX 0.35F /* rad/s, of each axis */

/* Rest: blocks like their low-passed mean, for a while. */
#define REST_RATE 7.0e-3F /* rad/s: what one may turn unnoticed, and about twice a poor gyroscope's noise */
#define CHI2 (14 / 3.0F)  /* 0.3 % of what three axes of this variance add up to is beyond */
#define REST_OFF 3.5e-3F  /* rad/s: from the bias, beyond its sigma */
#define REST_NOISE 0.07F  /* rad/s, rms within a block */
#define REST_ACCEL 0.5F   /* m/s^2 */
#define REST_NORM 0.15F   /* m/s^2: mean specific force is gravity, also in a lift */
#define REST_OPEN 1.0e-8F /* rad^2 */
#define REST_FELT 0.2F    /* of the time, by the accelerometer: it may be slower */
#define REST_AFTER_S 1.5F
#define REST_PROVED_S 20.0F
#define REST_LOW_S 5.0F
#define REST_BIAS_MAX 0.1F      /* rad/s: no gyroscope is off by more */
#define REST_BIAS_SIGMA 1.0e-3F /* rad/s, at least: a slow turn may pass for rest */
#define REST_BIAS_NOISE 1.5e-3F /* rad/s sqrt(s) */
#define REST_DV_SIGMA 0.005F    /* m/s, of the increment of velocity over a block */

/* Heading. */
#define FIELD_NOISE 0.08F /* rad sqrt(s) */
#define MISFIT_NOISE 1.5F /* sqrt(s): what is seen of a disturbance goes on for about a second */
#define FIELD_SIGMA 0.3F  /* rad, of the first field */
#define NORM_SHARE 0.1F
#define DIP_TAN 0.17F /* of 10 degrees */
#define FIT_S 0.5F    /* a field must fit so long before it is used again */
#define LOW_S 20.0F   /* of the reference */
#define NEW_LOW_S 2.0F
#define RENEW_S 15.0F
#define RENEW_RATE 0.35F /* rad/s: a field proves itself only while the device turns */
#define PATIENCE_S 60.0F /* a field that never fits is used with care after that */
#define CARE 25.0F

/* Places in the packed covariance: tilt 0 1, velocity 2 3, bias 4 5 6. */
enum {
    P00,
    P01,
    P02,
    P03,
    P04,
    P05,
    P06,
    P11,
    P12,
    P13,
    P14,
    P15,
    P16,
    P22,
    P23,
    P24,
    P25,
    P26,
    P33,
    P34,
    P35,
    P36,
    P44,
    P45,
    P46,
    P55,
    P56,
    P66
};

static const unsigned char kf_at[KF_TILT_STATES][KF_TILT_STATES] = {
    {P00, P01, P02, P03, P04, P05, P06}, {P01, P11, P12, P13, P14, P15, P16},
    {P02, P12, P22, P23, P24, P25, P26}, {P03, P13, P23, P33, P34, P35, P36},
    {P04, P14, P24, P34, P44, P45, P46}, {P05, P15, P25, P35, P45, P55, P56},
    {P06, P16, P26, P36, P46, P56, P66}};

#if KF_LANES == 1
typedef kf_filter kf_filters;
typedef kf_increment kf_increments;
typedef kf_free kf_frees;
#else
typedef struct {
    KF_FILTER_FIELDS(kf_real)
} kf_filters;
typedef struct {
    KF_INCREMENT_FIELDS(kf_real)
} kf_increments;
typedef struct {
    KF_FREE_FIELDS(kf_real)
} kf_frees;
#endif

static inline void kf_product(const kf_real a[4], const kf_real b[4], kf_real out[4])
{
    out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
    out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
    out[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1];
    out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0];
}

/* The rotation matrix of q, rows. */
static inline void kf_matrix(const kf_real q[4], kf_real R[3][3])
{
    const kf_real x2 = q[1] + q[1], y2 = q[2] + q[2], z2 = q[3] + q[3];
    const kf_real xx = x2 * q[1], yy = y2 * q[2], zz = z2 * q[3], xy = x2 * q[2], xz = x2 * q[3],
                  yz = y2 * q[3];
    const kf_real wx = x2 * q[0], wy = y2 * q[0], wz = z2 * q[0];

    R[0][0] = 1.0F - (yy + zz);
    R[0][1] = xy - wz;
    R[0][2] = xz + wy;
    R[1][0] = xy + wz;
    R[1][1] = 1.0F - (xx + zz);
    R[1][2] = yz - wx;
    R[2][0] = xz - wy;
    R[2][1] = yz + wx;
    R[2][2] = 1.0F - (xx + yy);
}

static inline void kf_rotate(kf_real R[3][3], const kf_real v[3], kf_real out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = R[i][0] * v[0] + R[i][1] * v[1] + R[i][2] * v[2];
}

static inline kf_real kf_square(const kf_real v[3])
{
    return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
}

/* Whether the device lies still: the block's means are like those of some time. */
static inline kf_mask kf_judge_rest(kf_filters *s, kf_real inverse_s)
{
    const kf_mask first = KF_TRUE(s->age_s <= s->block_s);
    /* The mean is of the calm time alone: each block that is not calm begins it anew. */
    const kf_real k =
        s->block_s / (s->block_s + kf_where(first, kf_of(0), kf_least(s->still_s, kf_of(REST_LOW_S))));
    const kf_mask felt = KF_TRUE(s->block_accel_s >= REST_FELT * s->block_s);
    const kf_real inverse_accel_s = 1 / kf_where(felt, s->block_accel_s, kf_of(1));
    kf_real turn[3], rate[3], force[3], off[3];

    for (int i = 0; i < 3; i++) {
        turn[i] = s->block_turn[i] * inverse_s;
        rate[i] = turn[i] + s->bias[i] - s->gyro_low[i];
        force[i] = s->block_force[i] * inverse_accel_s - s->force_low[i];
        s->gyro_low[i] += k * rate[i];
        s->force_low[i] += k * force[i];
        off[i] = s->gyro_low[i] - s->bias[i];
    }
    const kf_real spread = s->block_rate2 * inverse_s - kf_square(turn);
    const kf_real bias_variance = s->P[P44] + s->P[P55] + s->P[P66];
    const kf_real weight = kf_root(kf_square(s->force_low)) - (s->gravity_error + G);
    const kf_mask calm = KF_TRUE(kf_square(rate) < REST_RATE * REST_RATE) &
                         KF_TRUE(spread < REST_NOISE * REST_NOISE) &
                         KF_TRUE(kf_square(force) < REST_ACCEL * REST_ACCEL) &
                         KF_TRUE(kf_size(weight) < 3 * kf_root(s->Pz[2]) + REST_NORM) &
                         KF_TRUE(s->block_open < REST_OPEN) & felt & ~first;
    const kf_mask near = KF_TRUE(kf_square(off) < CHI2 * bias_variance + REST_OFF * REST_OFF);

    s->still_s = kf_where(calm, kf_least(s->still_s + s->block_s, kf_of(REST_PROVED_S)), kf_of(0));
    /* Nobody turns so evenly for so long: it is the bias that is wrong, by more than was thought. */
    const kf_mask proved = KF_TRUE(s->still_s >= REST_PROVED_S) &
                           KF_TRUE(kf_square(s->gyro_low) < REST_BIAS_MAX * REST_BIAS_MAX);
    for (int i = 4; i < KF_TILT_STATES; i++)
        s->P[kf_at[i][i]] = kf_where(proved & ~near, kf_of(BIAS_SIGMA * BIAS_SIGMA), s->P[kf_at[i][i]]);
    const kf_mask still = KF_TRUE(s->still_s >= REST_AFTER_S) & (near | proved);
    s->resting = kf_where(still, kf_of(1), kf_of(0));
    return still;
}

/* Forget what is known of horizontal velocity where m: it counts from here, as zero. */
static inline void kf_begin_velocity(kf_filters *s, kf_mask m)
{
    static const unsigned char places[] = {P02, P03, P12, P13, P22, P23, P24, P25, P26, P33, P34, P35, P36};

    for (unsigned i = 0; i < sizeof places; i++)
        s->P[places[i]] = kf_where(m, kf_of(0), s->P[places[i]]);
    for (int i = 0; i < 2; i++)
        s->velocity[i] = kf_where(m, kf_of(0), s->velocity[i]);
}

/* Hold the variance of a tilt at its limit; row and column shrink together, so that P stays positive. */
static inline void kf_hold_tilt(kf_filters *s, int at)
{
    const kf_mask over = KF_TRUE(s->P[kf_at[at][at]] > TILT_SIGMA * TILT_SIGMA);

    if (!kf_any(over))
        return;
    const kf_real k = kf_where(over, TILT_SIGMA / kf_root(s->P[kf_at[at][at]]), kf_of(1));
    for (int j = 0; j < KF_TILT_STATES; j++)
        s->P[kf_at[at][j]] *= k;
    s->P[kf_at[at][at]] *= k;
}

/* P <- F P F' + Q over a block; the last step's rotation stands for the block's. */
static inline void kf_predict(kf_filters *s, kf_real R[3][3])
{
    const kf_real T = s->block_s, gT = (s->gravity_error + G) * s->block_accel_s;
    kf_real *P = s->P;
    kf_real B[2][3]; /* tilt <- bias */

    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            B[i][j] = -T * R[i][j];
    /* velocity <- tilt: with the others as they were */
    const kf_real old02 = P[P02], old03 = P[P03], old12 = P[P12], old13 = P[P13];
    P[P22] += gT * (2 * old12 + gT * P[P11]);
    P[P33] += gT * (gT * P[P00] - 2 * old03);
    P[P23] += gT * (old13 - old02 - gT * P[P01]);
    P[P02] += gT * P[P01];
    P[P03] -= gT * P[P00];
    P[P12] += gT * P[P11];
    P[P13] -= gT * P[P01];
    for (int j = 0; j < 3; j++) {
        P[P24 + j] += gT * P[P14 + j];
        P[P34 + j] -= gT * P[P04 + j];
    }
    /* tilt <- bias */
    kf_real before[2][3], after[2][3];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++) {
            before[i][j] = P[kf_at[i][4 + j]];
            after[i][j] = before[i][j] + B[i][0] * P[kf_at[4][4 + j]] + B[i][1] * P[kf_at[5][4 + j]] +
                          B[i][2] * P[kf_at[6][4 + j]];
        }
    for (int i = 0; i < 2; i++)
        for (int j = i; j < 2; j++)
            for (int k = 0; k < 3; k++)
                P[kf_at[i][j]] += B[i][k] * before[j][k] + after[i][k] * B[j][k];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            P[kf_at[i][2 + j]] +=
                B[i][0] * P[kf_at[2 + j][4]] + B[i][1] * P[kf_at[2 + j][5]] + B[i][2] * P[kf_at[2 + j][6]];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            P[kf_at[i][4 + j]] = after[i][j];
    /* noise */
    const kf_real tilt =
        GYRO_NOISE * GYRO_NOISE * T + GYRO_RATE_NOISE * GYRO_RATE_NOISE * s->block_rate2 + s->block_open;
    const kf_real velocity = ACCEL_NOISE * ACCEL_NOISE * T + s->block_open_velocity;
    P[P00] += tilt;
    P[P11] += tilt;
    P[P22] += velocity;
    P[P33] += velocity;
    for (int i = 4; i < KF_TILT_STATES; i++) /* the walk ends where nothing is known any more */
        P[kf_at[i][i]] += BIAS_WALK * BIAS_WALK * T *
                          kf_most(1 - P[kf_at[i][i]] * (1 / (BIAS_SIGMA * BIAS_SIGMA)), kf_of(0));
    kf_hold_tilt(s, 0);
    kf_hold_tilt(s, 1);
}

/* Scalar update, where told: state i is off by residual, which is known to variance R. The bias takes a share
 * of its gain; P is that of such a gain. */
static inline void kf_update(kf_filters *s, int i, kf_real residual, kf_real R, kf_mask where, float share,
                             kf_real x[KF_TILT_STATES])
{
    kf_real row[KF_TILT_STATES], K[KF_TILT_STATES];
    const kf_real inverse = kf_where(where, 1 / (s->P[kf_at[i][i]] + R), kf_of(0));
    const kf_real innovation = residual - x[i];

    for (int j = 0; j < KF_TILT_STATES; j++) {
        row[j] = s->P[kf_at[i][j]];
        K[j] = row[j] * inverse;
        x[j] += (j < 4 ? 1.0F : share) * K[j] * innovation;
    }
    const float learnt = share * (2 - share);
    for (int j = 0; j < KF_TILT_STATES; j++)
        for (int k = j; k < KF_TILT_STATES; k++)
            s->P[kf_at[j][k]] -= (j < 4 ? 1.0F : learnt) * K[j] * row[k];
}

/* Vertical velocity and gravity, by the same argument. */
static inline void kf_correct_vertical(kf_filters *s, kf_mask still, kf_mask fell)
{
    const kf_real T = s->block_accel_s;
    const kf_real keep = kf_where(still, kf_of(0), kf_of(1));
    kf_real *P = s->Pz;

    s->up_mps = s->up_mps * keep + s->block_force[2] - (s->gravity_error + G) * T;
    P[0] = P[0] * keep - T * (2 * P[1] * keep - T * P[2]) + ACCEL_NOISE * ACCEL_NOISE * T +
           s->block_open_velocity;
    P[1] = P[1] * keep - T * P[2];
    P[2] +=
        GRAVITY_WALK * GRAVITY_WALK * T * kf_most(1 - P[2] * (1 / (GRAVITY_SIGMA * GRAVITY_SIGMA)), kf_of(0));
    const kf_real R = kf_where(still, kf_of(REST_DV_SIGMA * REST_DV_SIGMA),
                               UP_NOISE * UP_NOISE / kf_where(fell, T, kf_of(1)));
    const kf_real inverse = kf_where(fell, 1 / (P[0] + R), kf_of(0));
    const kf_real K0 = P[0] * inverse, K1 = P[1] * inverse, residual = -s->up_mps;
    s->up_mps += K0 * residual;
    s->gravity_error = kf_most(kf_least(s->gravity_error + K1 * residual, kf_of(GRAVITY_ERROR_MAX)),
                               kf_of(-GRAVITY_ERROR_MAX));
    P[2] -= K1 * P[1];
    P[1] -= K0 * P[1];
    P[0] -= K0 * P[0];
}

/* Whether a field (horizontal, up) has the length and the dip of a reference. */
static inline kf_mask kf_fits(kf_real across, kf_real up, const kf_real field[2])
{
    const kf_real norm2 = across * across + up * up;
    const kf_real norm2_ref = field[0] * field[0] + field[1] * field[1];
    const kf_real along = across * field[0] + up * field[1], beside = across * field[1] - up * field[0];

    return KF_TRUE(norm2 > (1 - NORM_SHARE) * (1 - NORM_SHARE) * norm2_ref) &
           KF_TRUE(norm2 < (1 + NORM_SHARE) * (1 + NORM_SHARE) * norm2_ref) &
           KF_TRUE(kf_size(beside) < DIP_TAN * along);
}

/* Heading from the block's mean field, where one came; rate2: mean square over the block, (rad/s)^2. */
static inline void kf_correct_heading(kf_filters *s, kf_real rate2)
{
    const kf_real T = s->block_mag_s;
    const kf_mask came = KF_TRUE(T > 0);
    const kf_real inverse = 1 / kf_where(came, T, kf_of(1));
    const kf_real east = s->block_field[0] * inverse, north = s->block_field[1] * inverse,
                  up = s->block_field[2] * inverse;
    const kf_real across = kf_root(east * east + north * north);
    const kf_mask usable = came & KF_TRUE(across > 1e-3F) & KF_TRUE(across > 1e-3F * kf_size(up));
    const kf_mask begins = usable & KF_TRUE(s->heading_known <= 0);

    if (!kf_any(usable))
        return;
    s->field[0] = kf_where(begins, across, s->field[0]);
    s->field[1] = kf_where(begins, up, s->field[1]);
    s->field_new[0] = kf_where(begins, across, s->field_new[0]);
    s->field_new[1] = kf_where(begins, up, s->field_new[1]);
    s->fit_s = kf_where(begins, kf_of(FIT_S), s->fit_s);
    s->heading_known = kf_where(begins, kf_of(1), s->heading_known);

    /* The reference follows while the field fits; a second one follows quickly while it does not. */
    const kf_mask fit = usable & kf_fits(across, up, s->field);
    const kf_mask off = usable & ~fit;
    s->fit_s = kf_where(fit, kf_least(s->fit_s + T, kf_of(FIT_S)), kf_where(off, kf_of(0), s->fit_s));
    const kf_mask good = fit & KF_TRUE(s->fit_s >= FIT_S);
    const kf_real slow = T / (kf_least(s->mag_s + T, kf_of(LOW_S)) + T), quick = T / (T + NEW_LOW_S);
    const kf_mask same = off & kf_fits(across, up, s->field_new);
    s->new_s = kf_where(good | (off & ~same), kf_of(0),
                        kf_where(same & KF_TRUE(rate2 > RENEW_RATE * RENEW_RATE), s->new_s + T, s->new_s));
    const kf_mask renewed = off & KF_TRUE(s->new_s >= RENEW_S);
    for (int i = 0; i < 2; i++) {
        const kf_real value = i ? up : across;
        s->field[i] = kf_where(good, s->field[i] + slow * (value - s->field[i]), s->field[i]);
        s->field_new[i] =
            kf_where(good, s->field[i],
                     kf_where(off, s->field_new[i] + quick * (value - s->field_new[i]), s->field_new[i]));
        s->field[i] = kf_where(renewed, s->field_new[i], s->field[i]);
    }
    s->new_s = kf_where(renewed, kf_of(0), s->new_s);
    s->fit_s = kf_where(renewed, kf_of(FIT_S), s->fit_s);
    s->heading_var =
        kf_where(renewed, kf_most(s->heading_var, kf_of(FIELD_SIGMA * FIELD_SIGMA)), s->heading_var);
    s->misfit_s = kf_where(good | renewed, kf_of(0),
                           kf_where(usable, kf_least(s->misfit_s + T, kf_of(PATIENCE_S)), s->misfit_s));
    s->field_off = kf_where(good, kf_of(0), kf_where(off, kf_of(1), s->field_off));
    s->mag_s = kf_where(usable, kf_least(s->mag_s + T, kf_of(LOW_S)), s->mag_s);

    const kf_mask careful = usable & ~good & KF_TRUE(s->misfit_s >= PATIENCE_S);
    const kf_real de = across - s->field[0], du = up - s->field[1];
    const kf_real misfit2 = (de * de + du * du) / (s->field[0] * s->field[0]);
    const kf_real R = (MISFIT_NOISE * MISFIT_NOISE * misfit2 + FIELD_NOISE * FIELD_NOISE) * inverse *
                      kf_where(careful, kf_of(CARE), kf_of(1));
    kf_real gain = s->heading_var / (s->heading_var + R);
    gain = kf_where(begins, kf_of(1), kf_where(good | careful, gain, kf_of(0)));
    const kf_real c = s->half[0], h = s->half[1];
    const kf_real cosine = c * c - h * h, sine = 2 * c * h;
    const kf_real turn = (0.5F * gain) * kf_angle(cosine * east - sine * north, sine * east + cosine * north);
    kf_real dc, ds;
    kf_cosine(turn * turn, &dc, &ds);
    ds *= turn;
    const kf_real new_c = c * dc - h * ds, new_h = h * dc + c * ds;
    const kf_real norm = 1 / kf_root(new_c * new_c + new_h * new_h);
    const kf_mask turned = begins | good | careful;
    s->half[0] = kf_where(turned, new_c * norm, c);
    s->half[1] = kf_where(turned, new_h * norm, h);
    s->heading_var =
        kf_where(begins, kf_of(FIELD_SIGMA * FIELD_SIGMA), s->heading_var - gain * s->heading_var);
}

/* Close the block: correct tilt, bias, gravity and heading by what it tells. */
static inline void kf_correct(kf_filters *s)
{
    const kf_real T = s->block_s, inverse_s = 1 / T;
    kf_real R[3][3], x[KF_TILT_STATES];

    for (int i = 0; i < KF_TILT_STATES; i++)
        x[i] = kf_of(0);
    kf_matrix(s->q, R);
    const kf_mask still = kf_judge_rest(s, inverse_s);
    const kf_mask fell = KF_TRUE(s->block_accel_s > 0);
    kf_begin_velocity(s, still);
    kf_predict(s, R);
    const kf_real noise = kf_where(still, kf_of(REST_DV_SIGMA * REST_DV_SIGMA),
                                   (VELOCITY_NOISE * VELOCITY_NOISE + SPEED_NOISE * s->speed2) /
                                       kf_where(fell, s->block_accel_s, kf_of(1)));
    for (int i = 0; i < 2; i++)
        s->velocity[i] += s->block_force[i];
    for (int i = 0; i < 2; i++)
        kf_update(s, 2 + i, -s->velocity[i], noise, fell, MOTION_SHARE, x);
    kf_correct_vertical(s, still, fell);
    if (kf_any(still))
        for (int i = 0; i < 3; i++)
            kf_update(s, 4 + i, s->gyro_low[i] - s->bias[i], REST_BIAS_NOISE * REST_BIAS_NOISE * inverse_s,
                      still, 1, x);
    for (int i = 4; i < KF_TILT_STATES; i++)
        s->P[kf_at[i][i]] = kf_where(
            still, kf_most(s->P[kf_at[i][i]], kf_of(REST_BIAS_SIGMA * REST_BIAS_SIGMA)), s->P[kf_at[i][i]]);

    kf_real dq[4], q[4], cosine, sinc;
    kf_cosine(0.25F * (x[0] * x[0] + x[1] * x[1]), &cosine, &sinc);
    dq[0] = cosine;
    dq[1] = 0.5F * sinc * x[0];
    dq[2] = 0.5F * sinc * x[1];
    dq[3] = kf_of(0);
    kf_product(dq, s->q, q);
    const kf_real norm = 1 / kf_root(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    for (int i = 0; i < 4; i++)
        s->q[i] = q[i] * norm;
    for (int i = 0; i < 2; i++)
        s->velocity[i] += x[2 + i];
    const kf_real speed2 = s->velocity[0] * s->velocity[0] + s->velocity[1] * s->velocity[1];
    s->speed2 += T / (T + SPEED_LOW_S) * (0.5F * speed2 - s->speed2);
    for (int i = 0; i < 3; i++)
        s->bias[i] = kf_most(kf_least(s->bias[i] + x[4 + i], kf_of(BIAS_MAX)), kf_of(-BIAS_MAX));
    /* The bias about z is no state of the heading's own: all that is unknown of it goes into one direction.
     */
    const kf_real *P = s->P;
    const kf_real about_z = R[2][0] * (R[2][0] * P[P44] + 2 * (R[2][1] * P[P45] + R[2][2] * P[P46])) +
                            R[2][1] * (R[2][1] * P[P55] + 2 * R[2][2] * P[P56]) + R[2][2] * R[2][2] * P[P66];
    s->heading_var += kf_where(still, kf_of(0), 2 * T * kf_root(s->heading_var * kf_most(about_z, kf_of(0))));
    s->heading_var +=
        GYRO_NOISE * GYRO_NOISE * T + GYRO_RATE_NOISE * GYRO_RATE_NOISE * s->block_rate2 + s->block_open;
    s->heading_var = kf_least(s->heading_var, kf_of(HEADING_VAR_MAX));
    kf_correct_heading(s, s->block_rate2 * inverse_s);
    const kf_mask known = KF_TRUE(s->P[P00] + s->P[P11] < 2 * SETTLED_SIGMA * SETTLED_SIGMA) &
                          KF_TRUE(s->age_s >= SETTLED_AGE_S);
    s->settled = kf_where(known, kf_of(1), kf_of(0));

    s->block_s = s->block_accel_s = s->block_mag_s = s->block_rate2 = s->block_open = s->block_open_velocity =
        kf_of(0);
    for (int i = 0; i < 3; i++)
        s->block_turn[i] = s->block_force[i] = s->block_field[i] = kf_of(0);
}

/* Turn by one step, and sum what it tells; the caller corrects once block_s has reached KF_BLOCK_S. A step of
 * zero seconds changes nothing. */
static inline void kf_turn_by(kf_filters *s, const kf_increments *step, kf_frees *out)
{
    const kf_real dt = step->dt_s;
    const kf_real inverse = kf_where(KF_TRUE(dt > 0), 1 / kf_where(KF_TRUE(dt > 0), dt, kf_of(1)), kf_of(0));
    kf_real turn[3], middle[4], end[4], half[4], R[3][3], force[3], field[3], cosine, sinc;

    for (int i = 0; i < 3; i++)
        turn[i] = step->turn[i] - dt * s->bias[i];
    const kf_real turn2 = kf_square(turn);
    kf_cosine(0.0625F * turn2, &cosine, &sinc); /* a half turn of half the step */
    half[0] = cosine;
    for (int i = 0; i < 3; i++)
        half[1 + i] = 0.25F * sinc * turn[i];
    kf_product(s->q, half, middle);
    kf_product(middle, half, end);
    kf_matrix(middle, R);
    kf_rotate(R, step->accel, force);
    kf_rotate(R, step->mag, field);
    for (int i = 0; i < 4; i++)
        s->q[i] = kf_where(KF_TRUE(dt > 0), end[i], s->q[i]);
    for (int i = 0; i < 3; i++) {
        s->block_turn[i] += turn[i];
        s->block_force[i] += step->accel_s * force[i];
        s->block_field[i] += step->mag_s * field[i];
        out->accel[i] = force[i];
    }
    out->accel[2] -= s->gravity_error + G;
    out->rate2 = turn2 * inverse * inverse;
    s->block_s += dt;
    s->block_accel_s += step->accel_s;
    s->block_mag_s += step->mag_s;
    s->block_rate2 += turn2 * inverse;
    s->block_open += step->open;
    s->block_open_velocity += step->open_velocity;
    s->age_s = kf_least(s->age_s + dt, kf_of(AGE_MAX_S));
}

#endif
