/* frames.c: MQTT 3.1.1 frames out of the bytes of a connection, and the table of topics.
 *
 * http://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html, sections 2 and 3.3.
 *
 * A frame is looked at once it is whole, and its length is known from at most its first five bytes: one that
 * comes in many pieces costs a few nanoseconds for each of them, whatever its length.
 */
#include <string.h>

#include "kinefuse.h"

#define PUBLISH 3
#define RESERVED_LOW 0
#define RESERVED_HIGH 15

#define KIND_BYTES_MAX 7

/* The last level of a topic, by its number. */
static const char *const KINDS[KF_TOPICS] = {"",      "imu",     "hr",    "gnss", "baro",
                                             "power", "cadence", "wheel", "foot"};

/* Eight bytes at a time: multiply, and fold the high half into the low. Seeded, so that nobody outside can
 * choose ids that share a place. */
static uint32_t hash_of(uint64_t seed, const uint8_t *id, size_t length)
{
    uint64_t h = seed ^ (length * 0x9E3779B97F4A7C15ULL), word = 0;

    for (; length >= 8; id += 8, length -= 8) {
        memcpy(&word, id, 8);
        h = (h ^ word) * 0xD6E8FEB86659FD93ULL;
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, id, length);
    h = (h ^ word) * 0xD6E8FEB86659FD93ULL;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93ULL;
    return (uint32_t)(h >> 32);
}

/* The place of an id: where it stands, or the free one where it would stand; there is always one. */
static size_t place_of(const kf_topics *table, uint32_t hash, const uint8_t *id, size_t length)
{
    const size_t mask = (size_t)table->place_count - 1;
    size_t at = hash & mask;

    for (; table->places[at] != 0; at = (at + 1) & mask) {
        const kf_topic *topic = &table->topics[table->places[at] - 1];

        if (topic->hash == hash && topic->length == length && memcmp(topic->id, id, length) == 0)
            break;
    }
    return at;
}

static int may_hold(const kf_topics *table, size_t length)
{
    return table->place_count != 0 && length > 0 && length <= KF_ID_BYTES;
}

int kf_topic_put(kf_topics *table, const uint8_t *id, size_t length, uint32_t device)
{
    if (!may_hold(table, length))
        return -1;
    const uint32_t hash = hash_of(table->seed, id, length);
    const size_t at = place_of(table, hash, id, length);

    if (table->places[at] == 0) {
        if (2 * table->topic_count >= table->place_count)
            return -1;
        kf_topic *topic = &table->topics[table->topic_count++];

        *topic = (kf_topic){.hash = hash, .length = (uint8_t)length};
        memcpy(topic->id, id, length);
        table->places[at] = (uint32_t)table->topic_count;
    }
    table->topics[table->places[at] - 1].device = device;
    return 0;
}

/* Free a place. What stands behind it moves up, unless it is at its own place already: no tombstones, so that
 * devices that come and go do not make the table slow. */
static void free_place(const kf_topics *table, size_t hole)
{
    const size_t mask = (size_t)table->place_count - 1;

    for (size_t at = (hole + 1) & mask; table->places[at] != 0; at = (at + 1) & mask) {
        const size_t home = table->topics[table->places[at] - 1].hash & mask;

        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        table->places[hole] = table->places[at];
        hole = at;
    }
    table->places[hole] = 0;
}

int kf_topic_remove(kf_topics *table, const uint8_t *id, size_t length)
{
    if (!may_hold(table, length))
        return -1;
    const size_t at = place_of(table, hash_of(table->seed, id, length), id, length);
    const uint32_t place = table->places[at];

    if (place == 0)
        return -1;
    kf_topic *topic = &table->topics[place - 1], *last = &table->topics[table->topic_count - 1];

    free_place(table, at);
    if (topic != last) { /* it takes the room of the one that goes */
        table->places[place_of(table, last->hash, last->id, last->length)] = place;
        *topic = *last;
    }
    *last = (kf_topic){0};
    table->topic_count--;
    return 0;
}

uint32_t kf_topic_find(const kf_topics *table, const uint8_t *id, size_t length)
{
    if (!may_hold(table, length))
        return KF_NO_DEVICE;
    const uint32_t place = table->places[place_of(table, hash_of(table->seed, id, length), id, length)];

    return place == 0 ? KF_NO_DEVICE : table->topics[place - 1].device;
}

void kf_topics_place(kf_topics *table)
{
    for (uint32_t i = 0; i < table->topic_count; i++) {
        const kf_topic *topic = &table->topics[i];

        table->places[place_of(table, topic->hash, topic->id, topic->length)] = i + 1;
    }
}

/* How many bytes the last level of a topic has, or at least KIND_BYTES_MAX + 1. */
static size_t last_level(const uint8_t *topic, size_t topic_length)
{
    size_t length = 0;

    while (length < topic_length && length <= KIND_BYTES_MAX && topic[topic_length - 1 - length] != '/')
        length++;
    return length;
}

static uint8_t kind_of(const uint8_t *name, size_t length)
{
    if (length > KIND_BYTES_MAX)
        return KF_TOPIC_OTHER;
    for (uint8_t kind = KF_TOPIC_IMU; kind < KF_TOPICS; kind++) {
        if (strlen(KINDS[kind]) == length && memcmp(KINDS[kind], name, length) == 0)
            return kind;
    }
    return KF_TOPIC_OTHER;
}

/* Tell of what device and kind a topic is, where the device is known. */
static void look_up(const kf_rules *rules, const uint8_t *topic, kf_publish *frame)
{
    const size_t before = (size_t)rules->prefix_length, length = frame->topic_length;
    const size_t last = last_level(topic, length);

    if (rules->topics == NULL || length <= before + 1 + last ||
        (before > 0 && memcmp(topic, rules->prefix, before) != 0))
        return;
    const uint8_t kind = kind_of(topic + length - last, last);

    if (kind == KF_TOPIC_OTHER)
        return;
    frame->device = kf_topic_find(rules->topics, topic + before, length - before - 1 - last);
    if (frame->device != KF_NO_DEVICE)
        frame->kind = kind;
}

/* The fixed header of a frame: what its first bytes say. */
typedef struct {
    size_t header; /* bytes of it; 0: not whole yet */
    size_t body;   /* bytes behind it */
} fixed_header;

static uint32_t read_fixed_header(const uint8_t *bytes, size_t count, fixed_header *fixed)
{
    const uint32_t type = bytes[0] >> 4;

    *fixed = (fixed_header){0, 0};
    if (type == RESERVED_LOW || type == RESERVED_HIGH)
        return KF_FRAME_BAD_TYPE;
    for (size_t i = 1; i < 5 && i < count; i++) {
        fixed->body |= (size_t)(bytes[i] & 127U) << (7 * (i - 1));
        if ((bytes[i] & 128U) == 0) {
            fixed->header = i + 1;
            break;
        }
        if (i == 4)
            return KF_FRAME_BAD_LENGTH;
    }
    if (fixed->header != 0 && type != PUBLISH && fixed->body > KF_CONTROL_BYTES_MAX)
        return KF_FRAME_TOO_LARGE;
    return KF_FRAMES_DONE;
}

/* Read what stands before the payload of a PUBLISH. The offsets of frame are from the frame's own start.
 * needed tells how many bytes of it must be seen, where that is more than count. */
static uint32_t read_publish(const uint8_t *bytes, size_t count, fixed_header fixed, const kf_rules *rules,
                             kf_publish *frame, size_t *needed)
{
    const uint32_t qos = bytes[0] >> 1 & 3U;
    const size_t id_bytes = qos == 0 ? 0 : 2, at = fixed.header;

    *needed = at + 2;
    if (qos == 3)
        return KF_FRAME_BAD_QOS;
    if (fixed.body < 2)
        return KF_FRAME_BAD_TOPIC;
    if (count < at + 2)
        return KF_FRAMES_DONE;
    const size_t topic_length = (size_t)bytes[at] << 8 | bytes[at + 1];
    const size_t before = 2 + topic_length + id_bytes;

    if (topic_length == 0 || 2 + topic_length > fixed.body)
        return KF_FRAME_BAD_TOPIC;
    if (before > fixed.body)
        return KF_FRAME_BAD_ID;
    *needed = at + before;
    if (count < at + before)
        return KF_FRAMES_DONE;
    const uint8_t *id = bytes + at + 2 + topic_length;
    const uint32_t packet_id = id_bytes == 0 ? 0 : (uint32_t)id[0] << 8 | id[1];

    if (id_bytes != 0 && packet_id == 0)
        return KF_FRAME_BAD_ID;
    *frame = (kf_publish){.topic = (uint32_t)(at + 2),
                          .topic_length = (uint32_t)topic_length,
                          .payload = (uint32_t)(at + before),
                          .payload_length = (uint32_t)(fixed.body - before),
                          .device = KF_NO_DEVICE,
                          .packet_id = (uint16_t)packet_id,
                          .flags = bytes[0] & 15U};
    if (fixed.body - before > rules->payload_max)
        return KF_FRAMES_OVERSIZE;
    *needed = at + fixed.body;
    return KF_FRAMES_DONE;
}

/* Add a whole frame to the list that it belongs to; 0 where there is no room. A PUBLISH of QoS 2 is paho's,
 * too: we ask for none. */
static int add(const uint8_t *bytes, size_t length, kf_publish frame, const kf_rules *rules,
               kf_publish *frames, size_t frame_capacity, kf_control *controls, size_t control_capacity,
               kf_split_end *end)
{
    const uint32_t start = (uint32_t)end->consumed;

    if (bytes[0] >> 4 != PUBLISH || (frame.flags & 6U) == 4) {
        if (end->control_count == control_capacity)
            return 0;
        controls[end->control_count++] = (kf_control){start, (uint32_t)length};
        return 1;
    }
    if (end->frame_count == frame_capacity)
        return 0;
    if ((frame.flags & 1U) == 0)
        look_up(rules, bytes + frame.topic, &frame);
    frame.topic += start;
    frame.payload += start;
    frames[end->frame_count++] = frame;
    return 1;
}

uint32_t kf_split(const uint8_t *bytes, size_t byte_count, const kf_rules *rules, kf_publish *frames,
                  size_t frame_capacity, kf_control *controls, size_t control_capacity, kf_split_end *end)
{
    *end = (kf_split_end){0};
    while (end->consumed < byte_count) {
        const uint8_t *at = bytes + end->consumed;
        const size_t count = byte_count - (size_t)end->consumed;
        fixed_header fixed;
        kf_publish frame = {0};
        uint32_t status = read_fixed_header(at, count, &fixed);
        size_t length = fixed.header + fixed.body;

        if (status != KF_FRAMES_DONE)
            return status;
        if (fixed.header == 0)
            break;
        if (at[0] >> 4 == PUBLISH)
            status = read_publish(at, count, fixed, rules, &frame, &length);
        if (status == KF_FRAMES_OVERSIZE) {
            end->oversize = fixed.header + fixed.body;
            end->packet_id = (frame.flags & 6U) == 2 ? frame.packet_id : 0;
        }
        if (status != KF_FRAMES_DONE)
            return status;
        if (length > count) {
            end->needed = length;
            break;
        }
        if (!add(at, length, frame, rules, frames, frame_capacity, controls, control_capacity, end))
            return KF_FRAMES_FULL;
        end->consumed += length;
    }
    return KF_FRAMES_DONE;
}
