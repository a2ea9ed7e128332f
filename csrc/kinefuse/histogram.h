/* histogram.h: times of stages. */
#ifndef KINEFUSE_HISTOGRAM_H
#define KINEFUSE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

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

/* [/cffi] */

#endif
