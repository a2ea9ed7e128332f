/* schedule.h: when an athlete's models step, and what a rewind needs. */
#ifndef KINEFUSE_SCHEDULE_H
#define KINEFUSE_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/clock.h"
#include "kinefuse/devices.h"

/* [cffi] */

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
    uint32_t beats;  /* likewise among the kf_beats; KF_NONE: it told no intervals */
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
    const kf_summary *summaries; /* in the order of their events, */
    const kf_window *windows;    /* and these in that of the summaries */
    const uint8_t *records;      /* KF_RECORD_BYTES each */
    kf_found *found;             /* room for twice all events and windows */
    size_t event_count, next_event, next_window, next_found, found_count;

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

/* Sort what items hold by its kind; those of one kind stay in their order.
 *
 * in:  items         count
 *      record_bytes  of each kind, kind_count
 * out: records       room for count * KF_RECORD_BYTES: those of each kind stand together, without room
 * between counts        of each kind
 */
void kf_items_sort(const kf_item *items, size_t count, const uint32_t *record_bytes, size_t kind_count,
                   uint8_t *records, uint32_t *counts);

/* Put count items of the pool, or pages, from first on, into the list of free ones. */
void kf_schedule_free(kf_schedule *schedule, uint32_t first, uint32_t count);
void kf_kept_free(kf_schedule *schedule, uint32_t first, uint32_t count);

/* [/cffi] */

#endif
