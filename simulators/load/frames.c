/* frames.c: what a device sends, as MQTT 3.1.1 frames, written without a detour.
 * http://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html */
#include <string.h>

#include "internal.h"

enum { IMU_HEADER = 40, COLUMN_BYTES = 2 };

static uint8_t *put(uint8_t *at, const void *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    return put(at, text, strlen(text));
}

static uint8_t *put_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

/* Decimal digits. */
static uint8_t *put_number(uint8_t *at, uint64_t value)
{
    uint8_t digits[20];
    size_t count = 0;

    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count) {
        *at++ = digits[--count];
    }
    return at;
}

/* First byte and remaining length. */
static uint8_t *put_fixed(uint8_t *at, unsigned kind, size_t remaining)
{
    *at++ = (uint8_t)kind;
    do {
        const uint8_t low = (uint8_t)(remaining & 0x7F);

        remaining >>= 7;
        *at++ = remaining ? (uint8_t)(low | 0x80) : low;
    } while (remaining);
    return at;
}

/* A PUBLISH up to its payload: root/in/ID/NAME. */
static uint8_t *put_publish(const ld_load *load, uint8_t *at, unsigned flags, const ld_stream *stream,
                            const char *name, uint16_t packet_id, size_t payload_length)
{
    static const char in[] = "/in/";
    const size_t topic = strlen(load->root) + sizeof in - 1 + strlen(stream->id) + 1 + strlen(name);
    const size_t id_length = flags & QOS_1 ? 2 : 0;

    at = put_fixed(at, PUBLISH | flags, 2 + topic + id_length + payload_length);
    at = put_u16(at, topic);
    at = put_text(at, load->root);
    at = put_text(at, in);
    at = put_text(at, stream->id);
    *at++ = '/';
    at = put_text(at, name);
    return id_length ? put_u16(at, packet_id) : at;
}

static uint16_t next_id(ld_link *link)
{
    link->packet_id = (uint16_t)(link->packet_id + 1);
    link->packet_id = link->packet_id ? link->packet_id : 1;
    return link->packet_id;
}

size_t ld_connect_frame(uint8_t *frame, const char *id)
{
    static const uint8_t head[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 0x02, 0, 0}; /* clean session, no keepalive */
    uint8_t *at = put_fixed(frame, CONNECT, sizeof head + 2 + strlen(id));

    at = put(at, head, sizeof head);
    at = put_u16(at, strlen(id));
    return (size_t)(put_text(at, id) - frame);
}

size_t ld_subscribe_frame(uint8_t *frame, const char *root)
{
    static const char live[] = "/athletes/+/live";
    const size_t filter = strlen(root) + sizeof live - 1;
    uint8_t *at = put_fixed(frame, SUBSCRIBE, 2 + 2 + filter + 1);

    at = put_u16(at, 1);
    at = put_u16(at, filter);
    at = put_text(at, root);
    at = put_text(at, live);
    *at++ = 0; /* QoS */
    return (size_t)(at - frame);
}

size_t ld_birth_frame(const ld_load *load, const ld_stream *stream, uint8_t *frame)
{
    uint8_t payload[1024];
    uint8_t *end = put_text(payload, "{\"boot\":");
    uint8_t *at;

    end = put_number(end, stream->boot);
    *end++ = ',';
    end = put_text(end, load->birth[stream->kind]);
    *end++ = '}';
    at = put_publish(load, frame, RETAIN, stream, "status", 0, (size_t)(end - payload));
    return (size_t)(put(at, payload, (size_t)(end - payload)) - frame);
}

/* The IMU packet of docs/protocol.md; the rest of its header is the same for all. */
static size_t make_imu(ld_load *load, ld_stream *stream, int64_t device_ns, unsigned flags, uint8_t *frame)
{
    const uint32_t samples = load->packet_samples;
    const size_t row = (size_t)LD_COLUMNS * COLUMN_BYTES;
    const uint32_t dt_ns = (uint32_t)(stream->period_ns / samples);
    const int64_t t0_ns = device_ns - (int64_t)(samples - 1) * dt_ns;
    const uint16_t id = flags & QOS_1 ? next_id(&load->links[stream->link]) : 0;
    uint8_t *head = put_publish(load, frame, flags, stream, "imu", id, IMU_HEADER + samples * row);
    const int16_t *motion = load->motion + (size_t)stream->recording * load->recording_samples * LD_COLUMNS;
    uint8_t *at = put(head, load->header, IMU_HEADER);

    memcpy(head + 4, &stream->boot, 4);
    memcpy(head + 8, &t0_ns, 8);
    memcpy(head + 16, &stream->seq, 4);
    memcpy(head + 20, &dt_ns, 4);
    for (uint32_t left = samples; left;) {
        const uint32_t whole = load->recording_samples - stream->at;
        const uint32_t take = left < whole ? left : whole;

        at = put(at, motion + (size_t)stream->at * LD_COLUMNS, take * row);
        stream->at = take == whole ? 0 : stream->at + take;
        left -= take;
    }
    return (size_t)(at - frame);
}

static size_t make_hr(ld_load *load, ld_stream *stream, int64_t device_ns, unsigned flags, uint8_t *frame)
{
    const ld_reading *reading =
        load->pulse + (size_t)stream->recording * load->recording_readings + stream->at;
    const uint16_t id = flags & QOS_1 ? next_id(&load->links[stream->link]) : 0;
    uint8_t payload[256];
    uint8_t *end = put_text(payload, "{\"t\":");
    uint8_t *at;

    end = put_number(end, (uint64_t)(device_ns - reading->back_ns));
    end = put_text(end, ",\"boot\":");
    end = put_number(end, stream->boot);
    end = put_text(end, ",\"seq\":");
    end = put_number(end, stream->seq);
    *end++ = ',';
    end = put(end, reading->text, reading->length);
    *end++ = '}';
    stream->at = stream->at + 1 == load->recording_readings ? 0 : stream->at + 1;
    at = put_publish(load, frame, flags, stream, "hr", id, (size_t)(end - payload));
    return (size_t)(put(at, payload, (size_t)(end - payload)) - frame);
}

size_t ld_make(ld_load *load, uint32_t number, uint8_t *frame)
{
    ld_stream *stream = &load->streams[number];
    const int64_t device_ns = stream->device_ns + (int64_t)(stream->seq - stream->first) * stream->period_ns;
    const unsigned flags = load->qos ? QOS_1 : 0;
    size_t length;

    if (stream->kind == LD_IMU) {
        length = make_imu(load, stream, device_ns, flags, frame);
    } else {
        length = make_hr(load, stream, device_ns, flags, frame);
    }
    stream->seq++;
    return length;
}

int64_t ld_intended(const ld_stream *stream, uint32_t seq)
{
    const double counted_ns = (double)(seq - stream->first) * (double)stream->period_ns;

    return stream->origin_ns + (int64_t)(counted_ns / (1.0 + stream->skew));
}

/* xorshift64*: Vigna 2016, doi:10.1145/2845077. */
static uint32_t random_u32(ld_load *load)
{
    uint64_t x = load->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    load->random = x;
    return (uint32_t)((x * UINT64_C(2685821657736338717)) >> 32);
}

bool ld_chance(ld_load *load, uint32_t share)
{
    return share && random_u32(load) < share;
}

/* Spoil the payload; the frame stays a frame. */
void ld_malform(ld_load *load, const ld_stream *stream, uint8_t *frame, size_t length)
{
    if (stream->kind == LD_IMU) {
        const size_t payload = IMU_HEADER + (size_t)load->packet_samples * LD_COLUMNS * COLUMN_BYTES;

        frame[length - payload + random_u32(load) % 3] = 0xFF; /* magic, version or columns */
    } else {
        frame[length - 1] = 0xFF; /* the closing brace */
    }
}
