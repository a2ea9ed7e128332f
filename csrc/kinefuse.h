/* kinefuse.h: the contract of the C core.
 *
 * Frames: b is the sensor's body, e is earth, ENU (x east, y north, z up). Quaternions are w first; q_eb
 * takes b to e. Specific force: at rest the accelerometer reads +g up. Units are SI; times are int64
 * nanoseconds on the device's own clock. Nothing here reads a clock, allocates or keeps a global.
 *
 * The caller owns all memory. Arguments: state first, then inputs, outputs, each pointer with its count.
 * kf_advance takes every packet of a tick, of all devices, in one call; packets of one device stand in the
 * order in which they arrived. A packet that is refused changes nothing but its own summary.
 *
 * Results depend on samples and their stamps alone: not on how samples were cut into packets, nor on how
 * packets were cut into calls. So summaries describe a packet, and what is fused further (windows, steps)
 * is cut on the device clock.
 */
#ifndef KINEFUSE_H
#define KINEFUSE_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] the build reads from here to the closing mark; only declarations and plain numbers stand here */

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
    uint32_t reserved;
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
 * in:    bytes              the packets' payloads, joined
 *        packets            packet_count references into bytes
 *        path               KF_PATH_...: how, not what; all give the same, bit for bit
 * out:   summaries          packet_count
 *        windows, steps     room for capacity each; window_count and step_count tell how many were written
 * Returns 0; or -1, having touched nothing, where a reference lies outside its array, the machine
 * cannot take the path, or capacity is less than the sum over all packets of length / 12, which is never too
 * little.
 */
int kf_advance(kf_device *devices, kf_pairing *pairings, size_t count, const uint8_t *bytes,
               size_t byte_count, const kf_packet *packets, size_t packet_count, kf_summary *summaries,
               kf_window *windows, kf_step *steps, size_t capacity, size_t *window_count, size_t *step_count,
               uint32_t path);

/* The fastest path that this machine can take; those below it, it can take too. */
uint32_t kf_best_path(void);

/* Turn one device by the samples of a recording, and tell what is known at each; no windows, no steps.
 *
 * in:  instants  count samples in the order of time; one that is not after the newest changes nothing
 *      flags     KF_MEANS, or 0
 * out: poses     count
 */
void kf_track(kf_device *device, const kf_instant *instants, size_t count, uint32_t flags, kf_pose *poses);

/* Kernels: a function of one record (a measurement, or the moment of a step) and its row of a table, recorded
 * as a list of operations on numbers (fusion/kernel.py), and run for many records. Each number is a float64
 * or an int64; a truth is the int64 0 or 1. All operations are those of IEEE 754 and of two's complement, exp
 * and hypot those of libm: so a record's results do not depend on those beside it.
 */
typedef union {
    double f;
    int64_t i;
} kf_value;

/* Operations: out = f(a, b, c), each the number of a register. */
enum {
    KF_OP_ADD_F,
    KF_OP_SUBTRACT_F,
    KF_OP_MULTIPLY_F,
    KF_OP_DIVIDE_F,
    KF_OP_MINIMUM_F, /* NaN where one of both is, as numpy has it */
    KF_OP_MAXIMUM_F,
    KF_OP_HYPOT_F,
    KF_OP_LESS_F,
    KF_OP_LESS_EQUAL_F,
    KF_OP_EQUAL_F,
    KF_OP_NOT_EQUAL_F,
    KF_OP_NEGATIVE_F,
    KF_OP_ABSOLUTE_F,
    KF_OP_SQRT_F,
    KF_OP_EXP_F,
    KF_OP_RINT_F,
    KF_OP_ISFINITE_F,
    KF_OP_TRUNCATE_F, /* to int64; INT64_MIN where it does not fit */
    KF_OP_ADD_I,
    KF_OP_SUBTRACT_I,
    KF_OP_MULTIPLY_I,
    KF_OP_MINIMUM_I,
    KF_OP_MAXIMUM_I,
    KF_OP_NEGATIVE_I,
    KF_OP_ABSOLUTE_I,
    KF_OP_AND_I,
    KF_OP_OR_I,
    KF_OP_LESS_I,
    KF_OP_LESS_EQUAL_I,
    KF_OP_EQUAL_I,
    KF_OP_NOT_EQUAL_I,
    KF_OP_FLOAT_I,     /* to float64 */
    KF_OP_SELECT,      /* b where a is true, else c */
    KF_OP_LOOKUP,      /* of the b constants from the place on that a chooses, the nearest there is */
    KF_OP_LOAD_ROW,    /* the field of type b at the place in the record's row */
    KF_OP_LOAD_RECORD, /* likewise in the record */
    KF_OP_STORE_ROW,   /* a to the field of type b at the place in the record's row */
    KF_OP_TELL,        /* a to the kernel's output of the number place */
};

/* Types of fields. */
enum { KF_INT8, KF_INT32, KF_UINT32, KF_INT64, KF_FLOAT64 };

typedef struct {
    uint16_t op, out, a, b, c;
    uint16_t reserved;
    uint32_t place;
} kf_operation;

/* Operations read the registers that hold constants, which come first, and those written before; no load
 * follows a store. Tables to look up follow the constants that have registers. */
typedef struct {
    const kf_operation *operations;
    const kf_value *constants;
    size_t operation_count;
    size_t constant_count;
    size_t register_count;
} kf_kernel;

/* Numbers that kf_run computes side by side. */
#define KF_BLOCK 64

/* Run a kernel for records that each begin with their row of the table, int32, and the time, int64, right
 * after it. Records of one row stand in the order of time; each finds its row as the one before has left it.
 *
 * inout: table      row_count rows of row_bytes
 * in:    records    count of record_bytes
 * work:  order      room for 2 count + 1
 *        registers  room for register_count KF_BLOCK
 * out:   told       an array of count for each output
 * Returns 0; or, having touched no row, 1 where records are not in the order of rows and times, -1 where one
 * is of a row that is not there.
 */
int kf_run(const kf_kernel *kernel, uint8_t *table, size_t row_bytes, size_t row_count,
           const uint8_t *records, size_t record_bytes, size_t count, uint32_t *order, kf_value *registers,
           kf_value *told);

/* A piece of text, without a mark at its end. */
typedef struct {
    const char *bytes;
    size_t length;
} kf_text;

/* Metrics of athletes, to be written as JSON. Arrays of both are metric by metric. */
typedef struct {
    size_t metric_count, athlete_count;
    const double *value, *sigma, *quality;
    const int64_t *t_ns;
    const int32_t *source, *reason; /* a reason that is not 0: there is no value */
    const int64_t *due_ns;          /* of each athlete */
    const uint8_t *decimals;        /* of each metric's value; 0: it is told as a whole number */
    const kf_text *opening;         /* of each metric: what stands before its value */
    const kf_text *sources;         /* of each source: what stands between age and quality */
    const kf_text *reasons;         /* of each reason: what stands instead of a value, to the metric's end */
} kf_live;

/* Decimals of what is told of each metric beside its value. */
#define KF_SIGMA_DECIMALS 4
#define KF_AGE_DECIMALS 3
#define KF_QUALITY_DECIMALS 3

/* Write each athlete's metrics as a JSON object, {"name":{"value":1.5,"sigma":0.1,...},...}.
 *
 * out: text     room for each athlete
 *      lengths  of each athlete's text; 0 where a number is so large, or so near to a tie, that rounding
 * takes all of its digits, or where there is no room
 */
void kf_tell(const kf_live *live, char *text, size_t room, uint32_t *lengths);

/* [/cffi] */

#endif
