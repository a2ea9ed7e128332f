/* arrivals.c: frames of known devices become packets and events, in the order of arrival. */
#include "internal.h"

void kf_stretch_join(kf_stretch *s, const kf_chunk *chunks, size_t chunk_count)
{
    uint32_t offset = 0;
    size_t at = 0;

    for (const kf_chunk *c = chunks; c < chunks + chunk_count; c++) {
        for (const size_t end = at + c->frame_count; at < end; at++) {
            s->frames[at].topic += offset;
            s->frames[at].payload += offset;
            s->arrived_ns[at] = c->arrived_ns;
            s->received_ns[at] = c->received_ns;
        }
        offset += (uint32_t)c->byte_count;
    }
}

static bool is_known(const kf_publish *f, const uint8_t *bytes, const kf_flat *message, const kf_link *link)
{
    if (link->flags & KF_LINK_SPECIAL)
        return false;
    if (f->kind == KF_TOPIC_IMU)
        return link->flags & KF_LINK_FRAMES && f->payload_length && bytes[f->payload] == KF_MAGIC;
    return message->plain && link->seen != KF_NONE;
}

size_t kf_stretch_look(kf_stretch *s, const uint8_t *bytes, const kf_flat *messages, const kf_link *links,
                       size_t link_count)
{
    size_t unknown = 0;

    for (size_t i = 0; i < s->count; i++) {
        const kf_publish *f = &s->frames[i];
        s->known[i] = f->device < link_count && !(f->flags & KF_FRAME_RETAIN) &&
                      is_known(f, bytes, &messages[i], &links[f->device]);
        unknown += !s->known[i];
    }
    return unknown;
}

size_t kf_stretch_take(const kf_stretch *s, const kf_link *links, size_t begin, size_t end,
                       uint32_t first_message, uint32_t first_packet, uint64_t offset, kf_packet *packets,
                       kf_event *events, int64_t *low, size_t *low_count)
{
    size_t taken = 0;

    *low_count = 0;
    for (size_t i = begin; i < end; i++) {
        const kf_publish *f = &s->frames[i];
        if (!s->known[i])
            continue;
        if (f->kind != KF_TOPIC_IMU) {
            low[(*low_count)++] = (int64_t)i;
            continue;
        }
        const kf_link *link = &links[f->device];
        packets[taken] = (kf_packet){.device = link->core,
                                     .kind = KF_BINARY,
                                     .offset = f->payload + offset,
                                     .length = f->payload_length};
        events[taken] = (kf_event){.kind = KF_EVENT_IMU,
                                   .message = first_message + (uint32_t)i,
                                   .device = f->device,
                                   .athlete = link->athlete,
                                   .index = first_packet + (uint32_t)taken,
                                   .arrived_ns = s->arrived_ns[i],
                                   .received_ns = s->received_ns[i]};
        taken++;
    }
    return taken;
}

/* Which part goes on: the one whose next event is of the lowest message; part_count: all are at their ends.
 */
static size_t next_part(const kf_part *parts, size_t part_count, const size_t *next)
{
    size_t first = part_count;

    for (size_t p = 0; p < part_count; p++) {
        if (next[p] < parts[p].count && (first == part_count || parts[p].events[next[p]].message <
                                                                    parts[first].events[next[first]].message))
            first = p;
    }
    return first;
}

void kf_merge(const kf_part *parts, size_t part_count, kf_event *events, kf_packet *packets)
{
    size_t next[KF_PARTS] = {0};
    uint32_t packet_count = 0;

    for (size_t p; (p = next_part(parts, part_count, next)) < part_count; events++) {
        *events = parts[p].events[next[p]++];
        if (events->kind == KF_EVENT_IMU) {
            packets[packet_count] = parts[p].packets[events->index];
            events->index = packet_count++;
        } else if (events->kind == KF_EVENT_SAMPLE && events->index != KF_NONE) {
            events->index += parts[p].first_record;
        }
    }
}
