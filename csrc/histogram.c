/* histogram.c: times into log-linear histograms: how long a stage took, and how often too long.
 *
 * The first 2^KF_SUBDIVISION buckets are 1 ns wide; from there on each octave has as many, of equal width. So
 * a bucket is at most 1/32 of its times wide.
 */
#include "internal.h"

_Static_assert(KF_BUCKETS % (1 << KF_SUBDIVISION) == 0, "the last octave is whole");

/* The place of the highest bit that is set in x, which is not 0. */
static uint32_t highest_bit(uint64_t x)
{
    return 63U - (uint32_t)__builtin_clzll(x);
}

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < 2U << KF_SUBDIVISION)
        return (uint32_t)ns;
    const uint32_t shift = highest_bit(ns) - KF_SUBDIVISION;
    const uint64_t bucket = ((uint64_t)shift << KF_SUBDIVISION) + (ns >> shift);

    return bucket < KF_BUCKETS ? (uint32_t)bucket : KF_BUCKETS - 1;
}

uint32_t kf_bucket(int64_t ns)
{
    return bucket_of(ns > 0 ? (uint64_t)ns : 0);
}

size_t kf_observe(kf_histogram *histogram, const int64_t *times_ns, size_t count)
{
    const int64_t budget_ns = histogram->budget_ns;
    int64_t max_ns = histogram->max_ns;
    double sum_s = histogram->sum_s;
    size_t misses = 0;

    for (size_t i = 0; i < count; i++) {
        const int64_t ns = times_ns[i] > 0 ? times_ns[i] : 0;

        histogram->counts[bucket_of((uint64_t)ns)]++;
        sum_s += (double)ns * 1e-9;
        max_ns = ns > max_ns ? ns : max_ns;
        misses += ns > budget_ns;
    }
    histogram->max_ns = max_ns;
    histogram->sum_s = sum_s;
    histogram->misses += misses;
    return misses;
}

int kf_observe_one(kf_histogram *histogram, int64_t ns)
{
    return kf_observe(histogram, &ns, 1) != 0;
}
