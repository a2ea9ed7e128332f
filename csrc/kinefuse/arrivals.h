/* arrivals.h: what a tick brought, from frames to packets and events in the order of arrival. */
#ifndef KINEFUSE_ARRIVALS_H
#define KINEFUSE_ARRIVALS_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/beats.h"
#include "kinefuse/devices.h"
#include "kinefuse/flat.h"
#include "kinefuse/frames.h"
#include "kinefuse/measures.h"
#include "kinefuse/schedule.h"
#include "kinefuse/seen.h"

/* [cffi] */

/* Arrivals (arrivals.c). Frames of known devices that need no look become packets and events here; what is
 * looked at one by one stands in a part of its own. Messages of a tick are numbered in their order. */

/* The frames that one read gave. */
typedef struct {
    uint64_t frame_count;
    uint64_t byte_count;
    int64_t arrived_ns;  /* UTC */
    int64_t received_ns; /* monotonic */
} kf_chunk;

/* Chunks that followed each other, as one. The caller owns all arrays, of count each. */
typedef struct {
    kf_publish *frames;
    const kf_flat *messages; /* what kf_flat_read gave of the frames */
    int64_t *arrived_ns, *received_ns;
    uint8_t *known; /* 1: it needs no look */
    size_t count;
} kf_stretch;

/* Let frames, which stand one behind the other as their chunks gave them, refer to the chunks' bytes joined;
 * tell when each came. */
void kf_stretch_join(kf_stretch *stretch, const kf_chunk *chunks, size_t chunk_count);

/* Tell which frames need no look: binary IMU packets and plain low-rate messages of devices that are known,
 * as links stand; bytes are joined. Returns how many need one. */
size_t kf_stretch_look(kf_stretch *stretch, const uint8_t *bytes, const kf_link *links, size_t link_count);

/* What is made of known frames. The caller owns all arrays, of room for the frames. */
typedef struct {
    kf_packet *packets;
    kf_event *events;
    kf_record *records;
    kf_refusal *refused; /* low-rate messages; reason: KF_FLOODING or KF_SEEN_BEFORE, event: the frame */
    size_t packet_count, event_count, record_count, refused_count;
    size_t next; /* frame */
    uint32_t first_message, first_packet,
        first_record; /* numbers of the stretch's and of these arrays' first */
    uint64_t offset;  /* of the stretch's bytes among those to which packets refer */
} kf_taken;

/* Take the known frames from taken->next up to end: each becomes an event, with its packet or its record, but
 * for low-rate messages that are too many or came before.
 *
 * inout: taken, links, seen, beats
 * in:    stretch
 * Returns 1 where the device of the next frame is to get a place among the beats first, else 0.
 */
int kf_stretch_take(kf_taken *taken, const kf_stretch *stretch, kf_link *links, kf_seen *seen,
                    kf_beats *beats, size_t end);

/* Events that came by one way: their messages' numbers rise, and the indexes of their packets by one. */
typedef struct {
    const kf_event *events;
    const kf_packet *packets;
    size_t count;
    uint32_t first_record; /* is added to the index of samples that have a record */
} kf_part;

/* Bring the events of two ways, which share no message, into the order of arrival.
 *
 * out: events, packets  room for those of both; indexes of packets rise by one
 */
void kf_merge(const kf_part *one, const kf_part *other, kf_event *events, kf_packet *packets);

/* [/cffi] */

#endif
