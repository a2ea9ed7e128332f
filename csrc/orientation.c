/* orientation.c: which way the sensor points: increments.c and filter.h for one device, and what it says. */
#define KF_LANES 1
#include "filter.h"

#define SNAP_GAP_S 1.0F   /* after a longer gap tilt is taken from specific force anew */
#define FORCE_MIN 1.0e-3  /* m/s^2: less of it has no direction */
#define STALE_TURN 0.1F   /* rad that the device may turn between field and sample */
#define FIELD_S_MAX 0.25F /* a field stands for no longer than this */
#define FIELD_MIN 1.0e-3F /* uT */

static void open_tilt(kf_filter *f)
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < KF_TILT_STATES; j++)
            f->P[kf_at[i][j]] = 0;
    f->P[P00] = f->P[P11] = TILT_SIGMA * TILT_SIGMA;
    f->P[P22] = f->P[P33] = VELOCITY_SIGMA * VELOCITY_SIGMA;
    f->velocity[0] = f->velocity[1] = 0;
}

static void begin_block(kf_filter *f)
{
    f->block_s = f->block_accel_s = f->block_mag_s = 0;
    f->block_rate2 = f->block_open = f->block_open_velocity = 0;
    for (int i = 0; i < 3; i++)
        f->block_turn[i] = f->block_force[i] = f->block_field[i] = 0;
}

static void open_vertical(kf_filter *f)
{
    f->up_mps = 0;
    f->Pz[0] = VELOCITY_SIGMA * VELOCITY_SIGMA;
    f->Pz[1] = 0;
}

void kf_orientation_reset(kf_orientation *o)
{
    *o = (kf_orientation){.filter = {.q = {1, 0, 0, 0}, .half = {1, 0}, .heading_var = HEADING_VAR_MAX}};
    open_tilt(&o->filter);
    open_vertical(&o->filter);
    o->filter.P[P44] = o->filter.P[P55] = o->filter.P[P66] = BIAS_SIGMA * BIAS_SIGMA;
    o->filter.Pz[2] = GRAVITY_SIGMA * GRAVITY_SIGMA;
}

/* The stream is broken; nothing is known of the time between: a turn of a radian a second, any velocity. */
void kf_orientation_break(kf_orientation *o, double gap_s)
{
    kf_filter *f = &o->filter;
    const float gap = (float)fmin(gap_s, 1e3);
    const bool lost = gap > SNAP_GAP_S || o->stream.count < 2; /* so soon after the last break, too */

    kf_increments_break(&o->stream);
    begin_block(f);
    open_vertical(f);
    f->P[P00] += gap * gap;
    f->P[P11] += gap * gap;
    kf_hold_tilt(f, 0);
    kf_hold_tilt(f, 1);
    kf_begin_velocity(f, KF_TRUE(true));
    f->P[P22] = f->P[P33] = VELOCITY_SIGMA * VELOCITY_SIGMA;
    f->settled = f->resting = f->still_s = f->speed2 = 0;
    f->heading_var = fminf(f->heading_var + gap * gap, HEADING_VAR_MAX);
    o->mag_t_ns = 0;
    if (lost)
        f->tilt_known = f->age_s = 0;
}

/* The smallest turn that takes v, of length 1, to straight up. */
static kf_quat upright(kf_vec v)
{
    if (v.z < -0.999999)
        return (kf_quat){0, 1, 0, 0};
    return kf_normalised((kf_quat){1 + v.z, v.y, -v.x, 0});
}

static kf_quat as_quat(const float q[4])
{
    return (kf_quat){q[0], q[1], q[2], q[3]};
}

/* Take tilt from specific force; heading stays as near as it can. */
static void snap(kf_filter *f, const float accel_b[3])
{
    float R[3][3], v[3];

    kf_matrix(f->q, R);
    kf_rotate(R, accel_b, v);
    const kf_vec force = {v[0], v[1], v[2]};
    const double n = kf_norm(force);
    if (n < FORCE_MIN)
        return;
    const kf_quat q = kf_normalised(kf_multiply(upright(kf_scale(1 / n, force)), as_quat(f->q)));
    f->q[0] = (float)q.w;
    f->q[1] = (float)q.x;
    f->q[2] = (float)q.y;
    f->q[3] = (float)q.z;
    open_tilt(f);
    f->tilt_known = 1;
}

/* A field of the end of a step as it stood halfway, where filter.h takes it: the series of the turn back. */
static void turn_back(float field[3], const float turn[3])
{
    float term[3] = {field[0], field[1], field[2]};

    for (int order = 1; order <= 4; order++) {
        const float share = 0.5F / (float)order;
        const float x = (turn[1] * term[2] - turn[2] * term[1]) * share;
        const float y = (turn[2] * term[0] - turn[0] * term[2]) * share;
        term[2] = (turn[0] * term[1] - turn[1] * term[0]) * share;
        term[0] = x;
        term[1] = y;
        for (int i = 0; i < 3; i++)
            field[i] += term[i];
    }
}

/* Put the field that came with s into the step, weighed by the time since the last one. */
static void take_field(kf_orientation *o, const kf_sample *s, kf_increment *step)
{
    if (o->mag_t_ns != 0 && s->mag_t_ns <= o->mag_t_ns)
        return;
    if (s->mag_t_ns != s->t_ns && step->dt_s > 0) {
        const float share = (float)kf_seconds(s->mag_t_ns, s->t_ns) / step->dt_s;
        if (kf_square(step->turn) * share * share > STALE_TURN * STALE_TURN)
            return;
    }
    if (kf_dot(s->mag_b, s->mag_b) < FIELD_MIN * FIELD_MIN)
        return;
    const float since = o->mag_t_ns != 0 ? (float)kf_seconds(o->mag_t_ns, s->mag_t_ns) : step->dt_s;
    o->mag_t_ns = s->mag_t_ns;
    step->mag[0] = (float)s->mag_b.x;
    step->mag[1] = (float)s->mag_b.y;
    step->mag[2] = (float)s->mag_b.z;
    if (!s->means)
        turn_back(step->mag, step->turn);
    step->mag_s = since < FIELD_S_MAX ? since : FIELD_S_MAX;
}

/* The step that a sample makes, dt_s after the one before (0: nothing joins it), own_s long itself (0: as
 * long as dt_s). */
void kf_orientation_increment(kf_orientation *o, const kf_sample *s, double dt_s, double own_s,
                              kf_increment *out)
{
    kf_increments_take(&o->stream, s, dt_s, own_s, out);
    if (s->has & KF_BIT_MAG)
        take_field(o, s, out);
}

/* Take one sample; times as above. */
kf_motion kf_orientation_step(kf_orientation *o, const kf_sample *s, double dt_s, double own_s)
{
    kf_filter *f = &o->filter;
    kf_increment step;
    kf_free said;
    kf_motion out = {.t_ns = s->t_ns, .has = s->has, .clipped = s->clipped};

    if (f->tilt_known <= 0 && (s->has & KF_BIT_ACCEL)) {
        const float accel[3] = {(float)s->accel_b.x, (float)s->accel_b.y, (float)s->accel_b.z};
        snap(f, accel);
        dt_s = 0;
    }
    if (f->tilt_known > 0) {
        kf_orientation_increment(o, s, dt_s, own_s, &step);
        kf_turn_by(f, &step, &said);
        if (f->block_s >= KF_BLOCK_S)
            kf_correct(f);
        kf_motion_fill(&out, &step, &said);
    }
    out.view = kf_filter_view(f);
    return out;
}

/* The rows one after the other: the plain path. */
void kf_tile_plain(kf_tile_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kf_tile_row *row = &rows[i];
        uint8_t corrections = 0;
        row->views[0] = kf_filter_view(row->filter);
        for (uint32_t k = 0; k < row->count; k++) {
            kf_turn_by(row->filter, &row->steps[k], &row->frees[k]);
            if (row->filter->block_s >= KF_BLOCK_S) {
                kf_correct(row->filter);
                row->views[++corrections] = kf_filter_view(row->filter);
            }
            row->corrections[k] = corrections;
        }
    }
}

void kf_orientation_q9(const kf_orientation *o, float q9[4])
{
    const float turn[4] = {o->filter.half[0], 0, 0, o->filter.half[1]};

    kf_product(turn, o->filter.q, q9);
}

float kf_orientation_heading_sigma(const kf_orientation *o)
{
    return o->filter.heading_known > 0 ? sqrtf(o->filter.heading_var) : (float)KF_PI;
}

float kf_orientation_bias_sigma(const kf_orientation *o)
{
    const float variance = (o->filter.P[P44] + o->filter.P[P55] + o->filter.P[P66]) / 3;

    return variance > 0 ? sqrtf(variance) : 0;
}

kf_view kf_filter_view(const kf_filter *f)
{
    const float tilt = (f->P[P00] + f->P[P11]) / 2;

    return (kf_view){tilt > 0 ? tilt : 0,
                     f->Pz[2],
                     {f->half[0], f->half[1]},
                     (f->resting > 0 ? KF_REST : 0u) | (f->heading_known > 0 ? KF_HAS_MAG : 0u) |
                         (f->field_off > 0 ? KF_MAG_DISTURBED : 0u) | (f->settled > 0 ? KF_SETTLED : 0u)};
}
