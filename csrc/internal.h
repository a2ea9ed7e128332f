/* internal.h: what the modules of the core share.
 *
 * A device's stream runs decode or pairing -> sample -> orientation -> windows and steps. Everything after
 * the sample sees samples one by one in the order of time, never packets; this is why results cannot depend
 * on how samples were cut.
 */
#ifndef KF_INTERNAL_H
#define KF_INTERNAL_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kinefuse.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define KF_X86 /* with vector paths, chosen when the program runs */
#endif

/* Have size bytes brought near: rows of tables of devices are far apart, and each is touched once a tick. */
static inline void kf_prefetch(const void *at, size_t size)
{
#ifdef __GNUC__
    for (size_t i = 0; i < size; i += 64)
        __builtin_prefetch((const char *)at + i);
#else
    (void)at;
    (void)size;
#endif
}

/* Sensors present, and sensors clipped, in a sample. */
#define KF_BIT_ACCEL 1u
#define KF_BIT_GYRO 2u
#define KF_BIT_MAG 4u

#define KF_GRAVITY 9.80665  /* m/s^2, nominal */
#define KF_ACCEL_MAX 1.0e4  /* m/s^2; beyond it a component is held there and counts as clipped */
#define KF_GYRO_MAX 1.0e3   /* rad/s */
#define KF_MAG_MAX 1.0e5    /* uT */
#define KF_NEAR_RANGE 0.999 /* a sensor's last counts before its range */
#define KF_NS_PER_S 1.0e9
#define KF_PI 3.14159265358979323846

#define KF_TILT_STATES 7     /* tilt xy in e, velocity xy in e, gyroscope bias in b */
#define KF_BLOCK_S 0.0345F   /* the filter corrects once so much is summed; no multiple of common steps */
#define KF_STEP_QUEUE 16     /* steps that wait to be told */
#define KF_STEP_CANDIDATES 6 /* steps that wait for the gait to prove regular */
#define KF_PENDING 512       /* rows that wait for their partner: 2.5 s at 200 Hz */
#define KF_PENDING_MAG 128

typedef struct {
    double x, y, z;
} kf_vec;

typedef struct {
    double w, x, y, z;
} kf_quat;

/* One instant of one device, sensors brought together. */
typedef struct {
    int64_t t_ns;
    int64_t mag_t_ns; /* the field is at most KF_GAP_NS older than the sample */
    kf_vec accel_b, gyro_b, mag_b;
    uint32_t has;
    uint32_t clipped;
    uint32_t means;
    float interval_s; /* its own; 0 where the stream does not tell: then the usual one */
} kf_sample;

/* What is known of the orientation after a sample, as windows need it. */
typedef struct {
    float tilt_variance;    /* rad^2 */
    float gravity_variance; /* (m/s^2)^2 */
    float half[2];          /* cos, sin of half the turn about z from the earth of q6 to that of q9 */
    uint32_t flags;         /* KF_REST, KF_HAS_MAG, KF_MAG_DISTURBED, KF_SETTLED */
} kf_view;

/* What the orientation says of one sample; e has the heading of q6. */
typedef struct {
    int64_t t_ns;
    uint32_t has, clipped; /* KF_BIT_... of the sample */
    kf_vec free_e;         /* free acceleration, mean over the step that ends at the stamp, m/s^2 */
    kf_vec dv_e;           /* its integral since the sample before, m/s */
    double covered_s;      /* seconds over which dv_e is integrated */
    double rate2;          /* square of the angular rate without bias, (rad/s)^2 */
    kf_view view;
} kf_motion;

/* The types below are made of 32-bit numbers alone, so that filter.h can lay devices side by side. */

/* A step between two samples: what increments.c makes of samples and filter.h takes. */
#define KF_INCREMENT_FIELDS(real)                                                                            \
    real dt_s;             /* 0: nothing joins this sample to one before */                                  \
    real turn[3];          /* rotation vector over the step, b, rad; with the bias still in it */            \
    real accel[3], mag[3]; /* means over the step, b, m/s^2 and uT */                                        \
    real accel_s, mag_s;   /* seconds that they stand for; 0: none came */                                   \
    real open;             /* variance of each angle that the step leaves open, rad^2 */                     \
    real open_velocity;    /* likewise, of velocity, (m/s)^2 */                                              \
    real reserved[2];      /* rows of 16 numbers are turned into columns */

typedef struct {
    KF_INCREMENT_FIELDS(float)
} kf_increment;

/* What the filter says of a step. */
#define KF_FREE_FIELDS(real)                                                                                 \
    real accel[3]; /* free acceleration, mean over the step, e of q6, m/s^2 */                               \
    real rate2;    /* square of the rate without bias, (rad/s)^2 */

typedef struct {
    KF_FREE_FIELDS(float)
} kf_free;

/* The filter's state; see filter.h. */
#define KF_FILTER_FIELDS(real)                                                                               \
    real q[4];                /* q6 */                                                                       \
    real bias[3];             /* b, rad/s */                                                                 \
    real velocity[2], speed2; /* e; mean square of a component */                                            \
    real P[28];               /* of tilt, velocity, bias; packed */                                          \
    real up_mps, gravity_error, Pz[3];                                                                       \
    real half[2], heading_var;   /* cos, sin of half the heading: e9 is e6 turned about z */                 \
    real field[2], field_new[2]; /* reference: horizontal, up, uT */                                         \
    real fit_s, misfit_s, new_s, mag_s;                                                                      \
    real gyro_low[3], force_low[3], still_s, age_s;                                                          \
    /* sums since the last correction */                                                                     \
    real block_s, block_accel_s, block_mag_s, block_rate2, block_open, block_open_velocity;                  \
    real block_turn[3], block_force[3], block_field[3];                                                      \
    /* 1 or 0 */                                                                                             \
    real tilt_known, heading_known, settled, resting, field_off;

typedef struct {
    KF_FILTER_FIELDS(float)
} kf_filter;

/* Steps of one device that go through the filter together with others' (tile.h). */
#define KF_TILE_STEPS 32
#define KF_TILE_ROWS 16

typedef struct {
    kf_filter *filter;
    uint32_t count; /* of steps */
    kf_increment steps[KF_TILE_STEPS];
    kf_free frees[KF_TILE_STEPS];
    uint8_t corrections[KF_TILE_STEPS]; /* of the filter, up to and with this step */
    kf_view views[KF_TILE_STEPS + 1];   /* before the first correction, and after each */
} kf_tile_row;

/* What increments.c keeps of an axis of the gyroscope that stands at the end of its range. */
typedef struct {
    float span_s;   /* since the last good sample */
    float rate;     /* at that sample */
    float slope;    /* there, rad/s^2 */
    float measured; /* angle that was read since then, rad */
    float assumed;  /* angle that was added to it */
} kf_clip;

/* What increments.c keeps of a stream; newest first. */
typedef struct {
    float gyro[3][3], step_s[2], accel[3];
    float turn[3];
    float gap_s, gap_bend[3], gap_turn[3]; /* a gap that waits for two samples after it */
    kf_clip clips[3];
    float clip_turn[3];    /* rotation since the first of them began */
    uint8_t has;           /* KF_BIT_... of the sample before */
    uint8_t count : 4;     /* samples in gyro, at most 3 */
    uint8_t gap_after : 4; /* samples since the gap; 0: no gap waits */
    uint8_t clipped;       /* bit i: axis i stood at its end */
    uint8_t clip_over;     /* bit i: it is good again, and its clip waits for the next sample */
} kf_stream;

typedef struct {
    kf_filter filter;
    kf_stream stream;
    int64_t mag_t_ns; /* of the newest field that was used */
} kf_orientation;

_Static_assert(sizeof(kf_orientation) <= 512, "orientation is to take 512 bytes a device");

typedef struct {
    int64_t end_ns;
    double covered_s;
    kf_vec dv_e; /* e of q6 */
    double accel2_s, accel_s, gyro2_s, gyro_s;
    double open;   /* variance of dv_e.z from clipped samples */
    double held_s; /* of covered_s: time of lost samples that their neighbours stand for */
    uint32_t flags;
    uint32_t steps;
    uint32_t is_open; /* end_ns stands */
    kf_view view;     /* after its newest sample */
} kf_window_state;

typedef struct {
    int64_t t_ns;
    double strength;
} kf_stride;

typedef struct {
    uint64_t count;
    double low, slope;  /* low-passed vertical acceleration, and its slope */
    double top, bottom; /* extremes since the last turning point */
    double amplitude;   /* of recent strides, peak to peak */
    double interval_s;  /* smoothed, of strides */
    int64_t top_ns, last_ns, told_ns;
    uint32_t warm, rising, walking, has_last, has_told;
    uint32_t queue_head, queue_count, candidate_count;
    kf_stride candidates[KF_STEP_CANDIDATES];
    kf_stride queue[KF_STEP_QUEUE];
} kf_step_state;

struct kf_device {
    uint32_t magic;
    uint32_t version;
    uint64_t size;
    kf_profile profile;
    int64_t t_ns; /* newest sample */
    uint32_t boot, boot_before, seq;
    uint32_t stream; /* KF_STREAM_... */
    double step_s;   /* smoothed time between samples; 0: not known */
    kf_orientation orientation;
    kf_window_state window;
    kf_step_state steps;
};

/* Bits of kf_device.stream. */
#define KF_STREAM_BOOT 1u        /* boot stands */
#define KF_STREAM_BOOT_BEFORE 2u /* boot_before stands */
#define KF_STREAM_SEQ 4u
#define KF_STREAM_TIME 8u    /* t_ns stands */
#define KF_STREAM_BROKEN 16u /* what follows does not join what was before */

typedef struct {
    int64_t t_ns;
    float x, y, z;
    uint32_t flags; /* KF_PENDING_... */
} kf_pending;

#define KF_PENDING_CLIPPED 1u
#define KF_PENDING_MEAN 2u

typedef struct {
    uint32_t head, count;
} kf_queue;

/* All zeros is an empty pairing. */
struct kf_pairing {
    int64_t newest_ns[3]; /* by sensor */
    int64_t since_ns;     /* stamp of the accelerometer row from which on no gyroscope row has come */
    uint32_t seen;        /* KF_BIT_... whose newest_ns stands */
    uint32_t alone;       /* since_ns stands */
    kf_queue accel, gyro, mag;
    kf_pending accel_rows[KF_PENDING];
    kf_pending gyro_rows[KF_PENDING];
    kf_pending mag_rows[KF_PENDING_MAG];
};

/* Where a call writes, and what its current packet adds up. */
typedef struct {
    kf_window *windows;
    kf_step *steps;
    size_t window_count, step_count;
    uint32_t device;
    uint32_t flags;
    uint32_t samples;
    uint32_t free_count;
    kf_vec free_sum_e;
} kf_sink;

/* A packet of either kind, checked. */
typedef struct {
    const uint8_t *body;
    size_t count;
    int64_t t_first_ns, t_last_ns;
    uint32_t boot, seq, flags; /* flags: KF_HAS_BOOT | KF_HAS_SEQ | KF_MEANS */
    uint32_t columns, dt_ns;
    float scale[3];
} kf_frame;

static inline kf_vec kf_add(kf_vec a, kf_vec b)
{
    return (kf_vec){a.x + b.x, a.y + b.y, a.z + b.z};
}

static inline kf_vec kf_scale(double k, kf_vec a)
{
    return (kf_vec){k * a.x, k * a.y, k * a.z};
}

static inline double kf_dot(kf_vec a, kf_vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline double kf_norm(kf_vec a)
{
    return sqrt(kf_dot(a, a));
}

/* Seconds from earlier to later; the difference of any two stamps in order fits uint64. */
static inline double kf_seconds(int64_t earlier_ns, int64_t later_ns)
{
    return (double)((uint64_t)later_ns - (uint64_t)earlier_ns) * (1 / KF_NS_PER_S);
}

/* later - earlier, ns, for stamps in order. */
static inline uint64_t kf_elapsed(int64_t earlier_ns, int64_t later_ns)
{
    return (uint64_t)later_ns - (uint64_t)earlier_ns;
}

static inline kf_quat kf_multiply(kf_quat a, kf_quat b)
{
    return (kf_quat){
        a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
        a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

static inline kf_quat kf_normalised(kf_quat q)
{
    const double n = sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);

    return (kf_quat){q.w / n, q.x / n, q.y / n, q.z / n};
}

/* The turn by rotation vector r; series below half a radian (error under 1e-9), else exact. */
static inline kf_quat kf_turn(kf_vec r)
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

/* decode.c */
uint32_t kf_decode_binary(const uint8_t *bytes, size_t length, kf_frame *frame);
uint32_t kf_decode_rows(const uint8_t *bytes, size_t length, uint32_t flags, kf_frame *frame);
kf_sample kf_binary_sample(const kf_frame *frame, size_t index, const kf_profile *profile);
kf_row kf_row_at(const kf_frame *frame, size_t index);
kf_pending kf_row_pending(const kf_row *row, const kf_profile *profile);

/* pairing.c */
bool kf_pairing_sound(const kf_pairing *pairing);
bool kf_pairing_late(const kf_pairing *pairing, const kf_row *row);
void kf_pairing_take(kf_device *device, kf_pairing *pairing, const kf_row *row, uint32_t means,
                     kf_sink *sink);
void kf_pairing_clear(kf_pairing *pairing);

/* increments.c */
void kf_increments_break(kf_stream *s);
void kf_increments_take(kf_stream *s, const kf_sample *sample, double dt_s, double own_s, kf_increment *out);

/* orientation.c */
void kf_orientation_reset(kf_orientation *o);
void kf_orientation_break(kf_orientation *o, double gap_s);
kf_motion kf_orientation_step(kf_orientation *o, const kf_sample *s, double dt_s, double own_s);
void kf_orientation_increment(kf_orientation *o, const kf_sample *s, double dt_s, double own_s,
                              kf_increment *out);
kf_view kf_filter_view(const kf_filter *f);
void kf_orientation_q9(const kf_orientation *o, float q9[4]);
float kf_orientation_heading_sigma(const kf_orientation *o);
float kf_orientation_bias_sigma(const kf_orientation *o);

/* Tell what a step with specific force said. */
static inline void kf_motion_fill(kf_motion *out, const kf_increment *step, const kf_free *said)
{
    out->rate2 = (double)said->rate2;
    if (!(out->has & KF_BIT_ACCEL))
        return;
    out->free_e = (kf_vec){(double)said->accel[0], (double)said->accel[1], (double)said->accel[2]};
    out->covered_s = (double)step->accel_s;
    out->dv_e = kf_scale(out->covered_s, out->free_e);
}

/* A vector of q6's earth in that of q9. */
static inline kf_vec kf_to_e9(const float half[2], kf_vec e6)
{
    const double c = (double)half[0], h = (double)half[1];
    const double cosine = c * c - h * h, sine = 2 * c * h;

    return (kf_vec){cosine * e6.x - sine * e6.y, sine * e6.x + cosine * e6.y, e6.z};
}

/* tile_*.c; rows are at most KF_TILE_ROWS, of devices that are all different */
void kf_tile_plain(kf_tile_row *rows, size_t count);
#ifdef KF_X86
void kf_tile_avx2(kf_tile_row *rows, size_t count);
void kf_tile_avx512(kf_tile_row *rows, size_t count);
#endif

/* lanes.c; what caused a job: a packet, and when it came */
typedef struct {
    uint32_t device, boot, seq; /* device KF_NONE: none did */
    int64_t received_ns;
} kf_cause;

static const kf_cause kf_nothing = {KF_NONE, 0, 0, 0};

int64_t kf_lane_grid_after(const kf_lane *lane, int64_t t_ns);
void kf_lane_restart(kf_schedule *s, uint32_t row, int64_t t_ns);
void kf_lane_hold(kf_schedule *s, kf_lane *lane, const kf_item *item);
bool kf_lane_keeps(kf_schedule *s, kf_lane *lane, const kf_item *item);
bool kf_lane_mark(kf_schedule *s, kf_lane *lane, int64_t t_ns);
bool kf_lane_is_ripe(const kf_schedule *s, const kf_lane *lane);
kf_job *kf_lane_tell(kf_schedule *s, uint32_t row, uint32_t kind, int64_t due_ns, kf_cause why);
void kf_lane_step(kf_schedule *s, uint32_t row, uint32_t kind, int64_t due_ns, kf_cause why);
void kf_lane_rewind(kf_schedule *s, uint32_t row);
void kf_lane_advance(kf_schedule *s, uint32_t row, int64_t t_ns, kf_cause why);

/* kept.c: what a lane keeps for rewinds, the oldest first; add takes a page at most */
void kf_kept_prefetch(const kf_schedule *s, const kf_lane *lane);
void kf_kept_add(kf_schedule *s, kf_lane *lane, const kf_item *item);
int64_t kf_kept_oldest(const kf_schedule *s, const kf_lane *lane); /* its time; there is one */
void kf_kept_drop(kf_schedule *s, kf_lane *lane);                  /* the oldest */
void kf_kept_clear(kf_schedule *s, kf_lane *lane);
/* Write out all that is newer than from_ns and not than until_ns, as it was kept; return how many they are.
 */
uint32_t kf_kept_tell(const kf_schedule *s, uint32_t row, int64_t from_ns, int64_t until_ns, kf_item *out);

/* windows.c */
int64_t kf_window_end(int64_t t_ns);
void kf_window_begin(kf_device *device, int64_t t_ns, kf_sink *sink);
void kf_window_add(kf_device *device, const kf_motion *m, double dt_s, double usual_s);
void kf_window_close(kf_device *device, kf_sink *sink);

/* steps.c */
void kf_steps_break(kf_step_state *s);
double kf_steps_interval(const kf_device *device);
void kf_steps_take(kf_device *device, int64_t t_ns, double up, double dt_s, kf_sink *sink);

/* advance.c */
void kf_sample_take(kf_device *device, const kf_sample *s, kf_sink *sink);
void kf_sample_turn(kf_device *device, const kf_sample *s, kf_sink *sink);

/* Whether a device may be quiet after a message (measures.c). */
bool kf_may_rest(uint32_t kind, const kf_flat *message);

/* Whether a packet keeps to a rate (limit.c): expected_ns is when the next one would come. */
bool kf_conforms(int64_t *expected_ns, int64_t arrived_ns, int64_t each_ns, int64_t burst_ns);

#endif
