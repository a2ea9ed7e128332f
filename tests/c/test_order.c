/* test_order.c: whatever arrives, each event goes on once and whole, in the order of seq where it can be, and
 * nothing is read or written past the end. */
#include "claims.h"

#define DEVICES 3
#define EVENTS 200
#define PACKET_MAX 4096

/* Events in blocks of their exact sizes. */
typedef struct {
    kf_link links[DEVICES];
    kf_event *events;
    kf_packet *packets;
    uint8_t *bytes;
    size_t count, packet_count, byte_count;
    kf_ordered out;
} arrivals;

static arrivals *fill(uint64_t *dice)
{
    static uint8_t bytes[EVENTS * PACKET_MAX];
    arrivals *a = calloc(1, sizeof *a);
    int64_t now_ns = 1000000000;
    uint32_t seqs[DEVICES] = {0, UINT32_MAX - 20, 7000};

    HOLDS(a != NULL);
    a->count = chance(dice) % EVENTS;
    a->events = calloc(a->count ? a->count : 1, sizeof *a->events);
    a->packets = calloc(a->count ? a->count : 1, sizeof *a->packets);
    HOLDS(a->events != NULL && a->packets != NULL);
    for (size_t i = 0; i < DEVICES; i++)
        a->links[i] = (kf_link){.first_waiting = KF_NONE, .flags = i == 1 ? KF_LINK_RECORDED : 0};
    for (size_t i = 0; i < a->count; i++) {
        const uint32_t device = (uint32_t)(chance(dice) % DEVICES), kind = (uint32_t)(chance(dice) % 20);
        head h = usual_head();
        now_ns += (int64_t)(chance(dice) % 60000000);
        h.seq = seqs[device]++ + (uint32_t)(chance(dice) % 8 ? 0 : chance(dice) % 20) - 3;
        h.boot = chance(dice) % 50 ? 7 : (uint32_t)(chance(dice) % 3);
        h.count = chance(dice) % 20 ? 10 : 200;
        a->events[i] = (kf_event){.kind = kind < 3   ? 1 + kind
                                          : kind < 5 ? KF_EVENT_STATUS
                                                     : KF_EVENT_IMU,
                                  .device = device,
                                  .index = (uint32_t)a->packet_count,
                                  .arrived_ns = now_ns};
        if (a->events[i].kind != KF_EVENT_IMU)
            continue;
        const size_t length = write_packet(bytes + a->byte_count, &h, NULL) - (chance(dice) % 30 == 0);
        a->packets[a->packet_count++] =
            (kf_packet){.device = device, .offset = a->byte_count, .length = length};
        a->byte_count += length;
    }
    a->bytes = malloc(a->byte_count ? a->byte_count : 1);
    a->out.order = malloc((a->count ? a->count : 1) * sizeof *a->out.order);
    a->out.waiting = malloc((a->count ? a->count : 1) * sizeof *a->out.waiting);
    HOLDS(a->bytes != NULL && a->out.order != NULL && a->out.waiting != NULL);
    memcpy(a->bytes, bytes, a->byte_count);
    return a;
}

static void drop(arrivals *a)
{
    free(a->events);
    free(a->packets);
    free(a->bytes);
    free(a->out.order);
    free(a->out.waiting);
    free(a);
}

static int order(arrivals *a, int64_t now_ns)
{
    return kf_order(a->links, a->packets, a->events, a->count, a->bytes, a->byte_count, now_ns, &a->out);
}

static void each_event_goes_on_once_or_waits(void)
{
    uint64_t dice = 11;

    for (int round = 0; round < 2000; round++) {
        arrivals *a = fill(&dice);
        const int changed = order(a, chance(&dice) % 2 ? INT64_MAX : 0);
        uint8_t seen[EVENTS] = {0};
        size_t statuses = 0;

        for (size_t i = 0; i < a->out.ordered; i++)
            seen[a->out.order[i]]++;
        for (size_t i = 0; i < a->out.waiting_count; i++)
            seen[a->out.waiting[i].place]++;
        for (size_t i = 0; i < a->count; i++) {
            const int status = a->events[i].kind == KF_EVENT_STATUS;
            HOLDS(seen[i] == !status);
            statuses += (size_t)status;
        }
        HOLDS(a->out.ordered + a->out.waiting_count + statuses == a->count);
        for (size_t i = 0; !changed && i < a->count; i++)
            HOLDS(a->out.order[i] == i);
        for (size_t i = 0; i < DEVICES; i++)
            HOLDS(a->links[i].waiting_count == 0 && a->links[i].first_waiting == KF_NONE);
        drop(a);
    }
}

static void few_of_a_device_wait(void)
{
    uint64_t dice = 13;

    for (int round = 0; round < 500; round++) {
        arrivals *a = fill(&dice);
        size_t waiting[DEVICES] = {0};

        (void)order(a, 0);
        for (size_t i = 0; i < a->out.waiting_count; i++) {
            const kf_event *e = &a->events[a->out.waiting[i].place];
            HOLDS(++waiting[e->device] <= KF_ORDER_PACKETS);
            HOLDS(a->packets[e->index].length <= KF_ORDER_BYTES);
        }
        drop(a);
    }
}

static void nothing_waits_for_ever(void)
{
    uint64_t dice = 17;

    for (int round = 0; round < 500; round++) {
        arrivals *a = fill(&dice);

        (void)order(a, INT64_MAX);
        HOLDS(a->out.waiting_count == 0);
        drop(a);
    }
}

static void a_packet_whose_bytes_are_not_there_goes_on(void)
{
    kf_link link = {.first_waiting = KF_NONE};
    const kf_event e = {.kind = KF_EVENT_IMU};
    kf_packet p = {.offset = 9, .length = 50};
    const uint8_t bytes[4] = {0};
    uint32_t place;
    kf_waiting waiting;
    kf_ordered out = {.order = &place, .waiting = &waiting};

    HOLDS(kf_order(&link, &p, &e, 1, bytes, sizeof bytes, 0, &out) == 0);
    HOLDS(out.ordered == 1 && place == 0 && out.waiting_count == 0);
}

int main(void)
{
    CLAIM(each_event_goes_on_once_or_waits);
    CLAIM(few_of_a_device_wait);
    CLAIM(nothing_waits_for_ever);
    CLAIM(a_packet_whose_bytes_are_not_there_goes_on);
    return 0;
}
