/* measures.h: what low-rate messages measure. */
#ifndef KINEFUSE_MEASURES_H
#define KINEFUSE_MEASURES_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/beats.h"
#include "kinefuse/flat.h"
#include "kinefuse/frames.h"
#include "kinefuse/schedule.h"
#include "kinefuse/seen.h"

/* [cffi] */

/* Low-rate messages to measurements (measures.c). */

/* The values of a kf_flat, by its kind. */
typedef struct {
    double bpm, contact, optical;
} kf_told_hr;

typedef struct {
    double lat, lon, alt_m, speed_mps, course_deg, h_acc_m, v_acc_m, speed_acc_mps;
} kf_told_gnss;

typedef struct {
    double pressure_pa;
} kf_told_baro;

typedef struct {
    double watts;
} kf_told_power;

typedef struct {
    double rpm, spm;
} kf_told_cadence;

typedef struct {
    double speed_mps;
} kf_told_speed; /* of a wheel or a foot */

/* Kinds of measurements, beside KF_KIND_WINDOW, and their records. */
#define KF_KIND_HEART_RATE 1
#define KF_KIND_GNSS 2
#define KF_KIND_BARO 3
#define KF_KIND_POWER 4
#define KF_KIND_CADENCE 5
#define KF_KIND_SPEED 6

#define KF_SOURCE_STRAP 1
#define KF_SOURCE_OPTICAL 2
#define KF_SOURCE_FOOT 6
#define KF_SOURCE_WHEEL 7

#define KF_RANK_WRIST 4 /* of kf_link */

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
} kf_measured;

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
    double bpm, sigma_bpm;
    int32_t source;
    double lag_s;
} kf_measured_heart_rate;

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
    double lat_deg, lon_deg, alt_m, speed_mps, course_rad, h_acc_m, v_acc_m, speed_acc_mps;
} kf_measured_gnss;

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
    double pressure_pa;
} kf_measured_baro;

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
    double watts;
} kf_measured_power;

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
    double rpm, spm;
} kf_measured_cadence;

typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device;
    double speed_mps;
    int32_t source;
} kf_measured_speed;

typedef union {
    uint8_t bytes[KF_RECORD_BYTES];
    kf_measured any;
    kf_measured_window window;
    kf_measured_heart_rate heart_rate;
    kf_measured_gnss gnss;
    kf_measured_baro baro;
    kf_measured_power power;
    kf_measured_cadence cadence;
    kf_measured_speed speed;
} kf_record;

/* Tell what a message of a kind, KF_TOPIC_..., measured.
 *
 * inout: beats    of its device, where it tells intervals; NULL else
 * in:    link     of its device
 *        message  all but its list
 *        list_ms  list_count: its intervals between beats
 * out:   record   without a time: what that is, the schedule finds out
 * Returns KF_KIND_...; KF_NONE: it measured nothing.
 */
uint32_t kf_measure(kf_beats *beats, const kf_link *link, uint32_t kind, const kf_flat *message,
                    const double *list_ms, size_t list_count, kf_record *record);

/* [/cffi] */

#endif
