/* test_arrivals.c: frames become packets and events once each and in their order, and nothing is read or
 * written past the end. */
#include "claims.h"

#define FRAMES_MAX 40
#define LINKS 4

static void *block(size_t count, size_t size)
{
    void *found = calloc(count ? count : 1, size);

    HOLDS(found != NULL);
    return found;
}

static kf_stretch stretch_of(size_t count)
{
    return (kf_stretch){.frames = block(count, sizeof(kf_publish)),
                        .arrived_ns = block(count, sizeof(int64_t)),
                        .received_ns = block(count, sizeof(int64_t)),
                        .known = block(count, 1),
                        .count = count};
}

static void drop(kf_stretch *s)
{
    free(s->frames);
    free(s->arrived_ns);
    free(s->received_ns);
    free(s->known);
}

static void joined_chunks_keep_their_bytes_and_their_times(void)
{
    const kf_chunk chunks[] = {{2, 100, 7, 1}, {0, 0, 8, 2}, {1, 30, 9, 3}};
    kf_stretch s = stretch_of(3);

    s.frames[0] = (kf_publish){.topic = 2, .payload = 10};
    s.frames[1] = (kf_publish){.topic = 50, .payload = 60};
    s.frames[2] = (kf_publish){.topic = 2, .payload = 10};
    kf_stretch_join(&s, chunks, 3);
    HOLDS(s.frames[1].topic == 50 && s.frames[1].payload == 60);
    HOLDS(s.frames[2].topic == 102 && s.frames[2].payload == 110);
    HOLDS(s.arrived_ns[1] == 7 && s.received_ns[1] == 1 && s.arrived_ns[2] == 9 && s.received_ns[2] == 3);
    drop(&s);
}

static int is_known(kf_publish frame, uint8_t first, uint32_t plain, kf_link link)
{
    const kf_flat message = {.plain = plain};
    kf_stretch s = stretch_of(1);

    s.frames[0] = frame;
    s.messages = &message;
    const size_t unknown = kf_stretch_look(&s, &first, &link, 1);
    const int known = s.known[0];
    HOLDS(unknown == 1 - (size_t)known);
    drop(&s);
    return known;
}

static void who_needs_no_look_is_known_and_plain(void)
{
    const kf_publish imu = {.kind = KF_TOPIC_IMU, .payload_length = 1};
    const kf_publish hr = {.kind = KF_TOPIC_HR, .payload_length = 1};
    const kf_link sends = {.flags = KF_LINK_FRAMES, .seen = KF_NONE}, told = {.seen = 3};
    kf_publish other;

    HOLDS(is_known(imu, KF_MAGIC, 0, sends) && is_known(hr, '{', 1, told));
    HOLDS(!is_known(imu, '{', 1, sends) && !is_known(imu, KF_MAGIC, 0, told));
    HOLDS(!is_known(hr, '{', 0, told) && !is_known(hr, '{', 1, sends));
    HOLDS(!is_known(hr, '{', 1, (kf_link){.seen = 3, .flags = KF_LINK_SPECIAL}));
    other = imu;
    other.payload_length = 0;
    other.payload = 1; /* at the end of the bytes */
    HOLDS(!is_known(other, KF_MAGIC, 0, sends));
    other = hr;
    other.flags = KF_FRAME_RETAIN;
    HOLDS(!is_known(other, '{', 1, told));
    other = hr;
    other.device = KF_NO_DEVICE;
    HOLDS(!is_known(other, '{', 1, told));
}

/* A stretch by chance; half of it is known. Of heart rates each tells 60 bpm, and its place as its seq. */
static kf_stretch fill(uint64_t *dice, size_t count, kf_flat *messages)
{
    kf_stretch s = stretch_of(count);

    for (size_t i = 0; i < count; i++) {
        s.frames[i] = (kf_publish){.payload = (uint32_t)i * 10,
                                   .payload_length = 9,
                                   .device = (uint32_t)(chance(dice) % LINKS),
                                   .kind = chance(dice) % 3 ? KF_TOPIC_IMU : KF_TOPIC_HR};
        messages[i] = (kf_flat){.values = {60, NAN, NAN},
                                .told = KF_FLAT_SEQ,
                                .seq = (uint32_t)(i % 8 ? i : 0), /* some come again */
                                .list = {1000},
                                .list_count = i % 5 == 4};
        s.arrived_ns[i] = (int64_t)i;
        s.known[i] = chance(dice) % 2;
    }
    s.messages = messages;
    return s;
}

static void look_at(const kf_taken *t, const kf_stretch *s, const kf_link *links)
{
    size_t packet = 0, record = 0;

    for (size_t n = 0; n < t->event_count; n++) {
        const kf_event *e = &t->events[n];
        const size_t i = e->message - 1000;
        HOLDS(n == 0 || e->message > e[-1].message);
        HOLDS(s->known[i] && e->device == s->frames[i].device && e->athlete == links[e->device].athlete);
        HOLDS(e->arrived_ns == (int64_t)i);
        if (s->frames[i].kind != KF_TOPIC_IMU) {
            HOLDS(e->kind == KF_EVENT_SAMPLE && e->seq == s->messages[i].seq && e->index == 30 + record);
            HOLDS(t->records[record++].heart_rate.bpm == 60);
            continue;
        }
        const kf_packet *p = &t->packets[packet];
        HOLDS(e->kind == KF_EVENT_IMU && e->index == 20 + packet++);
        HOLDS(p->device == links[e->device].core && p->offset == 400 + i * 10 && p->length == 9);
        HOLDS(p->kind == KF_BINARY && p->way == KF_WAY_ON);
    }
    HOLDS(packet == t->packet_count && record == t->record_count);
}

static void each_known_frame_is_taken_or_refused_once(void)
{
    uint64_t dice = 3;

    for (int round = 0; round < 500; round++) {
        const size_t count = chance(&dice) % FRAMES_MAX, first = count ? chance(&dice) % count : 0;
        kf_link links[LINKS] = {{.core = 9}, {.core = 8, .seen = 1}, {.core = 7, .seen = 2}, {.athlete = 5}};
        kf_seen *seen = block(LINKS, sizeof *seen);
        kf_beats *beats = block(LINKS, sizeof *beats);
        kf_flat messages[FRAMES_MAX];
        kf_stretch s = fill(&dice, count, messages);
        kf_taken t = {.packets = block(count - first, sizeof(kf_packet)),
                      .events = block(count - first, sizeof(kf_event)),
                      .records = block(count - first, sizeof(kf_record)),
                      .refused = block(count - first, sizeof(kf_refusal)),
                      .next = first,
                      .first_message = 1000,
                      .first_packet = 20,
                      .first_record = 30,
                      .offset = 400};
        size_t known = 0;

        links[3].seen = 3;
        for (uint32_t i = 0; i < LINKS; i++)
            links[i].beats = KF_NONE;
        while (kf_stretch_take(&t, &s, links, seen, beats, count)) {
            kf_link *link = &links[s.frames[t.next].device];
            HOLDS(link->beats == KF_NONE && messages[t.next].list_count);
            link->beats = (uint32_t)(link - links);
        }
        for (size_t i = first; i < count; i++)
            known += s.known[i];
        HOLDS(t.next == count && t.event_count + t.refused_count == known);
        for (size_t i = 0; i < t.refused_count; i++)
            HOLDS(t.refused[i].reason == KF_SEEN_BEFORE && t.refused[i].event % 8 == 0);
        look_at(&t, &s, links);
        free(t.packets);
        free(t.events);
        free(t.records);
        free(t.refused);
        free(seen);
        free(beats);
        drop(&s);
    }
}

static void events_of_two_ways_stand_in_the_order_of_arrival(void)
{
    uint64_t dice = 5;

    for (int round = 0; round < 500; round++) {
        const uint32_t count = (uint32_t)(chance(&dice) % FRAMES_MAX);
        kf_event from[2][FRAMES_MAX], *events = block(count, sizeof *events);
        kf_packet made[2][FRAMES_MAX], *packets = block(count, sizeof *packets);
        kf_part parts[2] = {{from[0], made[0], 0, 0}, {from[1], made[1], 0, 5}};
        uint32_t packet_count[2] = {0}, motion = 0;

        for (uint32_t i = 0; i < count; i++) {
            const uint32_t p = chance(&dice) % 2;
            kf_event e = {.kind = KF_EVENT_SAMPLE, .message = i, .index = i % 3 ? i : KF_NONE, .device = p};
            if (chance(&dice) % 2) {
                e.kind = KF_EVENT_IMU;
                e.index = packet_count[p]++;
                made[p][e.index] = (kf_packet){.offset = i};
            }
            from[p][parts[p].count++] = e;
        }
        kf_merge(&parts[0], &parts[1], events, packets);
        for (uint32_t i = 0; i < count; i++) {
            HOLDS(events[i].message == i);
            if (events[i].kind == KF_EVENT_SAMPLE) {
                HOLDS(events[i].index == (i % 3 ? i + 5 * events[i].device : KF_NONE));
                continue;
            }
            HOLDS(events[i].index == motion && packets[motion].offset == i);
            motion++;
        }
        free(events);
        free(packets);
    }
}

int main(void)
{
    CLAIM(joined_chunks_keep_their_bytes_and_their_times);
    CLAIM(who_needs_no_look_is_known_and_plain);
    CLAIM(each_known_frame_is_taken_or_refused_once);
    CLAIM(events_of_two_ways_stand_in_the_order_of_arrival);
    return 0;
}
