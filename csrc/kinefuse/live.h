/* live.h: live updates as text. */
#ifndef KINEFUSE_LIVE_H
#define KINEFUSE_LIVE_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/frames.h"
#include "kinefuse/kernel.h"
#include "kinefuse/schedule.h"

/* [cffi] */

/* A piece of text, without a mark at its end. */
typedef struct {
    const char *bytes;
    size_t length;
} kf_text;

/* Where an athlete's workout stands. Its id is the athlete's, a hyphen and id_ms. */
typedef struct {
    int64_t id_ms;
    double elapsed_s, moving_s; /* of one that has ended */
    uint32_t revision;
    uint8_t state; /* KF_NO_WORKOUT: there never was one; else of kf_live's states */
    uint8_t sport;
} kf_workout;

#define KF_NO_WORKOUT 0
#define KF_WORKOUT_ENDED 1

/* What live updates of a step are written of. Ids are of KF_ID_BYTES, shorter ones with zeros behind. */
typedef struct {
    size_t metric_count, job_count;
    const kf_value *told; /* job_count for each: values, sigmas, qualities, times, sources and reasons of all
                           * metrics (a reason that is not 0: there is no value); elapsed_s and moving_s */
    const kf_job *jobs;
    const char *athletes, *devices; /* the id of each row */
    const kf_workout *workouts;     /* of each athlete */
    const uint8_t *decimals;        /* of each metric's value; 0: it is told as a whole number */
    const kf_text *opening;         /* of each metric: what stands before its value */
    const kf_text *sources;         /* of each source: what stands between age and quality */
    const kf_text *reasons;         /* of each reason: what stands instead of a value, to the metric's end */
    const kf_text *states, *sports; /* their names */
    kf_text closing;                /* what stands behind the metrics */
} kf_live;

/* Decimals of what is told of each metric beside its value. */
#define KF_SIGMA_DECIMALS 4
#define KF_AGE_DECIMALS 3
#define KF_QUALITY_DECIMALS 3
#define KF_TOTAL_DECIMALS 3 /* of a workout's times */

/* Write the live updates of jobs as JSON, one behind the other.
 *
 * in:  places  count, which jobs
 * out: text    count of room
 *      ends    count, where each ends; where the one before does, if a number is so large that rounding takes
 *              all of its digits, or where there is no room
 */
void kf_tell(const kf_live *live, const uint32_t *places, size_t count, char *text, size_t room,
             uint64_t *ends);

/* [/cffi] */

#endif
