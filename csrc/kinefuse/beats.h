/* beats.h: RR intervals. */
#ifndef KINEFUSE_BEATS_H
#define KINEFUSE_BEATS_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

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
    double newest[KF_BEATS_WINDOW];  /* a ring */
    uint8_t rising[KF_BEATS_WINDOW]; /* where in it they stand, from the least to the greatest */
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

/* [/cffi] */

#endif
