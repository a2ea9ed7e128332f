/* How devices are as text, within the room that was given, and of which there is news. */
#include "claims.h"

#define S 1000000000
#define NOW ((int64_t)1790000000 * S)

#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

static const kf_text KINDS[] = {TEXT("imu"), TEXT("hr")};
static const kf_text STATES[] = {TEXT("alive"),           TEXT("late"),          TEXT("clock_jumped"),
                                 TEXT("quiet_unchanged"), TEXT("sensor_silent"), TEXT("link_dead")};
static const kf_text CLOCKS[] = {TEXT("utc"),        TEXT("local"),      TEXT("uptime"),
                                 TEXT("gps"),        TEXT("epoch_1900"), TEXT("epoch_1989"),
                                 TEXT("epoch_2000"), TEXT("epoch_2001"), TEXT("unknown")};
static const char GIVEN[] = "{\"device\":\"d\"}{\"battery\":null}{}";
static const uint32_t ENDS[] = {14, 30, 32};

static kf_link links[2];
static kf_clock clocks[2];
static kf_supervised_stream streams[4];
static kf_supervised_device devices[2];
static kf_told told[2];
static const kf_supervision supervision = {.streams = streams,
                                           .devices = devices,
                                           .kinds = 2,
                                           .intervals = 4,
                                           .silence_ns = 2e9,
                                           .deadline_max_ns = 600e9};

static kf_health fresh(void)
{
    memset(links, 0, sizeof links);
    memset(devices, 0, sizeof devices);
    memset(told, 0, sizeof told);
    for (int i = 0; i < 4; i++)
        streams[i] = (kf_supervised_stream){.state = KF_STREAM_UNHEARD};
    kf_clock_reset(&clocks[0], 0);
    kf_clock_reset(&clocks[1], 1);
    return (kf_health){links, clocks, &supervision, told, KINDS, STATES, CLOCKS};
}

static void a_device_that_was_never_heard_is_told_with_what_is_given(void)
{
    const kf_health health = fresh();
    const char wanted[] =
        "{\"t_ms\":1790000000000,\"device\":\"d\",\"online\":false,\"silent_s\":0.0,\"clock\":null,"
        "\"imu_rate_hz\":0.0,\"packets\":0,\"lost\":0,\"battery\":null,\"streams\":{},"
        "\"intervals\":{}}";
    const uint32_t row = 0;
    char text[sizeof GIVEN + KF_HEALTH_BYTES];
    uint64_t end = 0;

    kf_health_tell(&health, &row, 1, NOW, GIVEN, ENDS, text, sizeof text, &end);
    HOLDS(end == sizeof wanted - 1 && memcmp(text, wanted, end) == 0);
    HOLDS(told[0].t_ns == NOW && !told[0].online);
}

static void the_longest_numbers_have_room(void)
{
    const kf_health health = fresh();
    const uint32_t row = 1;
    char text[sizeof GIVEN + KF_HEALTH_BYTES + 2 * KF_HEALTH_STREAM_BYTES];
    uint64_t end = 0;

    links[1] =
        (kf_link){.arrived_ns = INT64_MIN / 4, .rate_hz = -3e38F, .packets = INT64_MAX, .lost = INT64_MAX};
    clocks[1] = (kf_clock){.phase = KF_CLOCK_LIVE,
                           .jumps = INT64_MIN,
                           .wraps = INT64_MIN,
                           .trip_ns = -((int64_t)1 << 62),
                           .newest_ns = 1,
                           .at_ns = -((int64_t)1 << 62),
                           .slew_ns = 1,
                           .skew = -1e-3,
                           .p_oo = 1e200};
    for (int i = 2; i < 4; i++)
        streams[i] = (kf_supervised_stream){.state = 3, .heard_ns = INT64_MIN / 4, .interval_s = 3e38F};
    kf_health_tell(&health, &row, 1, NOW, GIVEN, ENDS, text, sizeof text, &end);
    HOLDS(end > 400 && text[end - 1] == '}');
}

static void there_is_news_once_in_a_period_and_of_who_has_gone(void)
{
    const kf_health health = fresh();
    uint32_t rows[2];

    HOLDS(kf_health_news(&health, 2, NOW, 1, rows) == 0);
    links[1].arrived_ns = NOW;
    HOLDS(kf_health_news(&health, 2, NOW, 1, rows) == 1 && rows[0] == 1);
    told[1] = (kf_told){NOW, 0, 1};
    links[1].arrived_ns = NOW + S;
    links[1].flags = KF_LINK_ONLINE;
    HOLDS(kf_health_news(&health, 2, NOW + S, 1, rows) == 0);
    HOLDS(kf_health_news(&health, 2, NOW + KF_HEALTH_NS, 1, rows) == 1);
    HOLDS(kf_health_news(&health, 2, NOW + KF_HEALTH_NS, 2, rows) == 0);
    told[1].t_ns = links[1].arrived_ns;
    HOLDS(kf_health_news(&health, 2, NOW + KF_HEALTH_NS, 1, rows) == 0);
    links[1].flags = 0;
    HOLDS(kf_health_news(&health, 2, NOW + KF_HEALTH_NS, 1, rows) == 1);
}

int main(void)
{
    CLAIM(a_device_that_was_never_heard_is_told_with_what_is_given);
    CLAIM(the_longest_numbers_have_room);
    CLAIM(there_is_news_once_in_a_period_and_of_who_has_gone);
    return 0;
}
