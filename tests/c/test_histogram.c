/* The histogram of times: every bucket's edges, the counts, the misses, what is beyond the range. */
#include "claims.h"

/* The longest time of a bucket: the next one's shortest, less one. */
static int64_t highest_in(uint32_t bucket)
{
    const uint32_t subdivisions = 1U << KF_SUBDIVISION;
    const uint32_t octave = bucket / subdivisions;

    if (octave < 2)
        return bucket;
    const uint32_t shift = octave - 1;

    return (((int64_t)(bucket - shift * subdivisions) + 1) << shift) - 1;
}

static void each_bucket_begins_where_the_one_before_ends(void)
{
    for (uint32_t bucket = 0; bucket + 1 < KF_BUCKETS; bucket++) {
        HOLDS(kf_bucket(highest_in(bucket)) == bucket);
        HOLDS(kf_bucket(highest_in(bucket) + 1) == bucket + 1);
    }
}

static void a_bucket_is_at_most_a_32nd_wide(void)
{
    uint64_t seed = 1;

    for (int i = 0; i < 100000; i++) {
        const int64_t ns = (int64_t)(chance(&seed) >> (26 + chance(&seed) % 38));
        const int64_t high = highest_in(kf_bucket(ns));

        HOLDS(ns <= high && (high - ns) * 32 <= ns);
    }
}

static void what_is_beyond_the_range_is_counted_at_its_ends(void)
{
    HOLDS(kf_bucket(-1) == 0);
    HOLDS(kf_bucket(INT64_MIN) == 0);
    HOLDS(kf_bucket(INT64_MAX) == KF_BUCKETS - 1);
    HOLDS(kf_bucket((int64_t)1 << 38) == KF_BUCKETS - 1);
}

static void counts_misses_and_the_longest_are_those_of_the_times(void)
{
    kf_histogram *h = calloc(1, sizeof *h);
    const int64_t times_ns[] = {-5, 0, 7, 100, 101, INT64_MAX};
    int64_t total = 0;

    HOLDS(h != NULL);
    h->budget_ns = 100;
    h->max_ns = -1;
    HOLDS(kf_observe(h, times_ns, 0) == 0 && h->max_ns == -1);
    HOLDS(kf_observe(h, times_ns, 5) == 1);
    HOLDS(h->max_ns == 101 && h->misses == 1 && h->counts[0] == 2 && h->counts[7] == 1);
    HOLDS(fabs(h->sum_s - 208e-9) < 1e-15);
    HOLDS(kf_observe(h, times_ns, 6) == 2);
    HOLDS(h->max_ns == INT64_MAX && h->misses == 3);
    for (size_t i = 0; i < KF_BUCKETS; i++)
        total += h->counts[i];
    HOLDS(total == 11);
    HOLDS(kf_observe_one(h, 100) == 0 && kf_observe_one(h, 102) == 1);
    HOLDS(h->misses == 4 && h->counts[kf_bucket(102)] == 1);
    free(h);
}

int main(void)
{
    CLAIM(each_bucket_begins_where_the_one_before_ends);
    CLAIM(a_bucket_is_at_most_a_32nd_wide);
    CLAIM(what_is_beyond_the_range_is_counted_at_its_ends);
    CLAIM(counts_misses_and_the_longest_are_those_of_the_times);
    return 0;
}
