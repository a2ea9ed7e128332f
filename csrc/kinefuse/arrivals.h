/* arrivals.h: what a tick brought, from frames to packets and events in the order of arrival. */
#ifndef KINEFUSE_ARRIVALS_H
#define KINEFUSE_ARRIVALS_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/devices.h"
#include "kinefuse/flat.h"
#include "kinefuse/frames.h"
#include "kinefuse/schedule.h"

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
    int64_t *arrived_ns, *received_ns;
    uint8_t *known; /* 1: it needs no look */
    size_t count;
} kf_stretch;

/* Let frames, which stand one behind the other as their chunks gave them, refer to the chunks' bytes joined;
 * tell when each came. */
void kf_stretch_join(kf_stretch *stretch, const kf_chunk *chunks, size_t chunk_count);

/* Tell which frames need no look: binary IMU packets and plain low-rate messages of devices that are known,
 * as links stand.
 *
 * inout: stretch
 * in:    bytes     joined
 *        messages  what kf_flat_read gave of the frames
 *        links     link_count
 * Returns how many need one.
 */
size_t kf_stretch_look(kf_stretch *stretch, const uint8_t *bytes, const kf_flat *messages,
                       const kf_link *links, size_t link_count);

/* Make packets and events of the known IMU frames from begin up to end.
 *
 * in:  stretch, links
 *      first_message  number of the stretch's first
 *      first_packet   index of the first packet that is made
 *      offset         of the stretch's bytes among those to which packets refer
 * out: packets, events, low  room for end - begin each; low: places of the known low-rate frames
 *      low_count
 * Returns how many packets and events there are.
 */
size_t kf_stretch_take(const kf_stretch *stretch, const kf_link *links, size_t begin, size_t end,
                       uint32_t first_message, uint32_t first_packet, uint64_t offset, kf_packet *packets,
                       kf_event *events, int64_t *low, size_t *low_count);

#define KF_PARTS 3 /* of kf_merge, at most */

/* Events that came by one way: their messages' numbers rise, and the indexes of their packets by one. */
typedef struct {
    const kf_event *events;
    const kf_packet *packets;
    size_t count;
    uint32_t first_record; /* is added to the index of samples that have a record */
} kf_part;

/* Bring parts, of which no two hold events of one message, into the order of arrival.
 *
 * in:  parts
 * out: events, packets  room for those of all parts; indexes of packets rise by one
 */
void kf_merge(const kf_part *parts, size_t part_count, kf_event *events, kf_packet *packets);

/* [/cffi] */

#endif
