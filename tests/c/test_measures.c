/* test_measures.c: a message measures what it tells; one that says that it holds nothing measures nothing. */
#include "claims.h"

static kf_flat heart(double bpm, double contact, double optical)
{
    return (kf_flat){.values = {bpm, contact, optical}};
}

static uint32_t measure(kf_beats *beats, uint32_t rank, const kf_flat *message, const double *rr_ms,
                        size_t count, kf_record *record)
{
    const kf_link link = {.athlete = 5, .number = 7, .rank = rank};

    memset(record, 0xFF, sizeof *record);
    const uint32_t kind = kf_measure(beats, &link, KF_TOPIC_HR, message, rr_ms, count, record);
    HOLDS(record->any.row == 5 && record->any.device == 7 && record->any.t_ns == 0);
    return kind;
}

static void a_heart_rate_is_as_good_as_its_sensor(void)
{
    const kf_flat told = heart(60, NAN, NAN), light = heart(60, 1, 1), strap = heart(60, 1, 0);
    kf_record record;

    HOLDS(measure(NULL, 0, &told, NULL, 0, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.source == KF_SOURCE_STRAP && record.heart_rate.sigma_bpm == 1);
    HOLDS(record.heart_rate.bpm == 60 && isnan(record.heart_rate.lag_s));
    HOLDS(measure(NULL, KF_RANK_WRIST, &told, NULL, 0, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.source == KF_SOURCE_OPTICAL && record.heart_rate.sigma_bpm == 3);
    HOLDS(measure(NULL, 0, &light, NULL, 0, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.source == KF_SOURCE_OPTICAL);
    HOLDS(measure(NULL, KF_RANK_WRIST, &strap, NULL, 0, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.source == KF_SOURCE_STRAP);
}

static void intervals_tell_the_rate_once_they_are_certain(void)
{
    static const double RR_MS[] = {500, 500, 500, 500};
    const kf_flat told = heart(70, NAN, NAN), untold = heart(NAN, NAN, NAN);
    kf_beats beats = {0};
    kf_record record;

    HOLDS(measure(&beats, 0, &told, RR_MS, 1, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.bpm == 70);
    HOLDS(measure(&beats, 0, &untold, RR_MS, 1, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.bpm == 120 && isnan(record.heart_rate.lag_s)); /* their mean, as they came */
    HOLDS(measure(&beats, 0, &told, RR_MS, 4, &record) == KF_KIND_HEART_RATE);
    HOLDS(record.heart_rate.bpm == 120 && record.heart_rate.lag_s == 2);
    HOLDS(beats.count == 6 && beats.found[KF_BEAT_NORMAL] == 4);
}

static void what_holds_nothing_is_no_measurement(void)
{
    static const double RR_MS[] = {500};
    const kf_flat loose = heart(60, 0, NAN), still = heart(0, 1, NAN), untold = heart(NAN, NAN, NAN);
    kf_beats beats = {0};
    kf_record record;

    HOLDS(measure(&beats, 0, &loose, RR_MS, 1, &record) == KF_NONE && beats.count == 0);
    HOLDS(measure(NULL, 0, &still, NULL, 0, &record) == KF_NONE);
    HOLDS(measure(NULL, 0, &untold, NULL, 0, &record) == KF_NONE);
}

int main(void)
{
    CLAIM(a_heart_rate_is_as_good_as_its_sensor);
    CLAIM(intervals_tell_the_rate_once_they_are_certain);
    CLAIM(what_holds_nothing_is_no_measurement);
    return 0;
}
