/* The load generator: what it hears, whole or in pieces, true or nonsense; and its schedule. */
#include "claims.h"

#include "../../simulators/load/internal.h"

enum { ATHLETES = 3, BINS = 20, BOOT = 7, INBOX = 4096 };
static const int64_t BEGIN_NS = 5000000000, UTC_NS = 1700000000000000000, PERIOD_NS = 100000000;

static ld_stream streams[2 * ATHLETES];
static ld_link links[ATHLETES + 1];
static ld_due heap[2 * ATHLETES];
static ld_athlete heard[ATHLETES];
static ld_bin bins[BINS];
static uint8_t inbox[INBOX];
static int16_t motion[20 * LD_COLUMNS];
static ld_reading pulse[2];
static uint8_t header[40];

/* A load whose devices have sent ten messages each. */
static ld_load fresh(void)
{
    ld_load load = {.root = "r", .athletes = ATHLETES, .link_count = ATHLETES, .packet_samples = 10};

    memset(bins, 0, sizeof bins);
    memset(heard, 0, sizeof heard);
    memset(links, 0, sizeof links);
    for (uint32_t k = 0; k < 2 * ATHLETES; k++) {
        streams[k] = (ld_stream){.origin_ns = BEGIN_NS + (int64_t)k * 1000000,
                                 .device_ns = UTC_NS,
                                 .period_ns = PERIOD_NS,
                                 .link = k % ATHLETES,
                                 .kind = k < ATHLETES ? LD_IMU : LD_HR,
                                 .boot = BOOT,
                                 .seq = 10};
        (void)snprintf(streams[k].id, sizeof streams[k].id, "a%05u-%s", k % ATHLETES,
                       k < ATHLETES ? "imu" : "strap");
    }
    for (size_t i = 0; i < 2; i++) {
        pulse[i] = (ld_reading){.back_ns = 5, .length = 8};
        memcpy(pulse[i].text, "\"bpm\":60", 8);
    }
    load.recording_samples = 20;
    load.recording_readings = 2;
    load.bin_count = BINS;
    load.inbox_bytes = INBOX;
    load.utc_ns = UTC_NS;
    load.begin_ns = BEGIN_NS;
    load.header = header;
    load.motion = motion;
    load.pulse = pulse;
    load.streams = streams;
    load.links = links;
    load.heap = heap;
    load.heard = heard;
    load.bins = bins;
    load.inbox = inbox;
    load.random = 1;
    return load;
}

/* An update of athlete 1, due so many seconds after the begin, caused by message seq of its sensor. */
static size_t update(uint8_t *frame, int second, unsigned seq)
{
    static const char topic[] = "r/athletes/a00001/live";
    char payload[256];
    const long long t_ms = (BEGIN_NS + UTC_NS) / 1000000 + 1000LL * second + 500;
    const int length = snprintf(payload, sizeof payload,
                                "{\"t_ms\":%lld,\"athlete\":\"a00001\",\"cause\":{\"device\":\"a00001-imu\","
                                "\"boot\":%d,\"seq\":%u},\"metrics\":{}}",
                                t_ms, BOOT, seq);
    const size_t remaining = 2 + sizeof topic - 1 + (size_t)length;

    frame[0] = PUBLISH;
    frame[1] = (uint8_t)(0x80 | (remaining & 0x7F));
    frame[2] = (uint8_t)(remaining >> 7);
    frame[3] = 0;
    frame[4] = sizeof topic - 1;
    memcpy(frame + 5, topic, sizeof topic - 1);
    memcpy(frame + 5 + sizeof topic - 1, payload, (size_t)length);
    return 3 + remaining;
}

static uint32_t total(const uint32_t *histogram)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < LD_BUCKETS; i++) {
        sum += histogram[i];
    }
    return sum;
}

static void end_to_end_is_from_the_intended_send_of_the_cause(void)
{
    ld_load load = fresh();
    const int64_t took_ns = 12345678;

    load.inbox_used = (uint32_t)update(inbox, 0, 3);
    HOLDS(ld_take_frames(&load, ld_intended(&streams[1], 3) + took_ns));
    HOLDS(load.inbox_used == 0 && load.stray == 0);
    HOLDS(bins[0].heard == 1 && total(bins[0].end_to_end) == 1);
    HOLDS(bins[0].end_to_end_max_ns == took_ns);
}

static void frames_may_come_in_any_pieces(void)
{
    uint8_t all[INBOX];
    size_t length = 0;

    for (int second = 0; second < 6; second++) {
        length += update(all + length, second, (unsigned)second);
    }
    for (size_t piece = 1; piece < 400; piece += 7) {
        ld_load load = fresh();

        for (size_t at = 0; at < length; at += piece) {
            const size_t some = length - at < piece ? length - at : piece;

            memcpy(inbox + load.inbox_used, all + at, some);
            load.inbox_used += (uint32_t)some;
            HOLDS(ld_take_frames(&load, BEGIN_NS + 6000000000));
        }
        HOLDS(heard[1].heard == 6 && load.stray == 0 && load.inbox_used == 0);
    }
}

static void an_update_that_comes_twice_counts_once(void)
{
    ld_load load = fresh();

    for (int i = 0; i < 2; i++) {
        load.inbox_used = (uint32_t)update(inbox, 2, 4);
        HOLDS(ld_take_frames(&load, BEGIN_NS));
    }
    HOLDS(bins[2].heard == 1 && bins[2].doubled == 1);
}

static void a_cause_that_was_never_sent_is_a_stray(void)
{
    ld_load load = fresh();

    load.inbox_used = (uint32_t)update(inbox, 2, 10);
    HOLDS(ld_take_frames(&load, BEGIN_NS));
    HOLDS(load.stray == 1 && bins[2].heard == 1);
}

static void nonsense_is_read_within_its_bounds(void)
{
    uint64_t state = 7;

    for (int round = 0; round < 20000; round++) {
        ld_load load = fresh();
        uint8_t *exact;
        size_t length = update(inbox, 1, 5);

        for (int k = (int)(chance(&state) % 6); k > 0; k--) {
            inbox[chance(&state) % length] = (uint8_t)chance(&state);
        }
        length -= chance(&state) % length;
        exact = malloc(length);
        HOLDS(exact != NULL);
        memcpy(exact, inbox, length);
        load.inbox = exact;
        load.inbox_bytes = load.inbox_used = (uint32_t)length;
        (void)ld_take_frames(&load, BEGIN_NS);
        free(exact);
    }
}

static void messages_are_made_on_a_schedule_that_nothing_moves(void)
{
    ld_load load = fresh();
    uint8_t frame[LD_FRAME_BYTES];

    streams[0].skew = 50e-6;
    for (uint32_t seq = 10; seq < 40; seq++) {
        const int64_t due_ns = ld_intended(&streams[0], seq);

        HOLDS(ld_make(&load, 0, frame) == 2 + 1 + 2 + strlen("r/in/a00000-imu/imu") + 40 + 180);
        HOLDS(streams[0].seq == seq + 1 && ld_intended(&streams[0], seq) == due_ns);
        HOLDS(llabs(due_ns - BEGIN_NS - (int64_t)(seq * (double)PERIOD_NS / (1.0 + 50e-6))) <= 1);
    }
    for (int i = 0; i < 5; i++) {
        HOLDS(ld_make(&load, ATHLETES, frame) < 128);
    }
}

static void what_is_due_first_stands_on_top(void)
{
    ld_load load = fresh();

    streams[4].seq = 2;
    ld_schedule(&load);
    HOLDS(heap[0].stream == 4);
    for (uint32_t i = 1; i < load.heap_count; i++) {
        HOLDS(heap[(i - 1) / 2].due_ns <= heap[i].due_ns);
    }
}

int main(void)
{
    CLAIM(end_to_end_is_from_the_intended_send_of_the_cause);
    CLAIM(frames_may_come_in_any_pieces);
    CLAIM(an_update_that_comes_twice_counts_once);
    CLAIM(a_cause_that_was_never_sent_is_a_stray);
    CLAIM(nonsense_is_read_within_its_bounds);
    CLAIM(messages_are_made_on_a_schedule_that_nothing_moves);
    CLAIM(what_is_due_first_stands_on_top);
    return 0;
}
