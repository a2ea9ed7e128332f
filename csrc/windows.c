/* windows.c: motion over KF_WINDOW_NS of the device clock.
 *
 * A window holds the samples stamped in (end - KF_WINDOW_NS, end], each for the interval that ends at its
 * stamp. It is told with the first sample at or after its end.
 */
#include "internal.h"

#define DV_NOISE 0.02   /* m/s per sqrt(s): the accelerometer's */
#define DV_SHARE 0.01   /* of its rms: scale and the time between samples */
#define CLIP_ACCEL 20.0 /* m/s^2 that a clipped sample may hide */
#define HELD_STEPS 1.5  /* a longer step, in usual ones, is one in which samples were lost */

/* The end of the window of t_ns: the next multiple at or after it; near the end of int64, the last of int64.
 */
int64_t kf_window_end(int64_t t_ns)
{
    const int64_t over = t_ns % KF_WINDOW_NS; /* has the sign of t_ns */

    if (over <= 0)
        return t_ns - over;
    return t_ns > INT64_MAX - (KF_WINDOW_NS - over) ? INT64_MAX : t_ns - over + KF_WINDOW_NS;
}

static double dv_sigma(const kf_window_state *w)
{
    const double T = w->covered_s;
    const double tilt = sqrt((double)w->view.tilt_variance);
    const double sideways = tilt * hypot(w->dv_e.x, w->dv_e.y);
    const double lean = KF_GRAVITY * tilt * tilt / 2 * T;
    const double offset2 = (double)w->view.gravity_variance * T * T;
    const double noise = DV_NOISE * DV_NOISE * T + DV_SHARE * DV_SHARE * w->accel2_s;

    return sqrt(sideways * sideways + lean * lean + offset2 + noise + w->open);
}

/* Tell the open window. */
void kf_window_close(kf_device *device, kf_sink *sink)
{
    kf_window_state *w = &device->window;
    kf_window *out = &sink->windows[sink->window_count++];
    const kf_vec dv = kf_to_e9(w->view.half, w->dv_e);

    *out = (kf_window){.device = sink->device, .t_ns = w->end_ns, .steps = w->steps};
    out->flags = w->flags | w->view.flags;
    out->duration_s = (float)(w->covered_s - w->held_s);
    out->dv_e[0] = (float)dv.x;
    out->dv_e[1] = (float)dv.y;
    out->dv_e[2] = (float)dv.z;
    out->dv_sigma = (float)dv_sigma(w);
    out->accel_rms = (float)(w->accel_s > 0 ? sqrt(w->accel2_s / w->accel_s) : 0);
    out->gyro_rms = (float)(w->gyro_s > 0 ? sqrt(w->gyro2_s / w->gyro_s) : 0);
    out->step_interval_s = (float)kf_steps_interval(device);
    *w = (kf_window_state){0};
}

/* Tell the window that ends before t_ns, and open that of t_ns. */
void kf_window_begin(kf_device *device, int64_t t_ns, kf_sink *sink)
{
    kf_window_state *w = &device->window;
    const int64_t end_ns = kf_window_end(t_ns);

    if (w->is_open && end_ns != w->end_ns)
        kf_window_close(device, sink);
    w->is_open = 1;
    w->end_ns = end_ns;
}

/* Add a sample to the window that is open; usual_s is the time between samples, 0 where it is not known. */
void kf_window_add(kf_device *device, const kf_motion *m, double dt_s, double usual_s)
{
    kf_window_state *w = &device->window;

    if (usual_s > 0 && dt_s > HELD_STEPS * usual_s)
        w->held_s += dt_s - usual_s < m->covered_s ? dt_s - usual_s : m->covered_s;
    w->view = m->view;
    w->covered_s += m->covered_s;
    w->dv_e = kf_add(w->dv_e, m->dv_e);
    if (m->has & KF_BIT_ACCEL) {
        w->accel2_s += kf_dot(m->free_e, m->free_e) * dt_s;
        w->accel_s += dt_s;
    }
    if (m->has & KF_BIT_GYRO) {
        w->gyro2_s += m->rate2 * dt_s;
        w->gyro_s += dt_s;
    }
    if (m->clipped) {
        w->flags |= KF_CLIPPED;
        if (m->clipped & KF_BIT_ACCEL)
            w->open += CLIP_ACCEL * CLIP_ACCEL * dt_s * dt_s;
    }
}
