/* live.h: metrics as text. */
#ifndef KINEFUSE_LIVE_H
#define KINEFUSE_LIVE_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

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

/* [/cffi] */

#endif
