/* devices.h: packets of motion in; orientation, windows and steps out. */
#ifndef KINEFUSE_DEVICES_H
#define KINEFUSE_DEVICES_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

#define KF_STATE_VERSION 2

#define KF_MAGIC 0x4B
#define KF_PACKET_VERSION 1
#define KF_HEADER_BYTES 40
#define KF_SAMPLES_MAX 1000

#define KF_WINDOW_NS 250000000 /* windows end at multiples of this on the device clock */
#define KF_GAP_NS 250000000    /* a longer step between samples is a gap: nothing is integrated over it */

/* Kinds of kf_packet. */
#define KF_BINARY 0 /* the IMU packet of docs/protocol.md, header and all */
#define KF_ROWS 1   /* an array of kf_row, 8-byte aligned; of one stamp mag and accel before gyro */

/* Sensors of kf_row. */
#define KF_ACCEL 0 /* specific force in b, m/s^2 */
#define KF_GYRO 1  /* angular rate in b, rad/s */
#define KF_MAG 2   /* magnetic field in b, uT */

/* What became of a packet. Those below KF_LATE are malformed, and changed nothing. */
#define KF_OK 0
#define KF_SHORT_HEADER 1
#define KF_BAD_MAGIC 2
#define KF_BAD_VERSION 3
#define KF_BAD_COLUMNS 4
#define KF_BAD_FLAGS 5
#define KF_BAD_COUNT 6
#define KF_BAD_RESERVED 7
#define KF_BAD_LENGTH 8
#define KF_BAD_TIME 9
#define KF_BAD_SCALE 10
#define KF_BAD_SENSOR 11
#define KF_NOT_FINITE 12
#define KF_LATE                                                                                              \
    13                  /* ends at or before the newest sample of this boot (rows: each of its own sensor),  \
                           or is of the boot before; not if seq tells that the clock was set back over 1 s */
#define KF_DUPLICATE 14 /* this (boot, seq) was the newest already */

#define KF_ALIGNMENT 8 /* of packets of rows */

/* Ways of a packet: into its device's state, or into what that was before a gap, which is kept beside. Rows
 * go on. */
#define KF_WAY_ON 0
#define KF_WAY_FORK 1   /* on, behind a gap that may come yet: keep what was before it */
#define KF_WAY_BESIDE 2 /* of that gap, in order; on, and so late, where nothing is kept */
#define KF_WAY_LAST 3   /* likewise, the last of it: what is open beside is told */

/* Flags of kf_packet. */
#define KF_HAS_BOOT 1 /* boot is told */
#define KF_HAS_SEQ 2  /* seq is told */
#define KF_MEANS 4    /* rows are means over the interval that ends at their stamp */

/* Flags of kf_summary and kf_window. */
#define KF_GAP 1           /* a gap of the stream lies inside or right before */
#define KF_CLIPPED 2       /* a sample stood at the end of its range */
#define KF_REST 4          /* the device lay still at the end */
#define KF_MAG_DISTURBED 8 /* the field does not fit the earth's */
#define KF_HAS_MAG 16      /* q9 is an answer, not only a copy of q6 */
#define KF_NEW_BOOT 32     /* the device started anew with this packet */
#define KF_SETTLED 64      /* tilt is known well enough to use dv_e */
#define KF_BESIDE 128      /* the packet went beside: it tells nothing of now */

/* Paths of kf_advance: one device after the other, or 8 or 16 side by side. */
#define KF_PATH_PLAIN 0
#define KF_PATH_AVX2 1
#define KF_PATH_AVX512 2

/* Where a device is worn. */
#define KF_UNKNOWN 0
#define KF_WRIST 1
#define KF_CHEST 2
#define KF_FOOT 3
#define KF_HIP 4
#define KF_POCKET 5

/* What the birth message told of a device; zeros where it told nothing. */
typedef struct {
    float gyro_range;  /* rad/s */
    float accel_range; /* m/s^2 */
    uint32_t placement;
    uint32_t reserved;
} kf_profile;

typedef struct {
    uint32_t device; /* row of the device table */
    uint32_t kind;
    uint64_t offset; /* into bytes */
    uint64_t length; /* in bytes */
    uint32_t flags;  /* boot, seq and flags are read from the packet itself where it is binary */
    uint32_t boot;
    uint32_t seq;
    uint32_t way; /* KF_WAY_... */
} kf_packet;

typedef struct {
    int64_t t_ns;
    float x, y, z;
    uint32_t sensor;
} kf_row;

/* One for each packet, in the packets' order. */
typedef struct {
    uint32_t device;
    uint32_t status;
    uint32_t flags;
    uint32_t samples; /* gyroscope samples that the packet brought (rows: that were paired) */
    int64_t t_first_ns;
    int64_t t_last_ns; /* stamp of the newest sample in the packet */
    uint32_t boot;
    uint32_t seq;
    uint32_t lost;         /* packets that are missing right before this one, by seq */
    float rate_hz;         /* of the gyroscope, as the stamps tell it, smoothed */
    uint64_t steps;        /* since the device was first seen */
    float q6[4];           /* q_eb without the magnetometer */
    float q9[4];           /* q_eb with it */
    float bias_b[3];       /* of the gyroscope, rad/s */
    float bias_sigma;      /* rms over the axes, rad/s */
    float tilt_sigma;      /* rad */
    float heading_sigma;   /* rad; pi or more: not known */
    float free_accel_e[3]; /* mean over the packet, m/s^2 */
    uint32_t windows;      /* that this packet completed; they stand in the packets' order */
    uint32_t new_steps;    /* that it brought, likewise */
    uint32_t reserved;
} kf_summary;

/* One for each KF_WINDOW_NS of the device clock that holds samples. */
typedef struct {
    uint32_t device;
    uint32_t flags;
    int64_t t_ns;     /* the window's end, a multiple of KF_WINDOW_NS */
    float duration_s; /* covered by samples; not what was bridged where some are lost */
    float dv_e[3];    /* integral of free acceleration, m/s; z is the vertical velocity increment */
    float dv_sigma;   /* of dv_e[2], m/s, from tilt and noise */
    float accel_rms;  /* of free acceleration, m/s^2 */
    float gyro_rms;   /* rad/s */
    uint32_t steps;
    float step_interval_s; /* mean between the last steps; 0 when not walking or running */
    uint32_t reserved;
} kf_window;

/* One for each step taken. */
typedef struct {
    uint32_t device;
    float strength; /* peak to peak of the vertical acceleration, m/s^2 */
    int64_t t_ns;
} kf_step;

/* One sample of a recording. A vector that is not finite is absent. */
typedef struct {
    int64_t t_ns;
    float gyro_b[3], accel_b[3], mag_b[3]; /* rad/s, m/s^2, uT */
    float interval_s;                      /* its own; 0: the usual one */
} kf_instant;

/* What is known at a sample of a recording; fields as in kf_summary. */
typedef struct {
    float q6[4], q9[4];
    float bias_b[3];
    float bias_sigma, tilt_sigma, heading_sigma;
    float free_accel_e[3]; /* mean over the step that ends here, m/s^2 */
    uint32_t flags;        /* as in kf_summary; of gaps and clipping those of this sample */
} kf_pose;

typedef struct kf_device kf_device;
typedef struct kf_pairing kf_pairing;

/* Sizes of the opaque blocks, constant for one KF_STATE_VERSION. Both are plain bytes: a copy is a snapshot,
 * and a block of this version copied back is a restore, bit for bit. */
size_t kf_device_size(void);
size_t kf_pairing_size(void);

/* Make device, and its pairing where it is not NULL, those of a device that was never heard of. A pairing of
 * zeros is such a one as well. */
void kf_reset(kf_device *device, kf_pairing *pairing, const kf_profile *profile);

/* Change what is known of a device without touching its state. */
void kf_configure(kf_device *device, const kf_profile *profile);

/* Return 1 when block holds a device state of this version, else 0. */
int kf_valid(const kf_device *device);

/* Advance the devices by all packets of a tick.
 *
 * inout: devices, pairings  count rows each (pairings holds what a device of kind KF_ROWS waits for)
 *        beside             likewise: devices as they were before a gap; of zeros nothing is kept
 * in:    bytes              the packets' payloads, joined
 *        packets            packet_count references into bytes
 *        path               KF_PATH_...: how, not what; all give the same, bit for bit
 * out:   summaries          packet_count
 *        windows, steps     room for capacity each; window_count and step_count tell how many were written
 * Returns 0; or -1, having touched nothing, where a reference lies outside its array, the machine
 * cannot take the path, or capacity is less than the sum over all packets of length / 12, which is never too
 * little.
 */
int kf_advance(kf_device *devices, kf_pairing *pairings, kf_device *beside, size_t count,
               const uint8_t *bytes, size_t byte_count, const kf_packet *packets, size_t packet_count,
               kf_summary *summaries, kf_window *windows, kf_step *steps, size_t capacity,
               size_t *window_count, size_t *step_count, uint32_t path);

/* The fastest path that this machine can take; those below it, it can take too. */
uint32_t kf_best_path(void);

/* Turn one device by the samples of a recording, and tell what is known at each; no windows, no steps.
 *
 * in:  instants  count samples in the order of time; one that is not after the newest changes nothing
 *      flags     KF_MEANS, or 0
 * out: poses     count
 */
void kf_track(kf_device *device, const kf_instant *instants, size_t count, uint32_t flags, kf_pose *poses);

/* [/cffi] */

#endif
