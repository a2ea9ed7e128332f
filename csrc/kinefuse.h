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

/* A histogram of times, ns: log-linear, 2^KF_SUBDIVISION buckets in each octave, so that a bucket is at most
 * 1/32 of its times wide. Of zeros but for the budget and max_ns of -1 it is empty. */
#define KF_SUBDIVISION 5
#define KF_BUCKETS 1088 /* up to 2^38 ns, 275 s; what is longer is counted in the last one */

typedef struct {
    int64_t budget_ns; /* a longer time is a miss */
    int64_t max_ns;    /* the longest; -1: none yet */
    uint64_t misses;
    double sum_s;
    int64_t counts[KF_BUCKETS];
} kf_histogram;

/* The bucket of a time, ns; below 0 counts as 0. */
uint32_t kf_bucket(int64_t ns);

/* Record count times, ns; return how many were misses. */
size_t kf_observe(kf_histogram *histogram, const int64_t *times_ns, size_t count);

/* Record one; return 1 where it was a miss, else 0. */
int kf_observe_one(kf_histogram *histogram, int64_t ns);

/* Device clocks (clock.c). Times are int64 ns; aligned time is UTC. */

#define KF_STAMP_MAX 4611686018427387904 /* 2^62: stamps beyond it, either way, mean nothing */

#define KF_CLOCK_FRESH 0 /* never observed: aligned is what the device says */
#define KF_CLOCK_LIVE 1
#define KF_CLOCK_RECORDED 2 /* aligned is what the device says, always */

typedef struct {
    int64_t ref_ns;           /* device time where the line is told */
    int64_t at_ns;            /* aligned time there */
    int64_t newest_ns;        /* newest device stamp seen */
    int64_t anchor_ns;        /* device time where the published line left its former course */
    int64_t block_end_ns;     /* arrival that closes the block */
    int64_t least_ns;         /* the block's smallest arrival - stamp */
    int64_t least_at_ns;      /* the stamp it was seen at */
    int64_t suspect_ns;       /* arrival of the first of the outliers in a row */
    int64_t suspects;         /* how many outliers in a row; negative: that are early */
    int64_t suspect_least_ns; /* their smallest arrival - stamp, of the half second that ends at */
    int64_t half_end_ns;      /* this arrival, */
    int64_t half_least_ns;    /* and of the one before; INT64_MAX: there was none */
    int64_t boot;             /* -1: not told */
    int64_t jumps;
    int64_t wraps;      /* how often a counter of 32 bit began anew */
    int64_t delay_ns;   /* by which the published line is below the estimated one */
    int64_t trip_ns;    /* the shortest round trip of pings; 0: none */
    int64_t trip_at_ns; /* its arrival */
    int64_t blocks;     /* whole blocks since the start or the last jump */
    int64_t phase;      /* KF_CLOCK_... */
    double error_ns;    /* of the published line over the estimate, at the anchor */
    double slew_ns;     /* device time over which that error is worked off */
    double skew;        /* s/s */
    double p_oo;        /* s^2 */
    double p_os;        /* s */
    double p_ss;
    double noise_s2; /* variance of a block's minimum */
    double late_s;   /* by which the block before was too late for a delay; else 0 */
} kf_clock;

/* Make clock that of a device that was never heard of. */
void kf_clock_reset(kf_clock *clock, int recorded);

/* Take in that a packet whose newest stamp is device_ns arrived at arrived_ns, which falls by no more than
 * packets wait for their predecessor. Stamps
 * beyond KF_STAMP_MAX are not observed. Another boot than before begins the clock anew, and counts as
 * a jump; -1: it is not told. */
void kf_clock_observe(kf_clock *clock, int64_t device_ns, int64_t arrived_ns, int64_t boot);

/* Take in that a ping sent at sent_ns was answered at device_ns, and that this arrived at arrived_ns, both
 * UTC. The shortest way there and the shortest way back make a round trip, half of which is the constant
 * delay, to within half of it. */
void kf_clock_pong(kf_clock *clock, int64_t device_ns, int64_t sent_ns, int64_t arrived_ns);

/* The aligned time of a stamp; the stamp itself where nothing was observed. */
int64_t kf_clock_align(const kf_clock *clock, int64_t device_ns);
void kf_clock_align_many(const kf_clock *clocks, const uint32_t *rows, const int64_t *device_ns, size_t count,
                         int64_t *aligned_ns);

/* One sigma of aligned minus device time at the newest stamp; without the constant delay, which cannot be
 * seen, where no ping told it; infinite where nothing was observed. */
double kf_clock_sigma_ns(const kf_clock *clock);

/* The schedule (schedule.c, lanes.c): when an athlete's models step, on a grid of aligned time, by what has
 * arrived, never by how it was batched. A lane holds one athlete's measurements in the order in which they
 * arrived. A step falls due on every whole KF_STEP_NS plus the athlete's phase; it fires on the first
 * measurement at or after its due time, and takes in all that had arrived by then and is not newer. So the
 * jobs of a lane depend on the order of arrival alone: live, replayed and analysed streams step alike. */

#define KF_NONE 4294967295u
#define KF_STEP_NS 1000000000
#define KF_KINDS 8         /* of measurements, at most */
#define KF_RECORD_BYTES 88 /* of the longest measurement */
#define KF_KIND_WINDOW 0   /* the kind that the core itself measures */
#define KF_HELD_MAX                                                                                          \
    50 /* measurements of one kind that a step takes in: ten times what honest devices send                  \
        */
#define KF_JOBS_MAX                                                                                          \
    100000 /* jobs that may wait in a lane: a day of steps; whoever is further behind is refused */
#define KF_JOBS_ALL_MAX 200000      /* in all lanes together: beyond, a lane takes in only KF_CATCH_UP_MAX, */
#define KF_CATCH_UP_MAX 600         /* which is what one measurement after a silence may bring */
#define KF_CATCH_UP_NS 600000000000 /* over a longer silence one step is enough */
#define KF_JOBS_A_FOUND 1024        /* room for jobs that a call must have left to go on, and for items: */
#define KF_ITEMS_A_FOUND 4096       /* twice what a lane keeps: a rewind tells all of that */
#define KF_LIFESPAN_NS 10000000000  /* older than this behind the newest measurement: no use any more */
#define KF_BASE_NS 10000000000      /* the models' states are kept this often, for rewinds, */
#define KF_BASES 5                  /* at most so many of a lane */
#define KF_KEPT_MAX 2048            /* measurements that a lane keeps for rewinds */
#define KF_PAGES_A_BLOCK 1024       /* pages lie in blocks of memory, which never move */
#define KF_PAGES_A_FOUND 512  /* free pages that a call must have left to go on, where there are rewinds */
#define KF_DEEP_NS 2000000000 /* what is later than this no model takes in one step later */
#define KF_LONG_AGO_NS 4611686018427387904 /* its negative: before any measurement */
#define KF_DAY_NS 86400000000000           /* a recording does not skip a day: such a stamp is an error */
#define KF_FUTURE_NS 5000000000            /* a live device's sample may seem this far ahead of its arrival */
#define KF_CLOCK_SET_NS                                                                                      \
    700000000000                 /* no live start is so far back, but after the server's clock was set       \
                                  */
#define KF_WAIT_NS 250000000     /* a step fires this long after its due time when no packet does */
#define KF_SILENT_NS 10000000000 /* an athlete without any packet for this long is silent, */
#define KF_IDLE_NS 30000000000   /* and without a workout tells so this often */

/* Why a measurement is of no use; these follow the status of packets. */
#define KF_TOO_FAST 15
#define KF_STALE 16     /* older than its lifespan behind the newest */
#define KF_TIME_JUMP 17 /* a day ahead */
#define KF_FUTURE 18    /* a live one, ahead of its arrival */

/* Flags of kf_link. */
#define KF_LINK_RECORDED 1 /* a recording is played: its clock is taken as it is */
#define KF_LINK_ONLINE 2
#define KF_LINK_SPECIAL 4 /* its packets are to be looked at one by one before they come here */
#define KF_LINK_BOOT 8    /* boot stands */
#define KF_LINK_BOOT_BEFORE 16
#define KF_LINK_SEQ 32
#define KF_LINK_GAP 64     /* gap_seq and gap_end stand */
#define KF_LINK_FRAMES 128 /* it sends binary IMU packets */

/* Flags of kf_lane. */
#define KF_LANE_STARTED 1 /* there is a watermark */
#define KF_LANE_RECORDED                                                                                     \
    2                   /* stamps of a recording alone move time, and it may start again from its begin      \
                         */
#define KF_LANE_OPENS 4 /* the next measurement opens a workout */
#define KF_LANE_OPEN 8  /* a workout is open */

/* What is known of a device and its link. */
typedef struct {
    uint32_t athlete; /* row of its lane */
    uint32_t core; /* its row in the table of devices that measure motion; KF_NONE: it sent no IMU packet */
    uint32_t rank; /* of its placement, for counting steps */
    uint32_t flags;
    uint32_t vain;           /* waits for an IMU packet that did not come, one after the other (order.c) */
    float rate_hz;           /* of its gyroscope */
    int64_t arrived_ns;      /* UTC at which its newest packet came; 0: never */
    int64_t newest_ns;       /* aligned time of its newest measurement */
    int64_t expected_ns;     /* UTC at which its next IMU packet would come at the highest rate allowed, */
    int64_t expected_low_ns; /* and its next low-rate message */
    uint64_t packets, lost, refused;
    uint32_t boot, boot_before, seq;       /* of its newest IMU packet that went on in order */
    uint32_t waiting_count, first_waiting; /* within a call: what waits, and which of them is first by seq */
    uint32_t gap_seq, gap_end; /* of a gap that was taken for lost: the newest that came yet, and its end */
    uint32_t number; /* of the device among all that ever were: rows are used again, numbers are not */
    uint32_t seen;   /* its place among the kf_seen; KF_NONE: it sent no low-rate message */
} kf_link;

typedef struct {
    int64_t phase_ns;     /* of the grid */
    int64_t watermark_ns; /* the newest aligned time seen */
    int64_t due_ns;
    int64_t arrived_ns;   /* UTC at which the newest packet of any of the devices came; 0: never */
    uint32_t first, last; /* of the measurements held; KF_NONE: none */
    uint32_t jobs;        /* that were told and are not done: the caller takes off what it has done */
    uint32_t flags;
    uint8_t held[KF_KINDS]; /* measurements, by kind */

    /* What a rewind needs. Measurements that steps took in are kept; a base is a time at which the caller
     * keeps the models' state. */
    uint32_t kept_first, kept_last; /* pages; KF_NONE: nothing is kept */
    uint32_t kept_count;
    uint32_t base_count;
    int64_t stepped_ns; /* up to where jobs were told: what is not newer comes late */
    int64_t dirty_ns;   /* the oldest that came late and awaits a rewind; INT64_MAX: none */
    int64_t deep_ns;    /* likewise, of what is later than KF_DEEP_NS */
    int64_t rewound_ns; /* when the last rewind was told */
    int64_t redo_ns;    /* from where the newest step went, if it can be taken back; INT64_MAX: it cannot */
    int64_t begun_ns;   /* of the oldest measurement of all */
    int64_t intact_ns;  /* no measurement newer than this was dropped */
    int64_t bases[KF_BASES]; /* rising */
} kf_lane;

/* A measurement. record starts with the athlete's row (int32) and, at byte 8, aligned time (int64). */
typedef struct {
    int64_t t_ns;
    uint32_t next;
    uint32_t kind;
    uint8_t record[KF_RECORD_BYTES];
} kf_item;

/* Measurements that a lane keeps for rewinds, packed one behind the other (kept.c). */
typedef struct {
    int64_t first_ns;    /* the others' times are told from it */
    int64_t newest_ns;   /* of all that ever stood in it */
    uint32_t next;       /* the lane's next page, or the next free one; KF_NONE: none */
    uint16_t begin, end; /* of what is kept, in bytes */
    uint8_t alike[7];    /* what windows of one device share, */
    uint8_t has_alike;   /* where this is told */
    uint8_t bytes[224];
} kf_page;

/* The record of KF_KIND_WINDOW. */
typedef struct {
    int32_t row;
    int64_t t_ns;
    int32_t device, rank;
    double duration_s, dv_up_mps, dv_sigma_mps, accel_rms, gyro_rms;
    int32_t steps;
    double step_interval_s;
    uint32_t flags;
} kf_measured_window;

/* What arrived: a packet or a command. Those of one message stand together, and what they measured is taken
 * in the order of time. */
#define KF_EVENT_IMU 0    /* index: of its summary */
#define KF_EVENT_SAMPLE 1 /* index: of its record; KF_NONE: it measured nothing */
#define KF_EVENT_ORDER 2  /* index: the caller's own */
#define KF_EVENT_START 3  /* an order that starts a workout */
#define KF_EVENT_STATUS 4 /* for kf_order alone: the device came or leaves, so nothing of it waits */

#define KF_EVENT_TIMED 1 /* flags: t_ns is told; else it is of its arrival, or in a recording of now */
#define KF_EVENT_BOOT 2  /* boot is told */
#define KF_EVENT_PONG 4  /* it answers a ping, which was sent so long before its arrival as measures tells */

typedef struct {
    uint32_t kind;
    uint32_t message; /* events of one message have one number */
    uint32_t device;  /* of packets; KF_NONE for a command */
    uint32_t athlete; /* row of the lane */
    uint32_t index;
    uint32_t flags;
    uint32_t measures; /* of a sample: the kind of its record; of a pong: its round trip, us */
    uint32_t boot, seq;
    uint32_t stream;     /* the caller's own */
    int64_t t_ns;        /* of a packet on the device's clock, of a command aligned */
    int64_t arrived_ns;  /* UTC */
    int64_t received_ns; /* monotonic */
} kf_event;

/* What is to be done for an athlete. */
#define KF_JOB_STEP 0    /* step the models to due_ns, and publish */
#define KF_JOB_PARTIAL 1 /* step them, off the grid: a command follows */
#define KF_JOB_ORDER 2   /* carry out the command of index at due_ns */
#define KF_JOB_BEGIN 3   /* open a workout at due_ns, before any job */
#define KF_JOB_KEEP 4    /* keep the models' state: nothing came before; received_ns: what comes */
#define KF_JOB_REWIND 5  /* go back to the base due_ns, take in the items in their order up to received_ns */
#define KF_JOB_REDO 6 /* take back the newest step, which was to due_ns, and step again, with these items */
#define KF_KEEP 0     /* index of a step, or its redo: due_ns is a base, keep the models' state after it */

typedef struct {
    uint32_t kind;
    uint32_t athlete;
    uint32_t device, boot, seq; /* of the packet that caused it; device KF_NONE: none did */
    uint32_t index;             /* of a command */
    uint32_t first, count;      /* the items that a step takes in, by time */
    int64_t due_ns;
    int64_t received_ns; /* monotonic, of the cause; 0: none */
} kf_job;

typedef struct {
    uint32_t device;
    uint32_t reason; /* status of a packet, or KF_TOO_FAST and on */
    uint32_t event;  /* that was refused, or of which a part was */
} kf_refusal;

/* Something that was found in a message, before it is sorted by time. */
typedef struct {
    int64_t t_ns;
    uint32_t event;
    uint32_t window; /* KF_NONE: none, but the event's record, or how far time has come */
} kf_found;

/* The tables, what arrived, and what follows. The caller owns all memory. */
typedef struct {
    kf_lane *lanes;
    kf_link *links;
    kf_clock *clocks;
    kf_item *items;      /* the pool of what lanes hold */
    uint32_t free_item;  /* head of the list of free ones; KF_NONE: none */
    uint32_t free_count; /* how many there are */
    uint32_t next_lane;  /* of kf_schedule_pass */
    uint32_t base_room;  /* bases of a lane, at most KF_BASES */
    kf_page **pages;     /* blocks of KF_PAGES_A_BLOCK: the pool of what lanes keep */
    uint32_t free_page;  /* as of items */
    uint32_t free_pages;
    uint32_t record_bytes[KF_KINDS]; /* of each kind of measurement */
    uint64_t jobs_waiting;
    int64_t window_ns; /* what comes late by no more than this is taken in by a rewind; 0: never */

    const kf_event *events;
    const kf_summary *summaries;
    const uint32_t *first_window; /* of each summary */
    const kf_window *windows;
    const uint8_t *records; /* KF_RECORD_BYTES each */
    kf_found *found;        /* room for twice all events and windows */
    size_t event_count, next_event, next_found, found_count;

    kf_job *jobs;
    kf_item *taken;
    kf_refusal *refusals;
    size_t job_room, job_count, taken_room, taken_count, refusal_room, refusal_count;
} kf_schedule;

void kf_lane_reset(kf_lane *lane, int64_t phase_ns);

/* Forget what a lane holds and that it had a time. */
void kf_lane_forget(kf_schedule *schedule, uint32_t row);

/* Take in events from next_event on. Returns 1 where the room for jobs, items or refusals, or for what is
 * kept, does not suffice to go on: take them out, set their counts to 0, see to free pages and call again;
 * else 0. The pool must have a free item for each window and each record that is left. */
int kf_schedule_run(kf_schedule *schedule);

/* Make steps due whose packet has not come, of live athletes, from next_lane up to lane_count; returns as
 * kf_schedule_run does. */
int kf_schedule_pass(kf_schedule *schedule, uint32_t lane_count, int64_t utc_ns);

/* Tell the rewind, or redo, that a lane awaits, if it does; returns as kf_schedule_run does. */
int kf_schedule_rewind(kf_schedule *schedule, uint32_t row);

/* Forget what a rewind would need: the models' state was changed by something that is no job. */
void kf_lane_settle(kf_schedule *schedule, uint32_t row);

#define KF_LIMIT_NS 4000000           /* a live device's IMU packets, for ever: 250 a second; */
#define KF_LIMIT_BURST_NS 16000000000 /* and after a silence so much of that at once: 4,000 */

/* Decide which IMU packets of live devices are taken, by their arrival.
 *
 * inout: links
 * in:    events    count, in the order of arrival
 * out:   admitted  1 or 0 for each; what is no IMU packet of a live device is admitted
 * Returns how many are refused; each is counted at its link.
 */
size_t kf_limit(kf_link *links, const kf_event *events, size_t count, uint8_t *admitted);

/* Streams: what each device sends of one kind, and how long it may be silent (server/deadlines/streams.py).
 */
#define KF_STREAM_ALIVE 0
#define KF_STREAM_DEAD 5
#define KF_STREAM_UNHEARD 255

typedef struct {
    int64_t due_ns;   /* when it may change next */
    int64_t heard_ns; /* when it was last heard, or promised; 0: never */
    float interval_s; /* the usual one */
    float age_s;      /* of the newest sample when it arrived */
    uint8_t state;    /* KF_STREAM_... */
    uint8_t rests;    /* its last value is one after which it may be quiet */
} kf_supervised_stream;

typedef struct {
    int64_t heard_ns;   /* anything at all */
    int64_t revived_ns; /* since when its link lives again */
    int64_t jumped_ns;
    int64_t jumps;  /* as the time base had counted at the last look */
    float speed;    /* of what is played; 0: live */
    uint8_t willed; /* it told a birth, so it has a last will */
    uint8_t gone;   /* its last will came, or its goodbye */
    uint8_t dead;   /* told to be */
    uint8_t waits;  /* a stream of it waits for a sign of life */
} kf_supervised_device;

/* The tables, kinds streams for each device, and the rules; lengths of time in ns where not told else. */
typedef struct {
    kf_supervised_stream *streams;
    kf_supervised_device *devices;
    const float *first_s; /* the interval that is believed at first, of each kind */
    uint32_t kinds;
    int64_t burst_ns;       /* what follows so soon is of one burst */
    double rise, fall;      /* how fast the usual interval follows longer and shorter ones */
    double intervals;       /* a deadline holds so many, */
    double silence_ns;      /* at least this, */
    double deadline_max_ns; /* at most this, */
    double played_min_ns;   /* and this at least of what is played */
    double lifespan_s;      /* beyond this age a sample comes late */
} kf_supervision;

/* A packet of a stream. */
typedef struct {
    int64_t arrived_ns;
    int64_t newest_ns; /* aligned time of its newest sample */
    uint32_t row;      /* of its device */
    uint8_t kind;
    uint8_t rests;
} kf_heard;

/* Return the longest silence of a stream, ns. */
double kf_stream_deadline_ns(const kf_supervision *supervision, double interval_s, double speed);

/* Take in packets; returns how many streams were never heard before. */
size_t kf_streams_hear(const kf_supervision *supervision, const kf_heard *heard, size_t count);

/* Take in that something came from devices that belongs to no stream. */
void kf_streams_sign(const kf_supervision *supervision, const uint32_t *rows, const int64_t *now_ns,
                     size_t count);

/* Have the streams of devices judged at the next look. */
void kf_streams_wake(const kf_supervision *supervision, const uint32_t *rows, size_t count);

/* An IMU packet waits for its predecessor, by its arrival, for KF_ORDER_WAIT_NS, or for the longer time where
 * a recording is played, which may be at any speed. */
#define KF_ORDER_WAIT_NS 200000000
#define KF_ORDER_RECORDED_NS 10000000000
#define KF_ORDER_PACKETS 8  /* at most so many of a device wait, */
#define KF_ORDER_BYTES 2048 /* each of at most so many bytes, */
#define KF_ORDER_ALL 16384  /* and so many of all devices */
#define KF_ORDER_VAIN 8     /* waits in vain, one after the other; then a gap is a loss */
#define KF_ORDER_GAP 512    /* packets after a gap, from which on nothing is awaited of it any more */

/* An IMU packet that waits for its predecessor. */
typedef struct {
    uint32_t place; /* of its event */
    uint32_t next, seq;
    uint32_t reserved;
    int64_t until_ns; /* UTC at which it waits no more */
} kf_waiting;

/* The caller owns both arrays, of room for all events. */
typedef struct {
    uint32_t *order;     /* places of the events that go on, ordered of them */
    kf_waiting *waiting; /* what waits, in the order of arrival */
    size_t ordered, waiting_count;
} kf_ordered;

/* Bring IMU packets of each device into the order of their seq, where one came before its predecessor.
 *
 * What comes later than that, but in order, of a gap that was taken for lost, goes on beside.
 *
 * inout: links
 *        packets         their ways
 * in:    events          count, in the order of arrival; what waits since the last call stands first
 *        bytes           to which packets refer
 *        now_ns          UTC up to which waits end, beside the arrivals of events
 * out:   out             all events but those of KF_EVENT_STATUS
 * Returns 0 where all of them go on as they stand, else 1.
 */
int kf_order(kf_link *links, kf_packet *packets, const kf_event *events, size_t count, const uint8_t *bytes,
             size_t byte_count, int64_t now_ns, kf_ordered *out);

/* Copy the bytes of packets, which lie within bytes, one behind the other, and let them refer to these.
 *
 * inout: packets  count
 * in:    bytes
 * out:   kept     room for their lengths, each to the next multiple of KF_ALIGNMENT
 * Returns how many bytes that was.
 */
size_t kf_keep(const uint8_t *bytes, kf_packet *packets, size_t count, uint8_t *kept);

/* Put count items of the pool, or pages, from first on, into the list of free ones. */
void kf_schedule_free(kf_schedule *schedule, uint32_t first, uint32_t count);
void kf_kept_free(kf_schedule *schedule, uint32_t first, uint32_t count);

/* Make of the bytes of an MQTT 3.1.1 connection what stands in it, frame by frame.
 *
 * The table of topics holds the ids of devices, [A-Za-z0-9_-], 1 to KF_ID_BYTES, and their rows, in two
 * arrays that the caller owns: the ids, one behind the other, and where they stand, open addressing over a
 * power of two of places; all zeros is an empty one. An id has 76 bytes, a place 4: many of these may be
 * free. */

#define KF_ID_BYTES 64
#define KF_NO_DEVICE 0xFFFFFFFF

#define KF_FRAME_HEADER_MAX 65544  /* of a PUBLISH: five bytes, the topic with its length, the packet id */
#define KF_CONTROL_BYTES_MAX 65536 /* of any other frame, behind its length */

/* Why kf_split stopped. From KF_FRAME_BAD_TYPE on the stream is malformed: nothing behind it can be trusted.
 */
#define KF_FRAMES_DONE 0      /* all is split, but for a frame that is not whole yet */
#define KF_FRAMES_FULL 1      /* no room for the next */
#define KF_FRAMES_OVERSIZE 2  /* the next is a PUBLISH with more payload than is allowed */
#define KF_FRAME_BAD_TYPE 3   /* type 0 or 15 */
#define KF_FRAME_BAD_LENGTH 4 /* a remaining length of more than four bytes */
#define KF_FRAME_TOO_LARGE 5  /* a control frame beyond KF_CONTROL_BYTES_MAX */
#define KF_FRAME_BAD_QOS 6    /* a PUBLISH of QoS 3 */
#define KF_FRAME_BAD_TOPIC 7  /* an empty topic, or one longer than its frame */
#define KF_FRAME_BAD_ID 8     /* a PUBLISH of QoS 1 or 2 with packet id 0, or without room for one */

/* What a device's topic is of: its last level, as in prefix + id + "/hr". */
#define KF_TOPIC_OTHER 0
#define KF_TOPIC_IMU 1
#define KF_TOPIC_HR 2
#define KF_TOPIC_GNSS 3
#define KF_TOPIC_BARO 4
#define KF_TOPIC_POWER 5
#define KF_TOPIC_CADENCE 6
#define KF_TOPIC_WHEEL 7
#define KF_TOPIC_FOOT 8
#define KF_TOPICS 9

/* A PUBLISH of QoS 0 or 1. */
typedef struct {
    uint32_t topic; /* offset into the bytes */
    uint32_t topic_length;
    uint32_t payload; /* offset into the bytes */
    uint32_t payload_length;
    uint32_t
        device; /* row of the device, where kind is not OTHER and it is not retained; else KF_NO_DEVICE */
    uint16_t packet_id; /* QoS 1; else 0 */
    uint8_t flags;      /* as in the header: bit 0 retain, bits 1 and 2 QoS, bit 3 dup */
    uint8_t kind;       /* KF_TOPIC_...; OTHER where device is KF_NO_DEVICE */
} kf_publish;

/* A frame that is not ours to read. */
typedef struct {
    uint32_t offset; /* into the bytes */
    uint32_t length;
} kf_control;

/* An id in a table of topics. */
typedef struct {
    uint32_t hash;
    uint32_t device;
    uint8_t length;
    uint8_t id[64];
    uint8_t reserved[3];
} kf_topic;

typedef struct {
    kf_topic *topics;     /* room for place_count / 2 */
    uint32_t *places;     /* one more than the index of what stands there; 0: free */
    uint64_t place_count; /* 0, or a power of two from 2 to 2^31 */
    uint64_t topic_count;
    uint64_t seed; /* of the hash, random: ids come from outside */
} kf_topics;

typedef struct {
    const uint8_t *prefix; /* of the topics prefix + id + "/" + kind */
    uint64_t prefix_length;
    const kf_topics *topics; /* NULL: there are none */
    uint64_t payload_max;
} kf_rules;

typedef struct {
    uint64_t consumed;  /* bytes of the frames that were split; what stands next begins here */
    uint64_t needed;    /* its length, or the least that must be seen of it, where it is not whole */
    uint64_t oversize;  /* its whole length, where it is oversize, */
    uint32_t packet_id; /* and its id: not 0 where it wants to be acknowledged */
    uint32_t frame_count;
    uint32_t control_count;
    uint32_t reserved;
} kf_split_end;

/* Put the row of an id into a table, or change it. Returns 0; -1, having changed nothing, where the id has no
 * or too many bytes, or half of the places are taken: then it is to have more, which kf_topics_place fills.
 */
int kf_topic_put(kf_topics *table, const uint8_t *id, size_t length, uint32_t device);

/* Take an id out of a table. Returns 0; -1 where it was not in it. */
int kf_topic_remove(kf_topics *table, const uint8_t *id, size_t length);

/* Return the row of an id; KF_NO_DEVICE where the table does not hold it. */
uint32_t kf_topic_find(const kf_topics *table, const uint8_t *id, size_t length);

/* Fill places, all free, with the ids that there are. */
void kf_topics_place(kf_topics *table);

/* Split bytes of a connection into frames, as far as they are whole and there is room.
 *
 * in:  bytes     byte_count, less than 2^32, beginning with a frame
 *      rules     what is looked up, and what is too large
 * out: frames    PUBLISH frames of QoS 0 and 1, room for frame_capacity
 *      controls  all others, room for control_capacity
 *      end       how far it came
 * Returns KF_FRAMES_... or KF_FRAME_...; what stands before the fault is split in any case.
 */
uint32_t kf_split(const uint8_t *bytes, size_t byte_count, const kf_rules *rules, kf_publish *frames,
                  size_t frame_capacity, kf_control *controls, size_t control_capacity, kf_split_end *end);
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

/* Rows in two arrays: the second is of what few rows ever have, and of these alone it takes memory. */
typedef struct {
    uint8_t *rows, *seldom; /* seldom_bytes 0: there is nothing but rows */
    size_t row_bytes, seldom_bytes;
    size_t row_count;
} kf_table;

/* Run a kernel for records that each begin with their row of the table, int32, and have the time, int64, at
 * byte 8. In the order of time, each finds its row as the one before has left it.
 *
 * inout: table      a place beyond row_bytes is so far beyond in `seldom`
 * in:    records    count of record_bytes
 * work:  order      room for 3 count + 1
 *        registers  room for register_count KF_BLOCK
 * out:   told       an array of count for each output
 * Returns 0; or, having touched no row, -1 where a record is of a row that is not there.
 */
int kf_run(const kf_kernel *kernel, const kf_table *table, const uint8_t *records, size_t record_bytes,
           size_t count, uint32_t *order, kf_value *registers, kf_value *told);

/* Intervals between heart beats (RR), cleaned as they come (beats.c). */
#define KF_BEATS_AHEAD 2   /* intervals that a decision needs behind the one it is about */
#define KF_BEATS_MEDIAN 11 /* of so many, these among them */
#define KF_BEATS_WINDOW 91 /* intervals, of the thresholds */
#define KF_BEATS_PARTS 3   /* beats that one interval may stand for */
#define KF_BEATS_KINDS 5

#define KF_BEAT_NORMAL 0
#define KF_BEAT_MISSED 1
#define KF_BEAT_EXTRA 2
#define KF_BEAT_ECTOPIC 3
#define KF_BEAT_UNEVEN 4

/* The newest numbers, for half the distance between their quartiles. */
typedef struct {
    uint32_t count, oldest;
    double newest[KF_BEATS_WINDOW]; /* a ring */
    double sorted[KF_BEATS_WINDOW];
} kf_spread;

/* What is known of one sensor's intervals; all zeros: nothing. */
typedef struct {
    uint32_t count, taken, odd, timed;
    int64_t t_ns;                   /* the newest beat, by the sensor's clock, where timed */
    double rr[KF_BEATS_MEDIAN + 1]; /* ms, oldest first: clean ones, then those that wait */
    kf_spread steps, offs;          /* from one interval to the next, and from their neighbours' median */
    uint64_t found[KF_BEATS_KINDS]; /* how many intervals were made from each kind */
} kf_beats;

typedef struct {
    double ms;
    uint32_t kind;
} kf_interval;

/* The heart rate of the intervals that are certain since the last call; bpm 0: there is none. */
typedef struct {
    double bpm, sigma_bpm;
    double lag_s; /* how long before the newest beat their middle lies */
} kf_rate;

/* Take in count intervals, ms, in their order; timed: the last of their beats was at t_ns by the sensor's
 * clock. `told` gets the intervals that are certain now, oldest first, of which there are at most
 * KF_BEATS_PARTS count; NULL: they are not told. Returns how many there are. */
size_t kf_beats_take(kf_beats *beats, const double *rr_ms, size_t count, int timed, int64_t t_ns,
                     kf_interval *told, kf_rate *rate);

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
 *      lengths  of each athlete's text; 0 where a number is so large that rounding takes all of its digits,
 * or where there is no room
 */
void kf_tell(const kf_live *live, char *text, size_t room, uint32_t *lengths);

/* What a group has of a chunk. */
typedef struct {
    uint64_t start; /* offset into what is gathered */
    uint64_t length;
    uint32_t frame_count;
    uint32_t reserved;
} kf_group;

/* Sort frames by their groups: each group's stand one behind the other, whole and as they came.
 *
 * in:  bytes     byte_count, which frames were split from
 *      frames    frame_count, in the order of bytes
 *      groups    frame_count; frames whose group is group_count or more are left out
 * out: gathered  room for byte_count
 *      parts     group_count
 * Returns 0; -1, having gathered nothing, where frames do not lie in bytes one behind the other.
 */
int kf_gather(const uint8_t *bytes, size_t byte_count, const kf_publish *frames, const uint32_t *groups,
              size_t frame_count, uint8_t *gathered, kf_group *parts, size_t group_count);

/* Low-rate messages in columns (flat.c). A kind has numbers and flags by name, each of them in its range. */

#define KF_FLAT_FIELDS 8
#define KF_FLAT_BYTES_MAX 1024 /* of a message that is read here */

typedef struct {
    uint8_t name[16];
    uint8_t length;   /* of it */
    uint8_t is_flag;  /* it is true or false: 1 or 0 */
    uint8_t required; /* it must be told, and not as null */
    uint8_t above;    /* least itself is too little */
    uint8_t reserved[4];
    double least, most;
} kf_flat_field;

typedef struct {
    uint32_t count; /* 0: messages of this kind are not read here */
    uint32_t reserved;
    kf_flat_field fields[KF_FLAT_FIELDS];
} kf_flat_kind;

/* Bits of told; those of the fields follow each other. */
#define KF_FLAT_T 1
#define KF_FLAT_BOOT 2
#define KF_FLAT_SEQ 4
#define KF_FLAT_FIRST 8

typedef struct {
    int64_t t_ns; /* on the device's clock */
    uint32_t boot, seq;
    uint32_t told;
    uint32_t plain;                /* 1: all of it was read; 0: nothing here means anything */
    double values[KF_FLAT_FIELDS]; /* NaN: not told */
} kf_flat;

/* Read messages that are plain: see flat.c.
 *
 * in:  bytes   into which frames refer
 *      frames  count; of another kind, or longer than KF_FLAT_BYTES_MAX: not plain
 *      kinds   KF_TOPICS
 * out: out     count
 * Returns how many are plain.
 */
size_t kf_flat_read(const uint8_t *bytes, const kf_publish *frames, size_t count, const kf_flat_kind *kinds,
                    kf_flat *out);

/* Which low-rate messages are taken (seen.c). */

#define KF_LIMIT_LOW_NS 10000000          /* a live device's, for ever: 100 a second, */
#define KF_LIMIT_LOW_BURST_NS 10000000000 /* and after a silence so much of that at once: 1,000 */
#define KF_SEEN 128                       /* so many of a device are known again */

#define KF_ADMITTED 0
#define KF_FLOODING 1
#define KF_SEEN_BEFORE 2

typedef struct {
    uint32_t high[KF_SEEN]; /* a ring of keys, 48 bits each; 0: none */
    uint16_t low[KF_SEEN];
    uint32_t next;
} kf_seen;

/* Return 1 where a low-rate message of a device is not one too many, and take note of it. */
int kf_admits(kf_link *link, int64_t arrived_ns);

/* Return 1 where a message was seen before; else 0, and take note of it. kind tells apart what counts its own
 * seq; of the message its t_ns, boot and seq are looked at. */
int kf_saw(kf_seen *seen, uint32_t kind, const kf_flat *message);

/* Do both for messages of live devices that have a place among the seen, in the order of their arrival.
 *
 * inout: links, seen
 * in:    frames, messages, arrived_ns  count
 * out:   verdicts                      count: KF_ADMITTED, KF_FLOODING or KF_SEEN_BEFORE
 * Returns how many are refused; each is counted at its link.
 */
size_t kf_admit(kf_link *links, kf_seen *seen, const kf_publish *frames, const kf_flat *messages,
                const int64_t *arrived_ns, size_t count, uint8_t *verdicts);

/* [/cffi] */

#endif
