/* run.c: the schedule. A heap holds what is due next of each stream; sending one moves only its own place. */
#define _GNU_SOURCE /* NOLINT: it gives ppoll */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { BURST_MAX = 32 };                      /* messages between two looks at what has come */
static const int64_t QUANTUM_NS = 250000;     /* shorter sleeps cost others the core, and gain little */
static const int64_t RECONNECT_NS = 10000000; /* between two looks at connections that are down */

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t ld_now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* Let the top sink to its place. */
static void sink(ld_due *heap, uint32_t count, uint32_t at)
{
    const ld_due moved = heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= count) {
            break;
        }
        child += child + 1 < count && heap[child + 1].due_ns < heap[child].due_ns;
        if (moved.due_ns <= heap[child].due_ns) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

void ld_schedule(ld_load *load)
{
    load->heap_count = 2 * load->athletes;
    for (uint32_t i = 0; i < load->heap_count; i++) {
        load->heap[i] = (ld_due){ld_intended(&load->streams[i], load->streams[i].seq), i, 0};
    }
    for (uint32_t i = load->heap_count / 2; i-- > 0;) {
        sink(load->heap, load->heap_count, i);
    }
}

int ld_open(ld_load *load)
{
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll < 0) {
        return errno;
    }
    for (uint32_t i = 0; i <= load->link_count; i++) {
        load->links[i].fd = -1;
        load->links[i].state = LD_DOWN;
        load->links[i].retry_ns = 0;
    }
    load->down = load->link_count + 1;
    load->cursor = load->link_count; /* the subscriber first */
    load->up = load->opening = load->heap_count = load->inbox_used = 0;
    load->random = load->random ? load->random : 1;
    return 0;
}

void ld_close(ld_load *load)
{
    static const uint8_t goodbye[] = {DISCONNECT, 0};

    for (uint32_t i = 0; i <= load->link_count; i++) {
        ld_link *link = &load->links[i];

        if (link->fd >= 0) {
            (void)ld_send(load, link, goodbye, sizeof goodbye);
        }
        if (link->fd >= 0) {
            (void)close(link->fd);
            link->fd = -1;
            link->state = LD_DOWN;
        }
    }
    (void)close(load->epoll);
    load->up = load->heap_count = 0;
}

/* Send the next message of a stream, or count it as unsent. */
static void send_one(ld_load *load, uint32_t number, int64_t due_ns)
{
    uint8_t frame[LD_FRAME_BYTES];
    ld_stream *stream = &load->streams[number];
    ld_link *link = &load->links[stream->link];
    ld_bin *bin = ld_bin_at(load, due_ns);
    const size_t length = ld_make(load, number, frame);
    const bool is_malformed = ld_chance(load, load->malformed);
    const bool is_doubled = ld_chance(load, load->duplicated);
    const int64_t late_ns = ld_now() - due_ns;
    bool was_sent;

    if (is_malformed) {
        ld_malform(load, stream, frame, length);
    }
    was_sent = ld_send(load, link, frame, length);
    link->unacked += was_sent && load->qos;
    if (was_sent && is_doubled && ld_send(load, link, frame, length)) {
        link->unacked += load->qos > 0;
    }
    if (!bin) {
        return;
    }
    bin->sent += was_sent;
    bin->unsent += !was_sent;
    bin->malformed += was_sent && is_malformed;
    bin->duplicated += was_sent && is_doubled;
    ld_count(bin->late, &bin->late_max_ns, late_ns);
}

/* Send what is due, at most BURST_MAX messages; return how many. */
static int send_due(ld_load *load)
{
    int count = 0;
    const int64_t now_ns = ld_now();

    while (count < BURST_MAX && load->heap_count && load->heap[0].due_ns <= now_ns) {
        const uint32_t number = load->heap[0].stream;

        send_one(load, number, load->heap[0].due_ns);
        load->heap[0].due_ns = ld_intended(&load->streams[number], load->streams[number].seq);
        sink(load->heap, load->heap_count, 0);
        count++;
    }
    return count;
}

/* How long there is nothing to do but to listen. */
static int64_t wait_ns(const ld_load *load, int64_t until_ns)
{
    const int64_t now_ns = ld_now();
    int64_t next_ns = until_ns;
    int64_t wait;

    if (load->heap_count && load->heap[0].due_ns < next_ns) {
        next_ns = load->heap[0].due_ns;
    }
    if (load->down && now_ns + RECONNECT_NS < next_ns) {
        next_ns = now_ns + RECONNECT_NS;
    }
    wait = next_ns - now_ns;
    return wait > QUANTUM_NS ? wait : QUANTUM_NS;
}

int ld_run(ld_load *load, int64_t until_ns)
{
    const int64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    int error = 0;

    while (!error && ld_now() < until_ns) {
        if (load->down) {
            ld_connect_some(load, ld_now());
        }
        if (send_due(load) < BURST_MAX) {
            const int64_t wait = wait_ns(load, until_ns);
            const struct timespec rest = {wait / 1000000000, wait % 1000000000};
            struct pollfd waiting = {.fd = load->epoll, .events = POLLIN};

            (void)ppoll(&waiting, 1, &rest, NULL);
        }
        error = ld_serve(load);
    }
    load->cpu_ns += (uint64_t)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns);
    return error;
}
