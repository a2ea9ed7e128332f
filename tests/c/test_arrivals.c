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
    const size_t unknown = kf_stretch_look(&s, &first, &message, &link, 1);
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

/* Fill a stretch by chance; half of it is known. */
static kf_stretch fill(uint64_t *dice, size_t count)
{
    kf_stretch s = stretch_of(count);

    for (size_t i = 0; i < count; i++) {
        s.frames[i] = (kf_publish){.payload = (uint32_t)i * 10,
                                   .payload_length = 9,
                                   .device = (uint32_t)chance(dice) % LINKS,
                                   .kind = chance(dice) % 3 ? KF_TOPIC_IMU : KF_TOPIC_HR};
        s.arrived_ns[i] = (int64_t)i;
        s.known[i] = chance(dice) % 2;
    }
    return s;
}

static void each_known_frame_is_taken_once(void)
{
    const kf_link links[LINKS] = {{.core = 9}, {.core = 8}, {.core = 7}, {.core = 6, .athlete = 5}};
    uint64_t dice = 3;

    for (int round = 0; round < 500; round++) {
        const size_t count = chance(&dice) % FRAMES_MAX, begin = count ? chance(&dice) % count : 0;
        kf_stretch s = fill(&dice, count);
        kf_packet *packets = block(count - begin, sizeof *packets);
        kf_event *events = block(count - begin, sizeof *events);
        int64_t *low = block(count - begin, sizeof *low);
        size_t low_count = 99, motion = 0, other = 0;

        const size_t taken =
            kf_stretch_take(&s, links, begin, count, 1000, 20, 400, packets, events, low, &low_count);
        for (size_t i = begin; i < count; i++) {
            const kf_publish *f = &s.frames[i];
            if (s.known[i] && f->kind != KF_TOPIC_IMU)
                HOLDS(low[other++] == (int64_t)i);
            if (!s.known[i] || f->kind != KF_TOPIC_IMU)
                continue;
            const kf_packet *p = &packets[motion];
            const kf_event *e = &events[motion];
            HOLDS(p->device == links[f->device].core && p->offset == 400 + i * 10 && p->length == 9);
            HOLDS(p->kind == KF_BINARY && p->way == KF_WAY_ON);
            HOLDS(e->device == f->device && e->athlete == links[f->device].athlete);
            HOLDS(e->message == 1000 + i && e->index == 20 + motion && e->arrived_ns == (int64_t)i);
            motion++;
        }
        HOLDS(motion == taken && other == low_count);
        free(packets);
        free(events);
        free(low);
        drop(&s);
    }
}

static void parts_merge_in_the_order_of_arrival(void)
{
    uint64_t dice = 5;

    for (int round = 0; round < 500; round++) {
        const size_t count = chance(&dice) % FRAMES_MAX;
        kf_event from[KF_PARTS][FRAMES_MAX], *events = block(count, sizeof *events);
        kf_packet made[KF_PARTS][FRAMES_MAX], *packets = block(count, sizeof *packets);
        kf_part parts[KF_PARTS] = {
            {from[0], made[0], 0, 0}, {from[1], made[1], 0, 5}, {from[2], made[2], 0, 0}};
        uint32_t packet_count[KF_PARTS] = {0}, motion = 0;

        for (uint32_t i = 0; i < count; i++) {
            const size_t p = chance(&dice) % KF_PARTS;
            const int imu = chance(&dice) % 2;
            made[p][packet_count[p]].offset = i;
            from[p][parts[p].count++] = (kf_event){.kind = imu ? KF_EVENT_IMU : KF_EVENT_SAMPLE,
                                                   .message = i,
                                                   .index = imu     ? packet_count[p]++
                                                            : i % 3 ? i
                                                                    : KF_NONE,
                                                   .device = (uint32_t)p};
        }
        kf_merge(parts, KF_PARTS, events, packets);
        for (uint32_t i = 0; i < count; i++) {
            HOLDS(events[i].message == i);
            if (events[i].kind == KF_EVENT_IMU)
                HOLDS(events[i].index == motion && packets[motion++].offset == i);
            else
                HOLDS(events[i].index == (i % 3 ? i + (events[i].device == 1 ? 5 : 0) : KF_NONE));
        }
        free(events);
        free(packets);
    }
}

int main(void)
{
    CLAIM(joined_chunks_keep_their_bytes_and_their_times);
    CLAIM(who_needs_no_look_is_known_and_plain);
    CLAIM(each_known_frame_is_taken_once);
    CLAIM(parts_merge_in_the_order_of_arrival);
    return 0;
}
