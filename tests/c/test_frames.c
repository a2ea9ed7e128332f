/* test_frames.c: frames are found wherever they are cut, what is malformed is named, nothing is read past the
 * end, and the table of topics is what a plain list would be. */
#include "claims.h"

#define SEED 0x1234567890ABCDEFULL
#define FRAMES 64

typedef struct {
    kf_publish frames[FRAMES];
    kf_control controls[FRAMES];
    kf_split_end end;
} found;

static const kf_rules NO_TOPICS = {.payload_max = 1000};

/* Split a copy of its exact size, so that reading past it is seen. */
static uint32_t split(found *f, const uint8_t *bytes, size_t count, const kf_rules *rules)
{
    uint8_t *exact = malloc(count ? count : 1);

    HOLDS(exact != NULL);
    if (count > 0)
        memcpy(exact, bytes, count);
    memset(f, 0xEE, sizeof *f);
    const uint32_t status = kf_split(exact, count, rules, f->frames, FRAMES, f->controls, FRAMES, &f->end);

    free(exact);
    HOLDS(f->end.consumed <= count);
    HOLDS(f->end.frame_count <= FRAMES && f->end.control_count <= FRAMES);
    for (uint32_t i = 0; i < f->end.frame_count; i++) {
        HOLDS((size_t)f->frames[i].topic + f->frames[i].topic_length <= count);
        HOLDS((size_t)f->frames[i].payload + f->frames[i].payload_length <= f->end.consumed);
    }
    for (uint32_t i = 0; i < f->end.control_count; i++)
        HOLDS((size_t)f->controls[i].offset + f->controls[i].length <= f->end.consumed);
    return status;
}

/* Write a PUBLISH; return its length. */
static size_t publish(uint8_t *out, uint32_t flags, const char *topic, uint32_t packet_id, size_t payload)
{
    const size_t topic_length = strlen(topic), id_bytes = (flags & 6U) ? 2 : 0;
    size_t body = 2 + topic_length + id_bytes + payload, at = 0;

    out[at++] = (uint8_t)(0x30 | flags);
    do {
        out[at++] = (uint8_t)((body & 127U) | (body > 127 ? 128U : 0U));
        body >>= 7;
    } while (body > 0);
    out[at++] = (uint8_t)(topic_length >> 8);
    out[at++] = (uint8_t)topic_length;
    memcpy(out + at, topic, topic_length);
    at += topic_length;
    if (id_bytes) {
        out[at++] = (uint8_t)(packet_id >> 8);
        out[at++] = (uint8_t)packet_id;
    }
    for (size_t i = 0; i < payload; i++)
        out[at++] = (uint8_t)i;
    return at;
}

static void frames_are_split_wherever_they_are_cut(void)
{
    static const uint8_t suback[5] = {0x90, 3, 0, 1, 1}, pingresp[2] = {0xD0, 0};
    uint8_t bytes[2048];
    size_t ends[5], at = 0;
    found f;

    at += publish(bytes, 0, "a", 0, 300);
    ends[0] = at;
    memcpy(bytes + at, suback, 5);
    ends[1] = at += 5;
    ends[2] = at += publish(bytes + at, 2 | 8 | 1, "t/u", 0xABCD, 5);
    ends[3] = at += publish(bytes + at, 4, "t/u", 7, 5); /* QoS 2 is not ours */
    memcpy(bytes + at, pingresp, 2);
    ends[4] = at += 2;
    for (size_t cut = 0; cut <= at; cut++) {
        uint32_t whole = 0;

        while (whole < 5 && ends[whole] <= cut)
            whole++;
        HOLDS(split(&f, bytes, cut, &NO_TOPICS) == KF_FRAMES_DONE);
        HOLDS(f.end.frame_count + f.end.control_count == whole);
        HOLDS(f.end.consumed == (whole ? ends[whole - 1] : 0));
        HOLDS(f.end.needed == 0 || f.end.needed > cut - f.end.consumed);
        HOLDS(f.end.needed == 0 || f.end.consumed + f.end.needed <= ends[whole]);
    }
    HOLDS(f.frames[0].topic == 5 && f.frames[0].topic_length == 1 && f.frames[0].payload_length == 300);
    HOLDS(f.frames[0].payload == 6 && f.frames[0].packet_id == 0 && f.frames[0].flags == 0);
    HOLDS(f.frames[1].packet_id == 0xABCD && f.frames[1].flags == (2 | 8 | 1));
    HOLDS(memcmp(bytes + f.frames[1].topic, "t/u", 3) == 0 && f.frames[1].payload_length == 5);
    HOLDS(f.controls[0].offset == ends[0] && f.controls[0].length == 5);
    HOLDS(f.controls[1].offset == ends[2] && f.controls[2].offset == ends[3]);
}

static void what_is_malformed_is_named_after_what_stands_before_it(void)
{
    static const struct {
        uint8_t bytes[12];
        size_t count;
        uint32_t status;
    } cases[] = {
        {{0x00, 0}, 2, KF_FRAME_BAD_TYPE},
        {{0xF0, 0}, 2, KF_FRAME_BAD_TYPE},
        {{0xF0}, 1, KF_FRAME_BAD_TYPE},
        {{0x30, 0xFF, 0xFF, 0xFF, 0xFF}, 5, KF_FRAME_BAD_LENGTH},
        {{0x30, 0x80, 0x80, 0x80, 0x80, 1}, 6, KF_FRAME_BAD_LENGTH},
        {{0x90, 0xFF, 0xFF, 0xFF, 0x7F}, 5, KF_FRAME_TOO_LARGE},
        {{0x36, 5, 0, 1, 'a', 0, 1}, 7, KF_FRAME_BAD_QOS},
        {{0x30, 1, 0}, 3, KF_FRAME_BAD_TOPIC},
        {{0x30, 0}, 2, KF_FRAME_BAD_TOPIC},
        {{0x30, 3, 0, 0, 'a'}, 5, KF_FRAME_BAD_TOPIC},
        {{0x30, 3, 0, 2, 'a'}, 5, KF_FRAME_BAD_TOPIC},
        {{0x30, 3, 0xFF, 0xFF, 'a'}, 5, KF_FRAME_BAD_TOPIC},
        {{0x32, 3, 0, 1, 'a'}, 5, KF_FRAME_BAD_ID},
        {{0x32, 4, 0, 1, 'a', 1}, 6, KF_FRAME_BAD_ID},
        {{0x32, 5, 0, 1, 'a', 0, 0}, 7, KF_FRAME_BAD_ID},
        {{0x34, 5, 0, 1, 'a', 0, 0}, 7, KF_FRAME_BAD_ID},
    };
    uint8_t bytes[64];
    found f;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t before = publish(bytes, 0, "ok", 0, 3);

        memcpy(bytes + before, cases[i].bytes, cases[i].count);
        HOLDS(split(&f, bytes, before + cases[i].count, &NO_TOPICS) == cases[i].status);
        HOLDS(f.end.frame_count == 1 && f.end.consumed == before);
    }
}

static void an_oversize_payload_is_told_by_its_header_alone(void)
{
    uint8_t bytes[2048];
    const size_t length = publish(bytes, 2, "t", 9, 1001);
    found f;

    HOLDS(split(&f, bytes, 7, &NO_TOPICS) == KF_FRAMES_DONE && f.end.needed == 8);
    HOLDS(split(&f, bytes, 8, &NO_TOPICS) == KF_FRAMES_OVERSIZE);
    HOLDS(f.end.oversize == length && f.end.packet_id == 9 && f.end.consumed == 0);
    publish(bytes, 0, "t", 0, 1001);
    HOLDS(split(&f, bytes, 100, &NO_TOPICS) == KF_FRAMES_OVERSIZE && f.end.packet_id == 0);
    publish(bytes, 2, "t", 9, 1000);
    HOLDS(split(&f, bytes, 8, &NO_TOPICS) == KF_FRAMES_DONE && f.end.needed == length - 1);
}

static void it_stops_where_there_is_no_room(void)
{
    uint8_t bytes[2048];
    kf_publish frame;
    kf_control control;
    kf_split_end end;
    size_t at = publish(bytes, 0, "a", 0, 1);
    const size_t first = at;

    at += publish(bytes + at, 0, "b", 0, 1);
    HOLDS(kf_split(bytes, at, &NO_TOPICS, &frame, 1, &control, 1, &end) == KF_FRAMES_FULL);
    HOLDS(end.consumed == first && end.frame_count == 1);
    HOLDS(kf_split((const uint8_t[]){0xD0, 0}, 2, &NO_TOPICS, &frame, 1, &control, 0, &end) ==
          KF_FRAMES_FULL);
    HOLDS(end.consumed == 0);
}

static void imu_topics_of_known_devices_have_their_row(void)
{
    static const struct {
        const char *topic;
        uint32_t flags, device;
    } cases[] = {
        {"k/v1/in/ada/imu", 0, 5},
        {"k/v1/in/ada/imu", 2, 5},
        {"k/v1/in/ada/imu", 1, KF_NO_DEVICE}, /* retained: of some time ago */
        {"k/v1/in/ada/imx", 0, KF_NO_DEVICE},
        {"k/v1/in/adam/imu", 0, KF_NO_DEVICE},
        {"k/v2/in/ada/imu", 0, KF_NO_DEVICE},
        {"k/v1/in//imu", 0, KF_NO_DEVICE},
        {"k/v1/in/imu", 0, KF_NO_DEVICE},
        {"/imu", 0, KF_NO_DEVICE},
        {"k/v1/in/ada/x/imu", 0, KF_NO_DEVICE},
        {"k/v1/in/0123456789012345678901234567890123456789012345678901234567890123x/imu", 0, KF_NO_DEVICE},
    };
    const char *prefix = "k/v1/in/";
    kf_topic topics[4] = {0};
    uint32_t places[8] = {0};
    kf_topics table = {.topics = topics, .places = places, .place_count = 8, .seed = SEED};
    const kf_rules rules = {.prefix = (const uint8_t *)prefix,
                            .prefix_length = strlen(prefix),
                            .topics = &table,
                            .payload_max = 1000};
    uint8_t bytes[256];
    found f;

    HOLDS(kf_topic_put(&table, (const uint8_t *)"ada", 3, 5) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t length = publish(bytes, cases[i].flags, cases[i].topic, 1, 10);

        HOLDS(split(&f, bytes, length, &rules) == KF_FRAMES_DONE && f.end.frame_count == 1);
        HOLDS(f.frames[0].device == cases[i].device);
        HOLDS(f.frames[0].kind == (cases[i].device == 5 ? KF_TOPIC_IMU : KF_TOPIC_OTHER));
    }
}

static void the_last_level_of_a_known_device_is_told(void)
{
    static const struct {
        const char *topic;
        uint8_t kind;
    } cases[] = {
        {"in/ada/imu", KF_TOPIC_IMU},        {"in/ada/hr", KF_TOPIC_HR},
        {"in/ada/gnss", KF_TOPIC_GNSS},      {"in/ada/baro", KF_TOPIC_BARO},
        {"in/ada/power", KF_TOPIC_POWER},    {"in/ada/cadence", KF_TOPIC_CADENCE},
        {"in/ada/wheel", KF_TOPIC_WHEEL},    {"in/ada/foot", KF_TOPIC_FOOT},
        {"in/ada/status", KF_TOPIC_OTHER},   {"in/ada/battery", KF_TOPIC_OTHER},
        {"in/ada/", KF_TOPIC_OTHER},         {"in/ada", KF_TOPIC_OTHER},
        {"in/ada/cadences", KF_TOPIC_OTHER}, {"in/bob/hr", KF_TOPIC_OTHER},
        {"in/ada/x/hr", KF_TOPIC_OTHER},     {"in/ada/xxxxxxxxxxhr", KF_TOPIC_OTHER},
    };
    kf_topic topics[4] = {0};
    uint32_t places[8] = {0};
    kf_topics table = {.topics = topics, .places = places, .place_count = 8, .seed = SEED};
    const kf_rules rules = {
        .prefix = (const uint8_t *)"in/", .prefix_length = 3, .topics = &table, .payload_max = 1000};
    uint8_t bytes[256];
    found f;

    HOLDS(kf_topic_put(&table, (const uint8_t *)"ada", 3, 5) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t length = publish(bytes, 0, cases[i].topic, 0, 3);

        HOLDS(split(&f, bytes, length, &rules) == KF_FRAMES_DONE && f.end.frame_count == 1);
        HOLDS(f.frames[0].kind == cases[i].kind);
        HOLDS(f.frames[0].device == (cases[i].kind == KF_TOPIC_OTHER ? KF_NO_DEVICE : 5));
    }
}

static void the_table_is_what_a_list_would_be(void)
{
    enum { NAMES = 48, PLACES = 128 };
    uint64_t dice = 11;
    uint32_t rows[NAMES];
    char names[NAMES][KF_ID_BYTES + 1] = {{0}};
    kf_topic topics[PLACES / 2] = {0};
    uint32_t places[PLACES] = {0};
    kf_topics table = {.topics = topics, .places = places, .place_count = PLACES, .seed = SEED};
    size_t count = 0;

    for (size_t i = 0; i < NAMES; i++) {
        const size_t length = 1 + i * 63 / (NAMES - 1);

        memset(names[i], 'a' + (int)(i % 7), length);
        names[i][length - 1] = (char)('0' + (int)(i % 10));
        rows[i] = KF_NO_DEVICE;
    }
    for (uint32_t turn = 0; turn < 20000; turn++) {
        const size_t i = chance(&dice) % NAMES;
        const uint8_t *id = (const uint8_t *)names[i];
        const size_t length = strlen(names[i]);

        if (chance(&dice) % 2) {
            HOLDS(kf_topic_put(&table, id, length, turn) == 0);
            count += rows[i] == KF_NO_DEVICE;
            rows[i] = turn;
        } else {
            HOLDS(kf_topic_remove(&table, id, length) == (rows[i] == KF_NO_DEVICE ? -1 : 0));
            count -= rows[i] != KF_NO_DEVICE;
            rows[i] = KF_NO_DEVICE;
        }
        HOLDS(table.topic_count == count);
        if (turn % 1000 == 0) { /* as where it gets more places */
            memset(places, 0, sizeof places);
            kf_topics_place(&table);
        }
        if (turn % 50 == 0)
            for (size_t j = 0; j < NAMES; j++)
                HOLDS(kf_topic_find(&table, (const uint8_t *)names[j], strlen(names[j])) == rows[j]);
    }
}

static void a_table_that_is_full_or_none_refuses(void)
{
    kf_topic topics[4] = {0};
    uint32_t places[8] = {0};
    kf_topics table = {.topics = topics, .places = places, .place_count = 8, .seed = SEED}, none = {0};
    uint8_t id[KF_ID_BYTES + 1] = {0};

    for (uint8_t i = 0; i < 4; i++)
        HOLDS(kf_topic_put(&table, (const uint8_t[]){'a', i}, 2, i) == 0);
    HOLDS(kf_topic_put(&table, (const uint8_t *)"no", 2, 1) == -1);
    HOLDS(kf_topic_find(&table, (const uint8_t *)"no", 2) == KF_NO_DEVICE);
    HOLDS(kf_topic_put(&table, (const uint8_t[]){'a', 2}, 2, 9) == 0);
    HOLDS(kf_topic_find(&table, (const uint8_t[]){'a', 2}, 2) == 9);
    HOLDS(kf_topic_remove(&table, (const uint8_t[]){'a', 2}, 2) == 0);
    for (uint8_t i = 0; i < 4; i++)
        HOLDS(kf_topic_find(&table, (const uint8_t[]){'a', i}, 2) == (i == 2 ? KF_NO_DEVICE : i));
    HOLDS(kf_topic_put(&table, id, 0, 1) == -1);
    HOLDS(kf_topic_put(&table, id, KF_ID_BYTES + 1, 1) == -1);
    HOLDS(kf_topic_remove(&table, id, 1) == -1);
    HOLDS(kf_topic_put(&none, id, 1, 1) == -1 && kf_topic_find(&none, id, 1) == KF_NO_DEVICE);
    HOLDS(kf_topic_remove(&none, id, 1) == -1);
}

static void bytes_at_random_are_read_within_their_bounds(void)
{
    uint64_t dice = 5;
    uint8_t bytes[512];
    found f;

    for (int turn = 0; turn < 40000; turn++) {
        size_t count = 0;

        while (count < 300 && chance(&dice) % 5)
            count += publish(bytes + count, (uint32_t)(chance(&dice) % 16), "t/u/v", 3, chance(&dice) % 40);
        for (uint64_t faults = chance(&dice) % 4; faults > 0 && count > 0; faults--)
            bytes[chance(&dice) % count] = (uint8_t)chance(&dice);
        HOLDS(split(&f, bytes, count ? chance(&dice) % (count + 1) : 0, &NO_TOPICS) <= KF_FRAME_BAD_ID);
    }
}

int main(void)
{
    CLAIM(frames_are_split_wherever_they_are_cut);
    CLAIM(what_is_malformed_is_named_after_what_stands_before_it);
    CLAIM(an_oversize_payload_is_told_by_its_header_alone);
    CLAIM(it_stops_where_there_is_no_room);
    CLAIM(imu_topics_of_known_devices_have_their_row);
    CLAIM(the_last_level_of_a_known_device_is_told);
    CLAIM(the_table_is_what_a_list_would_be);
    CLAIM(a_table_that_is_full_or_none_refuses);
    CLAIM(bytes_at_random_are_read_within_their_bounds);
    return 0;
}
