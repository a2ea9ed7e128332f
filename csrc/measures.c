/* measures.c: low-rate messages to measurements.
 *
 * Readings that say of themselves that they hold nothing (a strap without contact, a heart rate of 0) give no
 * measurement: a model that hears nothing widens its sigma, which is the truth.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

#define STRAP_SIGMA_BPM 1.0 /* a strap counts R peaks and rounds to 1 bpm */
#define OPTICAL_SIGMA_BPM                                                                                    \
    3.0 /* wrist PPG in motion, Gillinov et al. 2017, doi:10.1249/MSS.0000000000001284 */

#define TOLD(kind, message)                                                                                  \
    kind told;                                                                                               \
    _Static_assert(sizeof told <= sizeof(message)->values, "so many values there are");                      \
    memcpy(&told, (message)->values, sizeof told)

static bool touches(const kf_flat *message)
{
    TOLD(kf_told_hr, message);

    return told.contact != 0; /* not told: it does */
}

static bool is_optical(const kf_told_hr *told, const kf_link *link)
{
    return isnan(told->optical) ? link->rank == KF_RANK_WRIST : told->optical != 0;
}

/* The rate of the intervals that are certain now; of a sensor that tells none, the rate it tells. */
static uint32_t heart_rate(kf_beats *beats, const kf_link *link, const kf_flat *message, const double *rr_ms,
                           size_t count, kf_measured_heart_rate *out)
{
    TOLD(kf_told_hr, message);
    const bool optical = is_optical(&told, link);
    kf_rate rate = {0};
    double sum_ms = 0;

    if (!touches(message))
        return KF_NONE;
    out->bpm = told.bpm;
    out->sigma_bpm = optical ? OPTICAL_SIGMA_BPM : STRAP_SIGMA_BPM;
    out->source = optical ? KF_SOURCE_OPTICAL : KF_SOURCE_STRAP;
    out->lag_s = NAN;
    if (count)
        kf_beats_take(beats, rr_ms, count, (message->told & KF_FLAT_T) != 0, message->t_ns, NULL, &rate);
    if (rate.bpm > 0) {
        out->bpm = rate.bpm;
        out->sigma_bpm = optical ? fmax(rate.sigma_bpm, OPTICAL_SIGMA_BPM) : rate.sigma_bpm;
        out->lag_s = rate.lag_s;
    } else if (count && !(told.bpm > 0)) {
        for (size_t i = 0; i < count; i++)
            sum_ms += rr_ms[i];
        out->bpm = 60e3 * (double)count / sum_ms;
    }
    return out->bpm > 0 ? KF_KIND_HEART_RATE : KF_NONE;
}

static uint32_t fix(const kf_flat *message, kf_measured_gnss *out)
{
    TOLD(kf_told_gnss, message);

    out->lat_deg = told.lat;
    out->lon_deg = told.lon;
    out->alt_m = told.alt_m;
    out->speed_mps = told.speed_mps;
    out->course_rad = told.course_deg * (KF_PI / 180);
    out->h_acc_m = told.h_acc_m;
    out->v_acc_m = told.v_acc_m;
    out->speed_acc_mps = told.speed_acc_mps;
    return KF_KIND_GNSS;
}

static uint32_t pressure(const kf_flat *message, kf_measured_baro *out)
{
    TOLD(kf_told_baro, message);

    out->pressure_pa = told.pressure_pa;
    return KF_KIND_BARO;
}

static uint32_t power(const kf_flat *message, kf_measured_power *out)
{
    TOLD(kf_told_power, message);

    out->watts = told.watts;
    return KF_KIND_POWER;
}

static uint32_t cadence(const kf_flat *message, kf_measured_cadence *out)
{
    TOLD(kf_told_cadence, message);

    out->rpm = told.rpm;
    out->spm = told.spm;
    return KF_KIND_CADENCE;
}

static uint32_t speed(const kf_flat *message, int32_t source, kf_measured_speed *out)
{
    TOLD(kf_told_speed, message);

    out->speed_mps = told.speed_mps;
    out->source = source;
    return KF_KIND_SPEED;
}

uint32_t kf_measure(kf_beats *beats, const kf_link *link, uint32_t kind, const kf_flat *message,
                    const double *list_ms, size_t list_count, kf_record *record)
{
    memset(record, 0, sizeof *record);
    record->any.row = (int32_t)link->athlete;
    record->any.device = (int32_t)link->number;
    switch (kind) {
    case KF_TOPIC_HR:
        return heart_rate(beats, link, message, list_ms, list_count, &record->heart_rate);
    case KF_TOPIC_GNSS:
        return fix(message, &record->gnss);
    case KF_TOPIC_BARO:
        return pressure(message, &record->baro);
    case KF_TOPIC_POWER:
        return power(message, &record->power);
    case KF_TOPIC_CADENCE:
        return cadence(message, &record->cadence);
    case KF_TOPIC_WHEEL:
        return speed(message, KF_SOURCE_WHEEL, &record->speed);
    case KF_TOPIC_FOOT:
        return speed(message, KF_SOURCE_FOOT, &record->speed);
    default:
        return KF_NONE;
    }
}

/* Whether a device that sends on change only may be quiet after this message. */
bool kf_may_rest(uint32_t kind, const kf_flat *message)
{
    TOLD(kf_told_cadence, message); /* the two that any rate is told by */

    switch (kind) {
    case KF_TOPIC_HR:
        return !touches(message) || (!(message->values[0] > 0) && message->list_count == 0);
    case KF_TOPIC_POWER:
    case KF_TOPIC_WHEEL:
    case KF_TOPIC_FOOT:
        return message->values[0] == 0;
    case KF_TOPIC_CADENCE:
        return !(told.rpm > 0) && !(told.spm > 0);
    default:
        return false;
    }
}
