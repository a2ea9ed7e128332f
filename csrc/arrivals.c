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

size_t kf_stretch_look(kf_stretch *s, const uint8_t *bytes, const kf_link *links, size_t link_count)
{
    size_t unknown = 0;

    for (size_t i = 0; i < s->count; i++) {
        const kf_publish *f = &s->frames[i];
        s->known[i] = f->device < link_count && !(f->flags & KF_FRAME_RETAIN) &&
                      is_known(f, bytes, &s->messages[i], &links[f->device]);
        unknown += !s->known[i];
    }
    return unknown;
}

/* Begin the event of a frame. */
static kf_event *begin(kf_taken *t, const kf_stretch *s, const kf_link *link, uint32_t kind)
{
    kf_event *e = &t->events[t->event_count++];

    *e = (kf_event){.kind = kind,
                    .message = t->first_message + (uint32_t)t->next,
                    .device = s->frames[t->next].device,
                    .athlete = link->athlete,
                    .index = KF_NONE,
                    .arrived_ns = s->arrived_ns[t->next],
                    .received_ns = s->received_ns[t->next]};
    return e;
}

static void take_motion(kf_taken *t, const kf_stretch *s, const kf_link *link)
{
    const kf_publish *f = &s->frames[t->next];

    begin(t, s, link, KF_EVENT_IMU)->index = t->first_packet + (uint32_t)t->packet_count;
    t->packets[t->packet_count++] = (kf_packet){.device = link->core,
                                                .kind = KF_BINARY,
                                                .offset = f->payload + t->offset,
                                                .length = f->payload_length};
}

static void take_message(kf_taken *t, const kf_stretch *s, kf_link *link, kf_seen *seen, kf_beats *beats)
{
    const kf_publish *f = &s->frames[t->next];
    const kf_flat *message = &s->messages[t->next];
    const uint32_t verdict = kf_admit(link, seen, f->kind, message, s->arrived_ns[t->next]);

    if (verdict != KF_ADMITTED) {
        t->refused[t->refused_count++] = (kf_refusal){f->device, verdict, (uint32_t)t->next};
        return;
    }
    kf_event *e = begin(t, s, link, KF_EVENT_SAMPLE);
    e->flags = (message->told & KF_FLAT_T ? KF_EVENT_TIMED : 0u) |
               (message->told & KF_FLAT_BOOT ? KF_EVENT_BOOT : 0u);
    e->t_ns = message->t_ns;
    e->boot = message->boot;
    e->seq = message->seq;
    e->stream = 2u * f->kind + kf_may_rest(f->kind, message);
    const uint32_t measures = kf_measure(beats, link, f->kind, message, message->list, message->list_count,
                                         &t->records[t->record_count]);
    if (measures == KF_NONE)
        return;
    e->measures = measures;
    e->index = t->first_record + (uint32_t)t->record_count++;
}

int kf_stretch_take(kf_taken *t, const kf_stretch *s, kf_link *links, kf_seen *seen, kf_beats *beats,
                    size_t end)
{
    for (; t->next < end; t->next++) {
        const kf_publish *f = &s->frames[t->next];
        if (!s->known[t->next])
            continue;
        kf_link *link = &links[f->device];
        const bool tells_beats = f->kind == KF_TOPIC_HR && s->messages[t->next].list_count;
        if (tells_beats && link->beats == KF_NONE)
            return 1;
        if (f->kind == KF_TOPIC_IMU)
            take_motion(t, s, link);
        else
            take_message(t, s, link, seen, tells_beats ? &beats[link->beats] : NULL);
    }
    return 0;
}

void kf_merge(const kf_part *one, const kf_part *other, kf_event *events, kf_packet *packets)
{
    size_t next = 0, next_other = 0;
    uint32_t packet_count = 0;

    for (; next < one->count || next_other < other->count; events++) {
        const bool is_one =
            next_other == other->count ||
            (next < one->count && one->events[next].message < other->events[next_other].message);
        const kf_part *part = is_one ? one : other;
        *events = part->events[is_one ? next++ : next_other++];
        if (events->kind == KF_EVENT_IMU) {
            packets[packet_count] = part->packets[events->index];
            events->index = packet_count++;
        } else if (events->kind == KF_EVENT_SAMPLE && events->index != KF_NONE) {
            events->index += part->first_record;
        }
    }
}
