/* health.h: of which devices there is news, and how they are, as text. */
#ifndef KINEFUSE_HEALTH_H
#define KINEFUSE_HEALTH_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/clock.h"
#include "kinefuse/live.h"
#include "kinefuse/schedule.h"
#include "kinefuse/streams.h"

/* [cffi] */

/* Health of devices (server/health.py says when it is told). */
#define KF_HEALTH_NS 10000000000   /* a device is told of once in so long, while it sends; */
#define KF_OFFLINE_NS 10000000000  /* who is silent for longer is not online */
#define KF_HEALTH_TURNS 200        /* devices begin their periods in so many turns */
#define KF_HEALTH_BYTES 768        /* of a device's text beside what the caller knows of it, at most, */
#define KF_HEALTH_STREAM_BYTES 128 /* and beside its streams */

/* What a device's clock counts from, by how far it is from UTC: for people, nothing depends on it. */
#define KF_COUNTS_UTC 0
#define KF_COUNTS_LOCAL 1
#define KF_COUNTS_UPTIME 2
#define KF_COUNTS_GPS 3
#define KF_COUNTS_1900 4
#define KF_COUNTS_1989 5
#define KF_COUNTS_2000 6
#define KF_COUNTS_2001 7
#define KF_COUNTS_UNKNOWN 8

/* When a device was told of last, and what. */
typedef struct {
    int64_t t_ns;
    uint64_t refused;
    uint8_t online;
} kf_told;

/* The tables, a row each device, and names. */
typedef struct {
    const kf_link *links;
    const kf_clock *clocks;
    const kf_supervision *streams;
    kf_told *told;
    const kf_text *stream_kinds;  /* of each column of the streams */
    const kf_text *stream_states; /* of each KF_STREAM_... */
    const kf_text *clock_kinds;   /* of each KF_COUNTS_... */
} kf_health;

/* Return what a clock seems to count from.
 *
 * offset_ns: aligned minus device time; device_ns: the device's clock
 */
int kf_clock_counts(int64_t offset_ns, int64_t device_ns);

/* Find the devices of which there is something to tell, and which were not told of in the newest `every` of
 * their periods: something came since, or was refused, or one has gone.
 *
 * out: rows  room for count; rising
 * Returns how many there are.
 */
size_t kf_health_news(const kf_health *health, size_t count, int64_t utc_ns, int64_t every, uint32_t *rows);

/* Write how devices are, as JSON, one behind the other, and take note that it was told.
 *
 * in:  rows   count
 *      given  of each device three JSON objects, one behind the other: who it is; what was refused and its
 *             battery; its intervals
 *      ends   where each of these ends, 3 * count
 * out: text   room for given, KF_HEALTH_BYTES and KF_HEALTH_STREAM_BYTES for each column, of each device
 *      told   where each text ends, count
 */
void kf_health_tell(const kf_health *health, const uint32_t *rows, size_t count, int64_t utc_ns,
                    const char *given, const uint32_t *ends, char *text, size_t room, uint64_t *told);

/* [/cffi] */

#endif
