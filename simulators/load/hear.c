/* hear.c: what the subscriber hears, and the histograms. */
#define _GNU_SOURCE /* NOLINT: it gives memmem */
#include <string.h>

#include "internal.h"

enum { SUBDIVISION_BITS = 5, ATHLETE_DIGITS = 5 };

/* The bucket of a time, as server.deadlines.bucket. */
static uint32_t bucket(uint64_t ns)
{
    const int shift = ns ? 64 - __builtin_clzll(ns) - SUBDIVISION_BITS - 1 : 0;
    uint64_t index;

    if (shift <= 0) {
        return (uint32_t)ns;
    }
    index = ((uint64_t)shift << SUBDIVISION_BITS) + (ns >> shift);
    return index < LD_BUCKETS ? (uint32_t)index : LD_BUCKETS - 1;
}

void ld_count(uint32_t *histogram, int64_t *max_ns, int64_t ns)
{
    ns = ns > 0 ? ns : 0;
    histogram[bucket((uint64_t)ns)]++;
    *max_ns = ns > *max_ns ? ns : *max_ns;
}

/* The bin that holds a time; NULL before the first and after the last. */
ld_bin *ld_bin_at(ld_load *load, int64_t t_ns)
{
    const int64_t since_ns = t_ns - load->begin_ns;

    if (since_ns < 0 || since_ns / LD_BIN_NS >= load->bin_count) {
        return NULL;
    }
    return &load->bins[since_ns / LD_BIN_NS];
}

/* Text that is being read; at == end is its end. */
typedef struct {
    const char *at, *end;
} text;

/* What follows "name": in the text; at == end where it is not there. */
static text after(text in, const char *name)
{
    const size_t length = strlen(name);
    const char *found = memmem(in.at, (size_t)(in.end - in.at), name, length);

    if (!found) {
        return (text){in.end, in.end};
    }
    for (in.at = found + length; in.at < in.end && (*in.at == ':' || *in.at == ' ');) {
        in.at++;
    }
    return in;
}

static bool starts(text in, const char *word)
{
    const size_t length = strlen(word);

    return (size_t)(in.end - in.at) >= length && memcmp(in.at, word, length) == 0;
}

static bool read_number(text in, int64_t *value)
{
    const char *begin = in.at;

    *value = 0;
    for (; in.at < in.end && *in.at >= '0' && *in.at <= '9' && in.at - begin < 18; in.at++) {
        *value = *value * 10 + (*in.at - '0');
    }
    return in.at > begin;
}

/* The number in "a00017..."; false where there is no such athlete. */
static bool read_athlete(const ld_load *load, text in, uint32_t *athlete)
{
    int64_t number;

    if (!starts(in, "a") || in.end - in.at < 1 + ATHLETE_DIGITS) {
        return false;
    }
    if (!read_number((text){in.at + 1, in.at + 1 + ATHLETE_DIGITS}, &number) || number >= load->athletes) {
        return false;
    }
    *athlete = (uint32_t)number;
    return true;
}

/* The stream that a cause names, with its seq; NULL where we have sent no such message. */
static const ld_stream *read_cause(const ld_load *load, text cause, uint32_t *seq)
{
    text device = after(cause, "\"device\"");
    int64_t boot, number;
    uint32_t athlete;
    const char *quote;

    device.at += device.at < device.end;
    quote = memchr(device.at, '"', (size_t)(device.end - device.at));
    if (!quote || !read_athlete(load, device, &athlete)) {
        return NULL;
    }
    if (!read_number(after(cause, "\"boot\""), &boot) || !read_number(after(cause, "\"seq\""), &number)) {
        return NULL;
    }
    for (uint32_t k = athlete; k < 2 * load->athletes; k += load->athletes) {
        const ld_stream *stream = &load->streams[k];
        const size_t length = strlen(stream->id);

        if ((size_t)(quote - device.at) == length && memcmp(device.at, stream->id, length) == 0) {
            *seq = (uint32_t)number;
            return boot == stream->boot && *seq - stream->first < stream->seq - stream->first ? stream : NULL;
        }
    }
    return NULL;
}

/* The athlete of root/athletes/ID/live. */
static bool topic_athlete(const ld_load *load, text topic, uint32_t *athlete)
{
    static const char middle[] = "/athletes/";
    const size_t root = strlen(load->root);

    if (!starts(topic, load->root) || !starts((text){topic.at + root, topic.end}, middle)) {
        return false;
    }
    return read_athlete(load, (text){topic.at + root + sizeof middle - 1, topic.end}, athlete);
}

void ld_hear(ld_load *load, const uint8_t *topic, size_t topic_length, const uint8_t *payload, size_t length,
             int64_t received_ns)
{
    const text name = {(const char *)topic, (const char *)topic + topic_length};
    const text body = {(const char *)payload, (const char *)payload + length};
    const text cause = after(body, "\"cause\"");
    ld_bin *bin;
    int64_t t_ms;
    uint32_t athlete, seq;

    if (!topic_athlete(load, name, &athlete) || !read_number(after(body, "\"t_ms\""), &t_ms) ||
        cause.at == cause.end) {
        load->stray++;
        return;
    }
    bin = ld_bin_at(load, t_ms * 1000000 - load->utc_ns);
    if (load->streams[athlete].apart) {
        if (bin) {
            bin->apart++;
        }
        return;
    }
    if (t_ms <= load->heard[athlete].last_ms) {
        if (bin) {
            bin->doubled++;
        }
        return;
    }
    load->heard[athlete].last_ms = t_ms;
    load->heard[athlete].heard++;
    if (bin) {
        bin->heard++;
        bin->uncaused += starts(cause, "null");
    }
    if (!starts(cause, "null")) {
        const ld_stream *stream = read_cause(load, cause, &seq);
        const int64_t intended_ns = stream ? ld_intended(stream, seq) : 0;

        load->stray += stream == NULL;
        bin = stream ? ld_bin_at(load, intended_ns) : NULL;
        if (bin) {
            ld_count(bin->end_to_end, &bin->end_to_end_max_ns, received_ns - intended_ns);
        }
    }
}

/* The bytes of a frame, and where its body begins; 0 where it has not come whole, SIZE_MAX where it is none.
 */
static size_t frame_length(const uint8_t *at, size_t have, size_t *body)
{
    size_t remaining = 0;

    for (size_t i = 1; i < 5; i++) {
        if (i >= have) {
            return 0;
        }
        remaining |= (size_t)(at[i] & 0x7F) << (7 * (i - 1));
        if (!(at[i] & 0x80)) {
            *body = i + 1;
            return have >= i + 1 + remaining ? i + 1 + remaining : 0;
        }
    }
    return SIZE_MAX;
}

/* Read the whole frames of the inbox; false where what came is no MQTT. */
bool ld_take_frames(ld_load *load, int64_t received_ns)
{
    size_t at = 0;

    for (;;) {
        const uint8_t *frame = load->inbox + at;
        size_t body = 0;
        const size_t length = frame_length(frame, load->inbox_used - at, &body);

        if (length == SIZE_MAX || (length == 0 && at == 0 && load->inbox_used == load->inbox_bytes)) {
            return false;
        }
        if (length == 0) {
            break;
        }
        if ((frame[0] & 0xF0) == PUBLISH && length >= body + 2) {
            const size_t topic = (size_t)frame[body] << 8 | frame[body + 1];
            const size_t payload = body + 2 + topic; /* it comes with QoS 0: no packet identifier */

            if (payload > length) {
                return false;
            }
            ld_hear(load, frame + body + 2, topic, frame + payload, length - payload, received_ns);
        } else if (frame[0] == SUBACK) {
            load->links[load->link_count].state = LD_UP;
        }
        at += length;
    }
    memmove(load->inbox, load->inbox + at, load->inbox_used - at);
    load->inbox_used -= (uint32_t)at;
    return true;
}
