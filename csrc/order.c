/* order.c: IMU packets of a device go on in the order of their seq, where one came before its predecessor.
 *
 * Where seq goes on by one, a packet goes on at once. One behind a gap is put aside until what is missing has
 * come, at most KF_ORDER_WAIT_NS after its arrival, and at most KF_ORDER_PACKETS of a device are. So each
 * packet that is overtaken by no more than these, and comes no later, is put into its place. MQTT over TCP
 * overtakes nothing: there a gap is a loss. So a device for which KF_ORDER_VAIN waits in a row were in vain
 * waits no more, until a packet comes after a later one.
 *
 * A wait ends by the arrival of events, or by the time that is told; not by where a call ends. What still
 * waits then stands at the head of the next call's events, and is looked at as if it came anew.
 */
#include <string.h>

#include "internal.h"

typedef struct {
    kf_link *links;
    kf_packet *packets;
    const kf_event *events;
    kf_ordered *out;
    size_t waiting_count, alive; /* of out->waiting: how many were put aside, and which of them still are */
    int64_t next_ns;             /* when the first wait ends */
} ordering;

/* Whether seq is not after the other, on a counter that wraps. */
static bool is_not_after(uint32_t seq, uint32_t other)
{
    return other - seq < 0x80000000u;
}

static void hand_on(ordering *o, size_t place)
{
    o->out->order[o->out->ordered++] = (uint32_t)place;
}

/* What is between the newest packet and seq is taken for lost. One such gap is remembered of each device, in
 * case that it comes after all: the one of which most is missing. */
static void lose(kf_link *link, kf_packet *p, uint32_t seq)
{
    const bool old = !(link->flags & KF_LINK_GAP) || link->seq - link->gap_end > KF_ORDER_GAP;

    if (!old && link->gap_end - link->gap_seq >= seq - link->seq)
        return;
    link->flags |= KF_LINK_GAP;
    link->gap_seq = link->seq;
    link->gap_end = seq;
    p->way = KF_WAY_FORK;
}

/* Hand on a packet in the order of its stream. */
static void go_on(ordering *o, kf_link *link, size_t place, uint32_t seq)
{
    hand_on(o, place);
    if (is_not_after(seq, link->seq))
        return;
    if (seq - link->seq > 1)
        lose(link, &o->packets[o->events[place].index], seq);
    link->seq = seq;
}

/* Hand on a packet that comes after later ones: beside, where it is of the gap and next in it. */
static void come_late(ordering *o, kf_link *link, size_t place, uint32_t seq)
{
    kf_packet *p = &o->packets[o->events[place].index];

    if ((link->flags & KF_LINK_GAP) && !is_not_after(seq, link->gap_seq) &&
        !is_not_after(link->gap_end, seq)) {
        p->way = seq + 1 == link->gap_end ? KF_WAY_LAST : KF_WAY_BESIDE;
        link->gap_seq = seq;
    }
    hand_on(o, place);
}

/* Hand on what waits and comes first by seq. */
static void release_first(ordering *o, kf_link *link)
{
    kf_waiting *first = &o->out->waiting[link->first_waiting];

    go_on(o, link, first->place, first->seq);
    link->first_waiting = first->next;
    link->waiting_count--;
    first->place = KF_NONE;
    o->alive--;
}

/* Hand on what waits up to seq, and what follows without a gap. */
static void release(ordering *o, kf_link *link, uint32_t seq)
{
    while (link->waiting_count && is_not_after(o->out->waiting[link->first_waiting].seq, seq))
        release_first(o, link);
    while (link->waiting_count && is_not_after(o->out->waiting[link->first_waiting].seq, link->seq + 1))
        release_first(o, link);
}

static void release_all(ordering *o, kf_link *link)
{
    while (link->waiting_count)
        release_first(o, link);
}

/* What is missing before seq is lost. Where it was so again and again, nothing waits any more. */
static void give_up(ordering *o, kf_link *link, uint32_t seq)
{
    if (++link->vain >= KF_ORDER_VAIN)
        release_all(o, link);
    else
        release(o, link, seq);
}

/* Put a packet aside, among those of its device by seq. */
static void put_aside(ordering *o, kf_link *link, size_t place, uint32_t seq)
{
    const int64_t wait_ns = link->flags & KF_LINK_RECORDED ? KF_ORDER_RECORDED_NS : KF_ORDER_WAIT_NS;
    const uint32_t at = (uint32_t)o->waiting_count++;
    uint32_t *before = &link->first_waiting;

    while (*before != KF_NONE && is_not_after(o->out->waiting[*before].seq, seq))
        before = &o->out->waiting[*before].next;
    o->out->waiting[at] = (kf_waiting){.place = (uint32_t)place,
                                       .next = *before,
                                       .seq = seq,
                                       .until_ns = o->events[place].arrived_ns + wait_ns};
    *before = at;
    link->waiting_count++;
    o->alive++;
    if (o->out->waiting[at].until_ns < o->next_ns)
        o->next_ns = o->out->waiting[at].until_ns;
}

/* End the waits whose time is over at now_ns, in the order of arrival. */
static void end_waits(ordering *o, int64_t now_ns)
{
    if (now_ns < o->next_ns)
        return;
    o->next_ns = INT64_MAX;
    for (size_t i = 0; i < o->waiting_count; i++) {
        const kf_waiting *w = &o->out->waiting[i];
        if (w->place == KF_NONE)
            continue;
        if (w->until_ns <= now_ns) {
            kf_link *link = &o->links[o->events[w->place].device];
            give_up(o, link, w->seq);
        } else if (w->until_ns < o->next_ns) {
            o->next_ns = w->until_ns;
        }
    }
}

/* Begin anew with a packet, of another boot or the first that is heard. A boot counts from 0. */
static void begin(kf_link *link, const kf_frame *f, bool new_boot)
{
    if (new_boot && link->flags & KF_LINK_BOOT) {
        link->boot_before = link->boot;
        link->flags |= KF_LINK_BOOT_BEFORE;
    }
    link->boot = f->boot;
    if (f->flags & KF_HAS_BOOT)
        link->flags |= KF_LINK_BOOT;
    link->flags |= KF_LINK_SEQ;
    link->flags &= ~(uint32_t)KF_LINK_GAP;
    link->seq = new_boot && f->seq <= KF_ORDER_PACKETS ? UINT32_MAX : f->seq - 1;
}

/* Whether a packet behind a gap may be put aside. */
static bool may_wait(const ordering *o, const kf_link *link, const kf_packet *p)
{
    return link->vain < KF_ORDER_VAIN && p->length <= KF_ORDER_BYTES && o->alive < KF_ORDER_ALL;
}

/* Take a packet whose stream goes on. */
static void take(ordering *o, kf_link *link, const kf_packet *p, size_t place, uint32_t seq)
{
    if (seq - link->seq > 1 && !is_not_after(seq, link->seq) && may_wait(o, link, p)) {
        put_aside(o, link, place, seq);
        if (link->waiting_count > KF_ORDER_PACKETS)
            give_up(o, link, o->out->waiting[link->first_waiting].seq);
        return;
    }
    const uint32_t ahead = seq - link->seq;
    if (ahead >= 0x80000000u || (ahead == 1 && link->waiting_count))
        link->vain = 0;
    if (ahead >= 0x80000000u) {
        come_late(o, link, place, seq);
        return;
    }
    release(o, link, seq - 1);
    go_on(o, link, place, seq);
    release(o, link, link->seq);
}

static void take_packet(ordering *o, const uint8_t *bytes, size_t byte_count, const kf_packet *p,
                        size_t place)
{
    kf_link *link = &o->links[o->events[place].device];
    const bool rows = p->kind == KF_ROWS;
    kf_frame f = {.flags = p->flags, .boot = p->boot, .seq = p->seq};

    const bool lies = p->offset <= byte_count && p->length <= byte_count - p->offset;
    if (!rows && (!lies || kf_decode_binary(bytes + p->offset, (size_t)p->length, &f) != KF_OK)) {
        release_all(o, link); /* this is what was missing, it seems */
        link->flags &= ~(uint32_t)KF_LINK_SEQ;
        hand_on(o, place);
        return;
    }
    const bool known = (link->flags & KF_LINK_BOOT) && (f.flags & KF_HAS_BOOT);
    const bool old_boot = known && (link->flags & KF_LINK_BOOT_BEFORE) && f.boot == link->boot_before;
    const bool new_boot = (f.flags & KF_HAS_BOOT) && (!known || f.boot != link->boot);
    if (!(f.flags & KF_HAS_SEQ) || (old_boot && new_boot)) {
        hand_on(o, place);
        return;
    }
    if (new_boot || !(link->flags & KF_LINK_SEQ)) {
        release_all(o, link);
        begin(link, &f, new_boot);
    }
    take(o, link, p, place, f.seq);
}

/* Keep of the list of what waits what still does. */
static size_t settle(ordering *o)
{
    size_t count = 0;

    for (size_t i = 0; i < o->waiting_count; i++) {
        const kf_waiting w = o->out->waiting[i];
        if (w.place == KF_NONE)
            continue;
        kf_link *link = &o->links[o->events[w.place].device];
        link->waiting_count = 0;
        link->first_waiting = KF_NONE;
        o->out->waiting[count++] = w;
    }
    return count;
}

int kf_order(kf_link *links, kf_packet *packets, const kf_event *events, size_t count, const uint8_t *bytes,
             size_t byte_count, int64_t now_ns, kf_ordered *out)
{
    ordering o = {.links = links, .packets = packets, .events = events, .out = out, .next_ns = INT64_MAX};
    bool moved = false;

    out->ordered = 0;
    for (size_t place = 0; place < count; place++) {
        const kf_event *e = &events[place];
        end_waits(&o, e->arrived_ns);
        if (e->kind == KF_EVENT_IMU)
            take_packet(&o, bytes, byte_count, &packets[e->index], place);
        else if (e->kind == KF_EVENT_STATUS)
            release_all(&o, &links[e->device]);
        else
            hand_on(&o, place);
        moved |= out->ordered != place + 1;
    }
    end_waits(&o, now_ns);
    out->waiting_count = settle(&o);
    return moved;
}

size_t kf_keep(const uint8_t *bytes, kf_packet *packets, size_t count, uint8_t *kept)
{
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(kept + at, bytes + packets[i].offset, packets[i].length);
        packets[i].offset = at;
        at += (packets[i].length + KF_ALIGNMENT - 1) / KF_ALIGNMENT * KF_ALIGNMENT;
    }
    return at;
}
