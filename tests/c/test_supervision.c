/* What is heard of streams: their usual interval, their deadline, and the link that lives again. */
#include "claims.h"

#define S 1000000000
#define BEGIN ((int64_t)1790000000 * S)

static const float FIRST_S[] = {0.2F, 1.0F};
static const uint8_t COLUMNS[] = {0, 1, KF_NO_COLUMN};
static kf_supervised_stream streams[4];
static kf_supervised_device devices[2];

static kf_supervision fresh(void)
{
    memset(devices, 0, sizeof devices);
    for (int i = 0; i < 4; i++)
        streams[i] = (kf_supervised_stream){.state = KF_STREAM_UNHEARD, .due_ns = INT64_MAX};
    return (kf_supervision){
        .streams = streams,
        .devices = devices,
        .first_s = FIRST_S,
        .columns = COLUMNS,
        .kinds = 2,
        .burst_ns = S / 50,
        .rise = 0.25,
        .fall = 0.03125,
        .intervals = 4,
        .silence_ns = 2e9,
        .deadline_max_ns = 600e9,
        .played_min_ns = 0.5e9,
        .lifespan_s = 2,
    };
}

static size_t hear(const kf_supervision *s, uint32_t row, uint8_t kind, int64_t at_ns, int64_t age_ns)
{
    const kf_clock fresh_clocks[2] = {{0}};
    const kf_event event = {.kind = KF_EVENT_SAMPLE,
                            .device = row,
                            .flags = KF_EVENT_TIMED,
                            .stream = 2 * (kind + 1u),
                            .t_ns = at_ns - age_ns,
                            .arrived_ns = at_ns};
    size_t begun = 0;

    HOLDS(kf_streams_take(s, fresh_clocks, &event, 0, 1, NULL, &begun) == 1);
    return begun;
}

static void a_stream_begins_with_the_first_packet_and_no_other(void)
{
    const kf_supervision s = fresh();

    HOLDS(hear(&s, 1, 1, BEGIN, 0) == 1);
    HOLDS(hear(&s, 1, 1, BEGIN + S, 0) == 0);
    HOLDS(streams[3].state == KF_STREAM_ALIVE && streams[3].interval_s == 1.0F);
    HOLDS(streams[3].due_ns == BEGIN + S + (int64_t)4 * S + 1);
    HOLDS(streams[2].state == KF_STREAM_UNHEARD && streams[0].state == KF_STREAM_UNHEARD);
}

static void an_interval_rises_faster_than_it_falls_and_bursts_teach_nothing(void)
{
    const kf_supervision s = fresh();
    int64_t at_ns = BEGIN;

    (void)hear(&s, 0, 1, at_ns, 0);
    (void)hear(&s, 0, 1, at_ns += (int64_t)3 * S, 0);
    HOLDS(fabs((double)streams[1].interval_s - 1.5) < 1e-6);
    (void)hear(&s, 0, 1, at_ns += S / 2, 0);
    HOLDS(fabs((double)streams[1].interval_s - 1.46875) < 1e-6);
    (void)hear(&s, 0, 1, at_ns += S / 100, 0);
    HOLDS(fabs((double)streams[1].interval_s - 1.46875) < 1e-6);
}

static void what_is_told_behind_a_newer_packet_makes_no_stream_older(void)
{
    const kf_supervision s = fresh();

    (void)hear(&s, 0, 1, BEGIN + S, 0);
    (void)hear(&s, 0, 1, BEGIN, 0);
    HOLDS(streams[1].heard_ns == BEGIN + S);
    HOLDS(streams[1].due_ns == BEGIN + S + (int64_t)4 * S + 1);
}

static void old_samples_and_stamps_beyond_all_time_are_looked_at(void)
{
    const kf_supervision s = fresh();

    (void)hear(&s, 0, 0, BEGIN, (int64_t)3 * S);
    HOLDS(streams[0].due_ns == 0 && streams[0].age_s == 3.0F);
    (void)hear(&s, 0, 0, BEGIN, BEGIN + ((int64_t)1 << 62));
    HOLDS(streams[0].due_ns == 0);
}

static void a_sign_revives_a_dead_link_and_wakes_its_streams(void)
{
    const kf_supervision s = fresh();
    const uint32_t row = 0;
    const int64_t now_ns = BEGIN + (int64_t)60 * S;

    (void)hear(&s, 0, 0, BEGIN, 0);
    streams[0].state = KF_STREAM_DEAD;
    devices[0].dead = devices[0].waits = 1;
    streams[0].due_ns = INT64_MAX;
    kf_streams_wake(&s, &row, 1);
    HOLDS(streams[0].due_ns == INT64_MAX); /* it sleeps while its link is dead */
    kf_streams_sign(&s, &row, &now_ns, 1);
    HOLDS(!devices[0].dead && devices[0].revived_ns == now_ns && devices[0].heard_ns == now_ns);
    HOLDS(streams[0].due_ns == 0 && streams[1].due_ns == INT64_MAX);
}

static void what_is_played_fast_is_awaited_for_a_shorter_time(void)
{
    const kf_supervision s = fresh();

    HOLDS(kf_stream_deadline_ns(&s, 1, 0) == 4e9);
    HOLDS(kf_stream_deadline_ns(&s, 0.1, 0) == 2e9);
    HOLDS(kf_stream_deadline_ns(&s, 0.5, 2) == 2e9);
    HOLDS(kf_stream_deadline_ns(&s, 0.05, 20) == 0.5e9);
    HOLDS(kf_stream_deadline_ns(&s, 1000, 0) == 600e9);
}

int main(void)
{
    CLAIM(a_stream_begins_with_the_first_packet_and_no_other);
    CLAIM(an_interval_rises_faster_than_it_falls_and_bursts_teach_nothing);
    CLAIM(what_is_told_behind_a_newer_packet_makes_no_stream_older);
    CLAIM(old_samples_and_stamps_beyond_all_time_are_looked_at);
    CLAIM(a_sign_revives_a_dead_link_and_wakes_its_streams);
    CLAIM(what_is_played_fast_is_awaited_for_a_shorter_time);
    return 0;
}
