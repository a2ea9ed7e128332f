/* streams.h: what each device sends, and how long it may be silent. */
#ifndef KINEFUSE_STREAMS_H
#define KINEFUSE_STREAMS_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/clock.h"
#include "kinefuse/devices.h"
#include "kinefuse/schedule.h"

/* [cffi] */

/* Streams: what each device sends of one kind, and how long it may be silent (server/deadlines/streams.py).
 */
#define KF_STREAM_ALIVE 0
#define KF_STREAM_DEAD 5
#define KF_STREAM_UNHEARD 255
#define KF_NO_COLUMN 255

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
    const float *first_s;   /* the interval that is believed at first, of each column */
    const uint8_t *columns; /* of each kind; KF_NO_COLUMN: none */
    uint32_t kinds;         /* that have a column */
    uint32_t motion;        /* the kind of IMU packets */
    int64_t burst_ns;       /* what follows so soon is of one burst */
    double rise, fall;      /* how fast the usual interval follows longer and shorter ones */
    double intervals;       /* a deadline holds so many, */
    double silence_ns;      /* at least this, */
    double deadline_max_ns; /* at most this, */
    double played_min_ns;   /* and this at least of what is played */
    double lifespan_s;      /* beyond this age a sample comes late */
} kf_supervision;

/* Return the longest silence of a stream, ns. */
double kf_stream_deadline_ns(const kf_supervision *supervision, double interval_s, double speed);

/* Take in events from begin on. stream of a sample is twice its kind from 1 on, and 1 more where its value is
 * one after which the device may be quiet; 0: it belongs to no stream.
 *
 * in:  clocks     of the devices, which have observed the events
 *      events     count
 *      summaries  of their IMU packets
 * out: begun      how many streams were never heard before
 * Returns count; or less, the place of an event whose kind has no column: give it one, and go on from there.
 */
size_t kf_streams_take(const kf_supervision *supervision, const kf_clock *clocks, const kf_event *events,
                       size_t begin, size_t count, const kf_summary *summaries, size_t *begun);

/* Take in that something came from devices that belongs to no stream. */
void kf_streams_sign(const kf_supervision *supervision, const uint32_t *rows, const int64_t *now_ns,
                     size_t count);

/* Have the streams of devices judged at the next look. */
void kf_streams_wake(const kf_supervision *supervision, const uint32_t *rows, size_t count);

/* [/cffi] */

#endif
