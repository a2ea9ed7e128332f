/* increments.c: from samples to steps of rotation and force.
 *
 * A step's rotation vector is the integral of the rate with its coning term (Savage 1998, doi
 * 10.2514/2.4228). Samples come in two conventions: means over the interval that ends at their stamp, or
 * instantaneous values, whose means over an interval are those of its two ends.
 *
 * Two things of real streams are mended here, first at once and roughly, then as soon as what follows is
 * known:
 *
 * - A gap is bridged by a straight line between the rates on its two sides. Two samples later slope and
 *   curvature are known on both sides, and the fifth-degree polynomial through all of them adds its part,
 *   less of it the longer the gap: beyond the time in which a body turns back it tells nothing.
 * - An axis that stands at the end of its range turns on by its last slope, which fades as a swing does.
 *   One sample after its return a cubic through both sides replaces the assumed part by a better one.
 *
 * What remains unknown opens the covariance.
 */
#include "internal.h"

#define GAP_STEPS 1.5F /* a longer step, in intervals of its own, is a gap */
#define BEND_SHARE 0.67F
#define BEND_S 0.14F  /* half of the polynomial's part is left at a gap of about this */
#define BEND_MAX 1.0F /* rad */
#define BEND_OPEN 0.6F
#define GAP_OPEN 0.05F      /* of the turn that the rates on both sides make of the gap */
#define GAP_FORCE_OPEN 0.5F /* of the specific force that came or went in it */
#define GAP_FORCE 0.5F      /* m/s^2, at least */
#define CLIP_AXIS 0.98F     /* of the largest axis: those at the end of the range stand equally high */
#define CLIP_SLOPE 0.9F
#define CLIP_FADE_S 0.065F
#define CLIP_SHARE 1.2F
#define CLIP_S 0.2F
#define CLIP_MAX_S 0.5F  /* longer than any swing: no polynomial tells what was there */
#define CLIP_CHAIN 12.0F /* rad */
#define CLIP_STEP_OPEN 0.1F
#define CLIP_OPEN 0.4F
#define CLIP_RATE_OPEN 0.25F /* rad/s, over the span, for one of CLIP_S or longer */
#define CLIP_LONG_OPEN 0.3F
#define CLIP_ACCEL 10.0F /* m/s^2 that a clipped accelerometer may hide */
#define BLIND_RATE 0.5F  /* rad/sqrt(s), where there is no gyroscope */
#define TURN_MAX 3.0F    /* rad; a longer turn is told by its remainder */

static float square(const float v[3])
{
    return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
}

static void cross(const float a[3], const float b[3], float out[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static kf_quat turn_by(const float r[3])
{
    return kf_turn((kf_vec){r[0], r[1], r[2]});
}

/* The rotation vector of q, at most pi long. */
static void turn_of(kf_quat q, float out[3])
{
    const double n = sqrt(q.x * q.x + q.y * q.y + q.z * q.z);
    const double k = n < 1e-12 ? 2 : 2 * atan2(q.w < 0 ? -n : n, fabs(q.w)) / n;

    out[0] = (float)(k * q.x);
    out[1] = (float)(k * q.y);
    out[2] = (float)(k * q.z);
}

/* v as it stands after the body has turned by r. */
static void carry(float v[3], const float r[3])
{
    const kf_quat q = turn_by(r);
    const kf_quat back = {q.w, -q.x, -q.y, -q.z};
    const kf_quat moved = kf_multiply(kf_multiply(back, (kf_quat){0, v[0], v[1], v[2]}), q);

    v[0] = (float)moved.x;
    v[1] = (float)moved.y;
    v[2] = (float)moved.z;
}

/* Turn by mend before turn. */
static void mend(float turn[3], const float by[3])
{
    turn_of(kf_multiply(turn_by(by), turn_by(turn)), turn);
}

/* Slope and curvature of three rates at the first of them; to_second, to_third: s from one to the next. */
static void bend(float first, float second, float third, float to_second, float to_third, float *slope,
                 float *curvature)
{
    const float near = (second - first) / to_second, far = (third - second) / to_third;

    *curvature = 2 * (far - near) / (to_second + to_third);
    *slope = near - *curvature * to_second / 2;
}

/* What the rates before a gap tell of its polynomial, kept until those after it are known. */
static void begin_gap(kf_stream *s, float gap_s, float own_s, const float turn[3])
{
    float slope, curvature;

    s->gap_after = 0;
    if (s->count < 3 || s->step_s[0] + s->step_s[1] > 4 * own_s)
        return;
    s->gap_s = gap_s;
    s->gap_after = 1;
    for (int i = 0; i < 3; i++) {
        bend(s->gyro[0][i], s->gyro[1][i], s->gyro[2][i], s->step_s[0], s->step_s[1], &slope, &curvature);
        s->gap_bend[i] = gap_s * gap_s * (gap_s * curvature / 120 - slope / 10);
        s->gap_turn[i] = turn[i] / 2;
    }
}

/* Mend a gap: gyro and the two samples before it are those after the gap. */
static void end_gap(kf_stream *s, const float gyro[3], float dt_s, float turn[3], kf_increment *out)
{
    const float D = s->gap_s, ratio2 = D * D / (BEND_S * BEND_S);
    const float share = BEND_SHARE / (1 + ratio2 * ratio2);
    float whole[3], part[3], slope, curvature;

    s->gap_after = 0;
    for (int i = 0; i < 3; i++) {
        bend(s->gyro[1][i], s->gyro[0][i], gyro[i], s->step_s[0], dt_s, &slope, &curvature);
        whole[i] = s->gap_bend[i] + D * D * (D * curvature / 120 - slope / 10);
        whole[i] = fmaxf(-BEND_MAX, fminf(whole[i], BEND_MAX));
        part[i] = share * whole[i];
    }
    carry(part, s->gap_turn);
    mend(turn, part);
    out->open += BEND_OPEN * BEND_OPEN * square(whole);
}

/* A step with samples missing before its own interval. */
static void bridge(kf_stream *s, const kf_sample *sample, const float gyro[3], float dt_s, float own_s,
                   float turn[3], kf_increment *out)
{
    const float *before = s->gyro[0];
    const float gap_s = dt_s - own_s;
    float coning[3];

    cross(before, gyro, coning);
    for (int i = 0; i < 3; i++) {
        turn[i] = dt_s * (before[i] + gyro[i]) / 2 + dt_s * dt_s / 12 * coning[i];
        if (sample->means) /* the line runs from middle to middle */
            turn[i] += own_s * (gyro[i] - before[i]) / 2;
    }
    out->open += GAP_OPEN * GAP_OPEN * gap_s * gap_s * (square(before) + square(gyro)) / 2;
    begin_gap(s, dt_s, own_s, turn);
}

static void begin_clip(kf_stream *s, int i)
{
    kf_clip *clip = &s->clips[i];

    *clip = (kf_clip){.rate = s->gyro[0][i]};
    if (s->count >= 3)
        clip->slope = (s->gyro[0][i] - s->gyro[2][i]) / (s->step_s[0] + s->step_s[1]);
}

/* An axis at its end: turn on as it was about to. */
static void hold_clip(kf_clip *clip, float gyro, float dt_s, float *turn)
{
    const float t = clip->span_s - dt_s / 2, most = fabsf(gyro) * dt_s / 2;
    float more = CLIP_SLOPE * clip->slope * t * expf(-t / CLIP_FADE_S) * dt_s;

    more = more * gyro <= 0 ? 0 : fmaxf(-most, fminf(more, most));
    clip->assumed += more;
    *turn += more;
}

/* One sample after its return: replace what was assumed of axis i by what both sides tell. */
static void end_clip(kf_stream *s, int i, float gyro, float dt_s, float turn[3], kf_increment *out)
{
    const kf_clip *clip = &s->clips[i];
    const float D = clip->span_s, outward = clip->rate > 0 ? 1.0F : -1.0F;
    const float part = CLIP_SHARE / (1 + D * D / (CLIP_S * CLIP_S)) * D * D / 12;
    const float slope = (gyro - s->gyro[0][i]) / dt_s;
    const float angle = D * (clip->rate + s->gyro[0][i]) / 2 + part * (clip->slope - slope) - clip->measured;
    const float hidden = fmaxf(0, fminf(outward * angle, D * fabsf(clip->rate)));
    float back[3], more[3] = {0, 0, 0};

    if (D > CLIP_MAX_S) {
        const float open = CLIP_LONG_OPEN * D * clip->rate;
        out->open += open * open;
        return;
    }
    more[i] = outward * hidden - clip->assumed;
    for (int k = 0; k < 3; k++)
        back[k] = s->clip_turn[k] / 2;
    carry(more, back);
    mend(turn, more);
    const float open = CLIP_OPEN * hidden + CLIP_RATE_OPEN * D * fminf(1, D / CLIP_S);
    out->open += open * open;
}

/* Hold a rotation vector to what filter.h can turn by; whole turns change nothing. */
static void hold_turn(float turn[3])
{
    const float n2 = square(turn);

    if (n2 <= TURN_MAX * TURN_MAX)
        return;
    const double n = sqrt((double)n2), less = n - 2 * KF_PI * floor(n / (2 * KF_PI) + 0.5);
    for (int i = 0; i < 3; i++)
        turn[i] *= (float)(less / n);
}

/* Follow the axes that reach the end of their range, and those that return. */
static void follow_clips(kf_stream *s, const kf_sample *sample, const float gyro[3], float dt_s,
                         float turn[3], kf_increment *out)
{
    const float top = CLIP_AXIS * fmaxf(fabsf(gyro[0]), fmaxf(fabsf(gyro[1]), fabsf(gyro[2])));
    const uint32_t over = s->clip_over;
    uint32_t now = 0, returned = 0;

    for (int i = 0; i < 3; i++) {
        kf_clip *clip = &s->clips[i];
        if (over >> i & 1u)
            end_clip(s, i, gyro[i], dt_s, turn, out);
        const bool clipped = (sample->clipped & KF_BIT_GYRO) && fabsf(gyro[i]) >= top;
        if (!clipped && !((uint32_t)s->clipped >> i & 1u))
            continue;
        if (!((uint32_t)s->clipped >> i & 1u))
            begin_clip(s, i);
        clip->span_s += dt_s;
        clip->measured += dt_s * (s->gyro[0][i] + gyro[i]) / 2;
        if (clipped) {
            hold_clip(clip, gyro[i], dt_s, &turn[i]);
            const float open = CLIP_STEP_OPEN * dt_s * gyro[i];
            out->open += open * open;
            now |= 1u << i;
        } else {
            returned |= 1u << i;
        }
    }
    s->clipped = (uint8_t)now;
    s->clip_over = (uint8_t)returned;
    for (int k = 0; k < 3; k++)
        s->clip_turn[k] = now | returned ? s->clip_turn[k] + turn[k] : 0;
    if (square(s->clip_turn) > CLIP_CHAIN * CLIP_CHAIN) /* clip upon clip: halfway means nothing any more */
        s->clip_turn[0] = s->clip_turn[1] = s->clip_turn[2] = 0;
}

/* The rotation of a step with a gyroscope on both sides. */
static void take_turn(kf_stream *s, const kf_sample *sample, const float gyro[3], float dt_s, float own_s,
                      kf_increment *out)
{
    float coning[3], plain[3];

    if (dt_s > GAP_STEPS * own_s) {
        bridge(s, sample, gyro, dt_s, own_s, out->turn, out);
        for (int i = 0; i < 3; i++)
            plain[i] = own_s * gyro[i];
    } else {
        for (int i = 0; i < 3; i++)
            plain[i] = sample->means ? dt_s * gyro[i] : dt_s * (s->gyro[0][i] + gyro[i]) / 2;
        if (sample->means)
            cross(s->turn, plain, coning);
        else
            cross(s->gyro[0], gyro, coning);
        const float share = sample->means ? 1 / 12.0F : dt_s * dt_s / 12;
        for (int i = 0; i < 3; i++) {
            out->turn[i] = plain[i] + share * coning[i];
            if (s->gap_after == 1) /* the mend goes before the third turn */
                s->gap_turn[i] += out->turn[i];
        }
        if (s->gap_after == 2)
            end_gap(s, gyro, dt_s, out->turn, out);
        else if (s->gap_after)
            s->gap_after = 2;
    }
    if ((sample->clipped & KF_BIT_GYRO) || s->clipped || s->clip_over)
        follow_clips(s, sample, gyro, dt_s, out->turn, out);
    hold_turn(out->turn);
    for (int i = 0; i < 3; i++)
        s->turn[i] = plain[i];
}

/* Specific force over the step. */
static void take_force(const kf_stream *s, const kf_sample *sample, const float accel[3], float dt_s,
                       float own_s, kf_increment *out)
{
    const bool joined = s->has & KF_BIT_ACCEL;
    const float gap_s = joined && dt_s > GAP_STEPS * own_s ? dt_s - own_s : 0;
    float half = joined ? gap_s / (2 * dt_s) : 0; /* what counts of the sample before */

    if (joined && !sample->means)
        half = 0.5F;
    float change2 = 0;
    for (int i = 0; i < 3; i++) {
        const float change = s->accel[i] - accel[i];
        out->accel[i] = accel[i] + half * change;
        change2 += change * change;
    }
    out->accel_s = dt_s;
    if (gap_s > 0) {
        const float off = sqrtf(square(accel)) - (float)KF_GRAVITY;
        out->open_velocity += gap_s * gap_s * GAP_FORCE_OPEN * GAP_FORCE_OPEN *
                              (change2 / 4 + off * off + GAP_FORCE * GAP_FORCE);
    }
    if (sample->clipped & KF_BIT_ACCEL)
        out->open_velocity += CLIP_ACCEL * CLIP_ACCEL * dt_s * dt_s;
}

/* Nothing joins the next sample to those before. */
void kf_increments_break(kf_stream *s)
{
    *s = (kf_stream){0};
}

/* Take a sample, dt_s after the one before (0: nothing joins it) and own_s long itself. The field is left to
 * the caller. */
void kf_increments_take(kf_stream *s, const kf_sample *sample, double dt_s, double own_s, kf_increment *out)
{
    const float gyro[3] = {(float)sample->gyro_b.x, (float)sample->gyro_b.y, (float)sample->gyro_b.z};
    const float accel[3] = {(float)sample->accel_b.x, (float)sample->accel_b.y, (float)sample->accel_b.z};
    const float dt = (float)dt_s, own = own_s > 0 && own_s < dt_s ? (float)own_s : dt;

    *out = (kf_increment){.dt_s = dt};
    if (!(sample->has & KF_BIT_GYRO)) {
        const uint8_t has = s->has & KF_BIT_ACCEL;
        const float before[3] = {s->accel[0], s->accel[1], s->accel[2]};
        kf_increments_break(s);
        s->has = has;
        for (int i = 0; i < 3; i++)
            s->accel[i] = before[i];
        out->open = BLIND_RATE * BLIND_RATE * dt;
    } else if (dt > 0 && s->count) {
        take_turn(s, sample, gyro, dt, own, out);
    } else if (dt > 0) {
        for (int i = 0; i < 3; i++)
            out->turn[i] = dt * gyro[i];
        hold_turn(out->turn);
    }
    if ((sample->has & KF_BIT_ACCEL) && dt > 0)
        take_force(s, sample, accel, dt, own, out);
    else if (sample->has & KF_BIT_ACCEL)
        for (int i = 0; i < 3; i++)
            out->accel[i] = accel[i];
    if (sample->has & KF_BIT_GYRO) {
        s->step_s[1] = s->step_s[0];
        s->step_s[0] = dt;
        for (int i = 0; i < 3; i++) {
            s->gyro[2][i] = s->gyro[1][i];
            s->gyro[1][i] = s->gyro[0][i];
            s->gyro[0][i] = gyro[i];
        }
        s->count = s->count < 3 ? (s->count + 1) & 3 : 3;
    }
    if (sample->has & KF_BIT_ACCEL)
        for (int i = 0; i < 3; i++)
            s->accel[i] = accel[i];
    s->has = (uint8_t)sample->has;
}
