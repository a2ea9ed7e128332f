/* health.c: of which devices there is news, and how they are, as text. */
#include "pen.h"

#include <stdio.h>

#define S_NS 1000000000LL
#define MS_NS 1000000LL
#define TURN_NS (KF_HEALTH_NS / KF_HEALTH_TURNS)

static const int64_t TOLERANCE_NS = 120 * S_NS;     /* by which a clock that somebody set is off */
static const int64_t QUARTER_NS = 900 * S_NS;       /* time zones are whole quarters of an hour from UTC, */
static const int64_t WEST_NS = -12LL * 3600 * S_NS; /* from here */
static const int64_t EAST_NS = 14LL * 3600 * S_NS;  /* to there */
static const int64_t UPTIME_NS =
    5LL * 365 * 86400 * S_NS; /* no worn device runs for longer without a start */

__extension__ typedef __int128 wide;

/* UTC at which clocks begin, in the order in which they are tried. */
static const struct {
    int counts;
    int64_t begin_ns;
} EPOCHS[] = {
    {KF_COUNTS_UTC, 0},
    {KF_COUNTS_GPS, (315964800 - 18) * S_NS}, /* it counts leap seconds, of which there were 18 by 2017 */
    {KF_COUNTS_1900, -2208988800 * S_NS},     /* NTP */
    {KF_COUNTS_1989, 631065600 * S_NS},       /* FIT */
    {KF_COUNTS_2000, 946684800 * S_NS},       /* Polar, Bluetooth's own */
    {KF_COUNTS_2001, 978307200 * S_NS},       /* Apple */
};
#define EPOCH_COUNT (sizeof EPOCHS / sizeof EPOCHS[0])

/* Whether a clock that is so far ahead may show the time of a zone. */
static bool is_zone(wide ahead_ns)
{
    if (ahead_ns < WEST_NS - TOLERANCE_NS || ahead_ns > EAST_NS + TOLERANCE_NS)
        return false;
    const int64_t from_ns = (int64_t)ahead_ns + QUARTER_NS / 2, rest_ns = from_ns % QUARTER_NS;
    const int64_t off_ns = (rest_ns < 0 ? rest_ns + QUARTER_NS : rest_ns) - QUARTER_NS / 2;
    return -TOLERANCE_NS <= off_ns && off_ns <= TOLERANCE_NS;
}

int kf_clock_counts(int64_t offset_ns, int64_t device_ns)
{
    for (size_t i = 0; i < EPOCH_COUNT; i++) {
        const wide off_ns = (wide)offset_ns - EPOCHS[i].begin_ns;
        if (-TOLERANCE_NS <= off_ns && off_ns <= TOLERANCE_NS)
            return EPOCHS[i].counts;
    }
    for (size_t i = 0; i < EPOCH_COUNT; i++) {
        const int counts = EPOCHS[i].counts;
        if (counts != KF_COUNTS_GPS && is_zone((wide)EPOCHS[i].begin_ns - offset_ns))
            return counts == KF_COUNTS_UTC ? KF_COUNTS_LOCAL : counts;
    }
    return 0 <= device_ns && device_ns < UPTIME_NS ? KF_COUNTS_UPTIME : KF_COUNTS_UNKNOWN;
}

static bool is_online(const kf_health *h, uint32_t row, int64_t utc_ns)
{
    const kf_link *link = &h->links[row];

    return link->flags & KF_LINK_ONLINE && utc_ns - link->arrived_ns <= KF_OFFLINE_NS &&
           !h->streams->devices[row].dead;
}

size_t kf_health_news(const kf_health *h, size_t count, int64_t utc_ns, int64_t every, uint32_t *rows)
{
    const int64_t period = utc_ns / KF_HEALTH_NS, into_ns = utc_ns % KF_HEALTH_NS;
    size_t found = 0;

    for (uint32_t row = 0; row < count; row++) {
        const kf_told *told = &h->told[row];
        const int64_t early_ns =
            row % KF_HEALTH_TURNS * TURN_NS; /* by which its periods begin before others' */
        const int64_t begun = period + (into_ns + early_ns >= KF_HEALTH_NS);
        if (told->t_ns + early_ns >= (begun - every + 1) * KF_HEALTH_NS)
            continue;
        const kf_link *link = &h->links[row];
        if (link->arrived_ns > told->t_ns || link->refused != told->refused ||
            (told->online && !is_online(h, row, utc_ns)))
            rows[found++] = row;
    }
    return found;
}

/* A number that may be of any size: one beyond all decimals is told in 17 digits. */
static void write_rounded(pen *p, double value, unsigned decimals)
{
    char digits[NUMBER_MAX + 8];

    if (fabs(value * POWERS[decimals]) < 9e15) {
        write_number(p, value, decimals, 0);
    } else if (isfinite(value)) {
        write_text(p, digits, (size_t)snprintf(digits, sizeof digits, "%.17g", value));
    } else {
        WRITE(p, "null");
    }
}

static void write_bool(pen *p, bool value)
{
    write_text(p, value ? "true" : "false", value ? 4 : 5);
}

/* How a clock is, null where it told no time. */
static void write_clock(pen *p, const kf_health *h, const kf_clock *clock, bool is_recorded)
{
    const double sigma_ns = kf_clock_sigma_ns(clock);
    const bool is_live = clock->phase == KF_CLOCK_LIVE;
    const int64_t newest_ns = clock->newest_ns;
    const int64_t offset_ns = is_live ? kf_clock_align(clock, newest_ns) - newest_ns : 0;

    if (!isfinite(sigma_ns)) {
        WRITE(p, "null");
        return;
    }
    WRITE(p, "{\"offset_ms\":");
    write_rounded(p, (double)offset_ns * 1e-6, 3);
    WRITE(p, ",\"sigma_ms\":");
    write_rounded(p, sigma_ns * 1e-6, 3);
    WRITE(p, ",\"skew_ppm\":");
    write_rounded(p, is_live ? clock->skew * 1e6 : 0, 2);
    WRITE(p, ",\"jumps\":");
    write_integer(p, clock->jumps);
    WRITE(p, ",\"wraps\":");
    write_integer(p, clock->wraps);
    WRITE(p, ",\"kind\":\"");
    write_piece(p, &h->clock_kinds[kf_clock_counts(offset_ns, newest_ns)]);
    WRITE(p, "\",\"round_trip_ms\":");
    if (clock->trip_ns)
        write_rounded(p, (double)clock->trip_ns * 1e-6, 3);
    else
        WRITE(p, "null");
    WRITE(p, ",\"recorded\":");
    write_bool(p, is_recorded);
    WRITE(p, "}");
}

static void write_streams(pen *p, const kf_health *h, uint32_t row, int64_t utc_ns)
{
    const kf_supervision *s = h->streams;
    const double speed = (double)s->devices[row].speed;
    bool first = true;

    WRITE(p, "{");
    for (uint32_t kind = 0; kind < s->kinds; kind++) {
        const kf_supervised_stream *stream = &s->streams[(size_t)row * s->kinds + kind];
        if (stream->state == KF_STREAM_UNHEARD)
            continue;
        const int64_t silent_ns = utc_ns > stream->heard_ns ? utc_ns - stream->heard_ns : 0;
        const int64_t deadline_ns = (int64_t)kf_stream_deadline_ns(s, (double)stream->interval_s, speed);
        write_text(p, first ? "\"" : ",\"", first ? 1 : 2);
        write_piece(p, &h->stream_kinds[kind]);
        WRITE(p, "\":{\"state\":\"");
        write_piece(p, &h->stream_states[stream->state]);
        WRITE(p, "\",\"silent_s\":");
        write_rounded(p, (double)silent_ns * 1e-9, 1);
        WRITE(p, ",\"deadline_s\":");
        write_rounded(p, (double)deadline_ns * 1e-9, 1);
        WRITE(p, "}");
        first = false;
    }
    WRITE(p, "}");
}

/* What stands within an object, from begin to end. */
static void write_within(pen *p, const char *given, uint32_t begin, uint32_t end)
{
    write_text(p, given + begin + 1, end - begin - 2);
}

/* How a device is; ends: where what is given of it begins, and where its three parts end. */
static void write_device(pen *p, const kf_health *h, uint32_t row, int64_t utc_ns, const char *given,
                         const uint32_t ends[4])
{
    const kf_link *link = &h->links[row];
    const int64_t silent_ns = link->arrived_ns ? utc_ns - link->arrived_ns : 0;

    WRITE(p, "{\"t_ms\":");
    write_integer(p, utc_ns / MS_NS);
    WRITE(p, ",");
    write_within(p, given, ends[0], ends[1]);
    WRITE(p, ",\"online\":");
    write_bool(p, is_online(h, row, utc_ns));
    WRITE(p, ",\"silent_s\":");
    write_rounded(p, (double)(silent_ns > 0 ? silent_ns : 0) * 1e-9, 1);
    WRITE(p, ",\"clock\":");
    write_clock(p, h, &h->clocks[row], link->flags & KF_LINK_RECORDED);
    WRITE(p, ",\"imu_rate_hz\":");
    write_rounded(p, (double)link->rate_hz, 2);
    WRITE(p, ",\"packets\":");
    write_integer(p, (int64_t)link->packets);
    WRITE(p, ",\"lost\":");
    write_integer(p, (int64_t)link->lost);
    WRITE(p, ",");
    write_within(p, given, ends[1], ends[2]);
    WRITE(p, ",\"streams\":");
    write_streams(p, h, row, utc_ns);
    WRITE(p, ",\"intervals\":");
    write_text(p, given + ends[2], ends[3] - ends[2]);
    WRITE(p, "}");
}

void kf_health_tell(const kf_health *h, const uint32_t *rows, size_t count, int64_t utc_ns, const char *given,
                    const uint32_t *ends, char *text, size_t room, uint64_t *told)
{
    char *begin = text;
    pen p = {begin, begin + room};

    for (size_t i = 0; i < count; i++) {
        const uint32_t of[] = {i ? ends[3 * i - 1] : 0, ends[3 * i], ends[3 * i + 1], ends[3 * i + 2]};
        const uint32_t row = rows[i];
        write_device(&p, h, row, utc_ns, given, of);
        h->told[row] = (kf_told){utc_ns, h->links[row].refused, is_online(h, row, utc_ns)};
        told[i] = p.at == NULL ? 0 : (uint64_t)(p.at - begin);
    }
}
