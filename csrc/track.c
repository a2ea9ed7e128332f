/* track.c: a whole recording of one device, and what is known at each of its samples. */
#include <string.h>

#include "internal.h"

static bool all_finite(const float v[3])
{
    return isfinite(v[0]) && isfinite(v[1]) && isfinite(v[2]);
}

/* v held within +-limit; clipped where it was beyond, or at the end of its range. */
static kf_vec held(const float v[3], double limit, double range, bool *clipped)
{
    const double end = range > 0 && KF_NEAR_RANGE * range < limit ? KF_NEAR_RANGE * range : limit;
    double h[3];

    *clipped = false;
    for (int i = 0; i < 3; i++) {
        h[i] = (double)v[i];
        if (fabs(h[i]) < end)
            continue;
        *clipped = true;
        h[i] = h[i] > limit ? limit : h[i] < -limit ? -limit : h[i];
    }
    return (kf_vec){h[0], h[1], h[2]};
}

static kf_sample sample_of(const kf_instant *in, const kf_profile *profile, uint32_t flags)
{
    kf_sample s = {.t_ns = in->t_ns, .mag_t_ns = in->t_ns, .means = flags & KF_MEANS};
    bool clipped = false;

    s.interval_s = isfinite(in->interval_s) && in->interval_s > 0 ? in->interval_s : 0;
    if (all_finite(in->gyro_b)) {
        s.gyro_b = held(in->gyro_b, KF_GYRO_MAX, (double)profile->gyro_range, &clipped);
        s.has |= KF_BIT_GYRO;
        s.clipped |= clipped ? KF_BIT_GYRO : 0u;
    }
    if (all_finite(in->accel_b)) {
        s.accel_b = held(in->accel_b, KF_ACCEL_MAX, (double)profile->accel_range, &clipped);
        s.has |= KF_BIT_ACCEL;
        s.clipped |= clipped ? KF_BIT_ACCEL : 0u;
    }
    if (all_finite(in->mag_b)) {
        s.mag_b = held(in->mag_b, KF_MAG_MAX, 0, &clipped);
        s.has |= clipped ? 0u : KF_BIT_MAG;
    }
    return s;
}

/* What changes with corrections alone. */
static void fill_corrected(const kf_orientation *o, kf_pose *out)
{
    memcpy(out->bias_b, o->filter.bias, sizeof out->bias_b);
    out->bias_sigma = kf_orientation_bias_sigma(o);
    out->tilt_sigma = sqrtf(kf_filter_view(&o->filter).tilt_variance);
    out->heading_sigma = kf_orientation_heading_sigma(o);
    out->flags = kf_filter_view(&o->filter).flags;
}

void kf_track(kf_device *device, const kf_instant *instants, size_t count, uint32_t flags, kf_pose *poses)
{
    const kf_orientation *o = &device->orientation;
    kf_pose corrected;

    for (size_t i = 0; i < count; i++) {
        kf_sink sink = {0};
        const kf_sample s = sample_of(&instants[i], &device->profile, flags);
        if (s.has & (KF_BIT_GYRO | KF_BIT_ACCEL))
            kf_sample_turn(device, &s, &sink);
        if (i == 0 || o->filter.block_s <= 0)
            fill_corrected(o, &corrected);
        kf_pose *out = &poses[i];
        *out = corrected;
        out->flags |= sink.flags;
        const kf_vec free_e = kf_to_e9(o->filter.half, sink.free_sum_e);
        memcpy(out->q6, o->filter.q, sizeof out->q6);
        kf_orientation_q9(o, out->q9);
        out->free_accel_e[0] = (float)free_e.x;
        out->free_accel_e[1] = (float)free_e.y;
        out->free_accel_e[2] = (float)free_e.z;
    }
}
