/* links.c: many connections to a broker on loopback, none of which is ever waited for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

enum { OPENING_MAX = 32, LOOKED_AT_MAX = 256, EVENTS_MAX = 256, READ_BYTES = 1024, SOCKET_BYTES = 16384 };
static const int64_t RETRY_NS = 200000000;

static uint32_t number_of(const ld_load *load, const ld_link *link)
{
    return (uint32_t)(link - load->links);
}

static bool is_subscriber(const ld_load *load, const ld_link *link)
{
    return number_of(load, link) == load->link_count;
}

static uint8_t *out_of(const ld_load *load, const ld_link *link)
{
    return load->out + (size_t)number_of(load, link) * LD_OUT_BYTES;
}

/* Be told when it can be read, or also when it can be written. */
static void watch(const ld_load *load, const ld_link *link, int operation, bool writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0),
                                .data.u32 = number_of(load, link)};

    (void)epoll_ctl(load->epoll, operation, link->fd, &event);
}

/* A connection is over: forget it, and try again later. */
static void drop(ld_load *load, ld_link *link)
{
    (void)close(link->fd);
    if (link->state == LD_UP && !is_subscriber(load, link)) {
        load->up--;
        load->losses++;
    } else if (link->state != LD_UP) {
        load->opening--;
    }
    load->unacked_lost += link->unacked;
    load->down++;
    link->unacked = link->pending = 0;
    link->in_used = 0;
    link->fd = -1;
    link->state = LD_DOWN;
    link->retry_ns = ld_now() + RETRY_NS;
    if (is_subscriber(load, link)) {
        load->inbox_used = 0;
    }
}

/* Bytes that the socket takes at once; less than 0 where it is broken. */
static ssize_t push(const ld_link *link, const uint8_t *bytes, size_t length)
{
    const ssize_t sent = send(link->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

/* Send, or keep for later what the socket does not take; false where there is no room or no connection. */
static bool write_or_keep(ld_load *load, ld_link *link, const uint8_t *frame, size_t length)
{
    ssize_t sent = 0;

    if (link->pending == 0) {
        sent = push(link, frame, length);
        if (sent < 0) {
            drop(load, link);
            return false;
        }
        if ((size_t)sent == length) {
            return true;
        }
    } else if (link->pending + length > LD_OUT_BYTES) {
        return false;
    }
    memcpy(out_of(load, link) + link->pending, frame + sent, length - (size_t)sent);
    if (link->pending == 0) {
        watch(load, link, EPOLL_CTL_MOD, true);
    }
    link->pending += (uint32_t)(length - (size_t)sent);
    return true;
}

bool ld_send(ld_load *load, ld_link *link, const uint8_t *frame, size_t length)
{
    return link->state == LD_UP && write_or_keep(load, link, frame, length);
}

/* The socket takes more. */
static void flush(ld_load *load, ld_link *link)
{
    uint8_t *out = out_of(load, link);
    const ssize_t sent = push(link, out, link->pending);

    if (sent < 0) {
        drop(load, link);
        return;
    }
    link->pending -= (uint32_t)sent;
    memmove(out, out + sent, link->pending);
    if (link->pending == 0) {
        watch(load, link, EPOLL_CTL_MOD, false);
    }
}

/* Begin a connection; returns an errno where that fails for want of something of ours. */
static int begin(ld_load *load, ld_link *link)
{
    const struct sockaddr_in broker = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)load->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int one = 1, bytes = SOCKET_BYTES;

    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        return errno;
    }
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!is_subscriber(load, link)) {
        (void)setsockopt(link->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    link->state = LD_CONNECTING;
    load->opening++;
    load->down--;
    if (connect(link->fd, (const struct sockaddr *)&broker, sizeof broker) < 0 && errno != EINPROGRESS) {
        const int error = errno;

        drop(load, link);
        return error == ECONNREFUSED || error == ECONNRESET ? 0 : error;
    }
    watch(load, link, EPOLL_CTL_ADD, true);
    return 0;
}

/* TCP stands: say who we are. */
static void greet(ld_load *load, ld_link *link)
{
    uint8_t frame[128];
    char id[32];
    int error = 0;
    socklen_t length = sizeof error;

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error) {
        drop(load, link);
        return;
    }
    if (is_subscriber(load, link)) {
        (void)snprintf(id, sizeof id, "load-listener");
    } else {
        (void)snprintf(id, sizeof id, "load-%s", load->streams[link->stream[0]].id);
    }
    link->state = LD_GREETING;
    watch(load, link, EPOLL_CTL_MOD, false);
    (void)write_or_keep(load, link, frame, ld_connect_frame(frame, id));
}

/* The broker has accepted: subscribe, or tell of the devices that speak here. */
static void welcome(ld_load *load, ld_link *link)
{
    uint8_t frame[LD_FRAME_BYTES];

    load->opening--;
    if (is_subscriber(load, link)) {
        link->state = LD_SUBSCRIBING;
        load->opening++;
        (void)write_or_keep(load, link, frame, ld_subscribe_frame(frame, load->root));
        return;
    }
    link->state = LD_UP;
    load->up++;
    for (size_t i = 0; i < 2 && link->state == LD_UP; i++) {
        if (link->stream[i] != LD_NO_STREAM) {
            (void)write_or_keep(load, link, frame,
                                ld_birth_frame(load, &load->streams[link->stream[i]], frame));
        }
    }
}

/* One short frame from the broker, whole; false where it is none that we expect. */
static bool take_short(ld_load *load, ld_link *link)
{
    switch (link->in[0]) {
    case CONNACK:
        if (link->state != LD_GREETING || link->in[1] != 2 || link->in[3] != 0) {
            return false;
        }
        welcome(load, link);
        return true;
    case PUBACK:
        link->unacked -= link->unacked > 0;
        load->acked++;
        return link->in[1] == 2;
    default:
        return false;
    }
}

/* What the broker says to a device; its frames are of a few bytes, and may come in parts. */
static void listen_short(ld_load *load, ld_link *link)
{
    uint8_t bytes[READ_BYTES];
    const ssize_t count = recv(link->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count <= 0) {
        drop(load, link);
        return;
    }
    for (ssize_t i = 0; i < count && link->fd >= 0; i++) {
        link->in[link->in_used++] = bytes[i];
        if (link->in_used < 2) {
            continue;
        }
        if (link->in[1] > 3) {
            drop(load, link);
        } else if (link->in_used == 2 + link->in[1]) {
            link->in_used = 0;
            if (!take_short(load, link) && link->fd >= 0) {
                drop(load, link);
            }
        }
    }
}

/* What the subscriber is told; its greeting is read as any device's. */
static void listen_long(ld_load *load, ld_link *link)
{
    const ssize_t count =
        recv(link->fd, load->inbox + load->inbox_used, load->inbox_bytes - load->inbox_used, MSG_DONTWAIT);

    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count > 0) {
        const uint32_t state = link->state;

        load->inbox_used += (uint32_t)count;
        if (ld_take_frames(load, ld_now())) {
            load->opening -= state == LD_SUBSCRIBING && link->state == LD_UP;
            return;
        }
    }
    drop(load, link);
}

void ld_connect_some(ld_load *load, int64_t now_ns)
{
    for (uint32_t looked = 0; load->down && load->opening < OPENING_MAX && looked < LOOKED_AT_MAX; looked++) {
        ld_link *link = &load->links[load->cursor];

        load->cursor = load->cursor == load->link_count ? 0 : load->cursor + 1;
        if (link->state == LD_DOWN && link->retry_ns <= now_ns && begin(load, link)) {
            link->retry_ns = now_ns + RETRY_NS;
            return;
        }
    }
}

int ld_serve(ld_load *load)
{
    struct epoll_event events[EVENTS_MAX];
    const int count = epoll_wait(load->epoll, events, EVENTS_MAX, 0);

    if (count < 0) {
        return errno == EINTR ? 0 : errno;
    }
    for (int i = 0; i < count; i++) {
        ld_link *link = &load->links[events[i].data.u32];

        if (link->fd >= 0 && link->state == LD_CONNECTING) {
            greet(load, link);
            continue;
        }
        if (link->fd >= 0 && events[i].events & EPOLLOUT && link->pending) {
            flush(load, link);
        }
        if (link->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            if (link->state >= LD_SUBSCRIBING && is_subscriber(load, link)) {
                listen_long(load, link);
            } else {
                listen_short(load, link);
            }
        }
    }
    return 0;
}
