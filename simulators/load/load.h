/* load.h: the contract of the load generator.
 *
 * Many MQTT 3.1.1 connections from one thread, on loopback. Each message has its intended send time, on the
 * monotonic clock, fixed before the run: nothing that a receiver or this generator does moves it, so whoever
 * is late is seen to be late (no coordinated omission). What cannot be sent at its time is counted, never
 * waited for. A subscriber of its own hears athletes/+/live and takes end to end from the intended send of
 * the very packet that the update names as its cause.
 *
 * An athlete k has an inertial sensor, stream k, and a strap, stream athletes + k. Their ids are ids[k] and
 * so on: "a00017-imu", "a00017-strap" of athlete "a00017".
 *
 * The caller owns all memory: it makes the arrays, fills what is marked "in", and reads what is marked "out"
 * whenever no call is running. Times are int64 nanoseconds, monotonic unless their name says otherwise.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] the build reads from here to the closing mark; only declarations and plain numbers stand here */

#define LD_BUCKETS 1088      /* of a histogram: 32 in each octave of nanoseconds, as in server/deadlines.py */
#define LD_BIN_NS 1000000000 /* figures are kept for each second of the run */
#define LD_OUT_BYTES 8192    /* that may wait for a slow socket, for each connection */
#define LD_FRAME_BYTES 4096  /* the longest frame that is sent */
#define LD_SAMPLES_MAX 200   /* in a packet */
#define LD_COLUMNS 9         /* of a sample */
#define LD_NO_STREAM 4294967295 /* a connection that carries no second stream */

/* Kinds of stream. */
#define LD_IMU 0
#define LD_HR 1

/* States of a connection. */
#define LD_DOWN 0
#define LD_CONNECTING 1 /* TCP is on its way */
#define LD_GREETING 2   /* CONNECT is sent */
#define LD_SUBSCRIBING 3
#define LD_UP 4

/* What one device sends on one topic. Message seq is due (seq - first) * period_ns / (1 + skew) after the
 * origin.
 */
typedef struct {
    int64_t origin_ns;  /* in: intended send of message `first` */
    int64_t device_ns;  /* in: the device's clock then; what is added later is a step of the clock */
    int64_t period_ns;  /* in: from message to message, on the device's clock */
    double skew;        /* in: what the clock gains, as a share */
    uint32_t link;      /* in */
    uint32_t kind;      /* in */
    uint32_t boot;      /* in */
    uint32_t seq;       /* in, out: of the next message */
    uint32_t first;     /* in: where the schedule begins; what came before cannot be attributed any more */
    uint32_t recording; /* in: which of the recordings it plays, */
    uint32_t at;        /* in, out: from which sample or reading on */
    uint32_t apart;     /* in: not 0: its athlete's updates stay out of the figures */
    char id[16];        /* in */
} ld_stream;

/* What is due next of a stream; the heap's element. */
typedef struct {
    int64_t due_ns;
    uint32_t stream;
    uint32_t reserved;
} ld_due;

/* A connection. */
typedef struct {
    int64_t retry_ns;   /* not before */
    int32_t fd;         /* -1: none */
    uint32_t state;     /* out */
    uint32_t stream[2]; /* in */
    uint32_t pending;   /* bytes in its part of out */
    uint32_t unacked;   /* out: QoS 1 that the broker has not confirmed */
    uint16_t packet_id;
    uint8_t in_used;
    uint8_t in[9]; /* a frame from the broker that has not come whole */
    uint32_t reserved;
} ld_link;

/* One second's heart rate of a recording: the members of its JSON object, and how old its last beat is. */
typedef struct {
    int64_t back_ns;
    uint32_t length;
    char text[116];
} ld_reading;

/* What was heard of an athlete. */
typedef struct {
    int64_t last_ms; /* due time of the newest update, UTC */
    uint64_t heard;
} ld_athlete;

/* One second of the run. Sends, lateness and end to end are counted where the message was intended; updates
 * heard where they were due. */
typedef struct {
    uint32_t end_to_end[LD_BUCKETS];
    uint32_t late[LD_BUCKETS];
    int64_t end_to_end_max_ns;
    int64_t late_max_ns;
    uint32_t sent;
    uint32_t unsent;     /* due while there was no connection, or while its buffer was full */
    uint32_t malformed;  /* of those sent */
    uint32_t duplicated; /* sent once more */
    uint32_t heard;      /* updates, each once */
    uint32_t uncaused;   /* of them without a cause: fired by time */
    uint32_t doubled;    /* updates that came again, or in the wrong order */
    uint32_t apart;      /* heard of those who stay out of the figures; not in heard */
} ld_bin;

typedef struct {
    /* in */
    char root[132];
    uint32_t port;
    uint32_t qos;
    uint32_t athletes;
    uint32_t link_count;
    uint32_t packet_samples;
    uint32_t recording_samples;  /* of each recording */
    uint32_t recording_readings; /* of each recording */
    uint32_t bin_count;
    uint32_t malformed;  /* this share of 2^32 of the messages is made wrong */
    uint32_t duplicated; /* and this share sent twice */
    uint32_t inbox_bytes;
    int64_t utc_ns;          /* UTC minus monotonic */
    int64_t begin_ns;        /* of the first bin */
    const char *birth[2];    /* members of a birth message's JSON object, by kind; zero-terminated */
    const uint8_t *header;   /* 40 bytes of an IMU packet */
    const int16_t *motion;   /* recordings x recording_samples x LD_COLUMNS */
    const ld_reading *pulse; /* recordings x recording_readings */
    ld_stream *streams;      /* 2 x athletes */
    ld_link *links;          /* link_count, and one more: the subscriber */
    ld_due *heap;            /* 2 x athletes */
    ld_athlete *heard;       /* athletes */
    ld_bin *bins;            /* bin_count */
    uint8_t *out;            /* (link_count + 1) x LD_OUT_BYTES */
    uint8_t *inbox;          /* inbox_bytes, of the subscriber */
    /* out */
    uint32_t heap_count;
    uint32_t up; /* connections that stand, without the subscriber */
    uint32_t opening;
    uint32_t losses; /* connections that broke */
    uint64_t stray;  /* updates that name a cause we never sent, or that cannot be read */
    uint64_t acked;
    uint64_t unacked_lost; /* QoS 1 not confirmed when its connection broke */
    uint64_t cpu_ns;       /* of the thread inside ld_run */
    /* inner */
    int32_t epoll;
    uint32_t cursor;
    uint32_t down;
    uint32_t inbox_used;
    uint64_t random;
} ld_load;

/* Monotonic time now. */
int64_t ld_now(void);

/* Prepare: all connections are to be made, and nothing is sent. Returns 0, or an errno. */
int ld_open(ld_load *load);

/* Put all streams on the schedule, from their next message on; again after a change of period_ns. */
void ld_schedule(ld_load *load);

/* Work until a time: connect, send what is due, hear. Returns 0, or an errno. */
int ld_run(ld_load *load, int64_t until_ns);

/* Say goodbye on every connection, and close all. */
void ld_close(ld_load *load);

/* Write the next message of a stream as a PUBLISH frame of at most LD_FRAME_BYTES; return its length.
 * Nothing is sent; the stream moves on. */
size_t ld_make(ld_load *load, uint32_t stream, uint8_t *frame);

/* When a message of a stream is due. */
int64_t ld_intended(const ld_stream *stream, uint32_t seq);

/* Take note of an update that was received. */
void ld_hear(ld_load *load, const uint8_t *topic, size_t topic_length, const uint8_t *payload, size_t length,
             int64_t received_ns);

/* [/cffi] */

#endif
