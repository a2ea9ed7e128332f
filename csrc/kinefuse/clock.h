/* clock.h: device time to aligned time. */
#ifndef KINEFUSE_CLOCK_H
#define KINEFUSE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

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

/* [/cffi] */

#endif
