/* order.h: which IMU packets are taken, and in which order. */
#ifndef KINEFUSE_ORDER_H
#define KINEFUSE_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/devices.h"
#include "kinefuse/schedule.h"

/* [cffi] */

#define KF_LIMIT_NS 4000000           /* a live device's IMU packets, for ever: 250 a second; */
#define KF_LIMIT_BURST_NS 16000000000 /* and after a silence so much of that at once: 4,000 */

/* Decide which IMU packets of live devices are taken, by their arrival.
 *
 * inout: links
 * in:    events    count, in the order of arrival
 * out:   admitted  1 or 0 for each; what is no IMU packet of a live device is admitted
 * Returns how many are refused; each is counted at its link.
 */
size_t kf_limit(kf_link *links, const kf_event *events, size_t count, uint8_t *admitted);

/* An IMU packet waits for its predecessor, by its arrival, for KF_ORDER_WAIT_NS, or for the longer time where
 * a recording is played, which may be at any speed. */
#define KF_ORDER_WAIT_NS 200000000
#define KF_ORDER_RECORDED_NS 10000000000
#define KF_ORDER_PACKETS 8  /* at most so many of a device wait, */
#define KF_ORDER_BYTES 2048 /* each of at most so many bytes, */
#define KF_ORDER_ALL 16384  /* and so many of all devices */
#define KF_ORDER_VAIN 8     /* waits in vain, one after the other; then a gap is a loss */
#define KF_ORDER_GAP 512    /* packets after a gap, from which on nothing is awaited of it any more */

/* An IMU packet that waits for its predecessor. */
typedef struct {
    uint32_t place; /* of its event */
    uint32_t next, seq;
    uint32_t reserved;
    int64_t until_ns; /* UTC at which it waits no more */
} kf_waiting;

/* The caller owns both arrays, of room for all events. */
typedef struct {
    uint32_t *order;     /* places of the events that go on, ordered of them */
    kf_waiting *waiting; /* what waits, in the order of arrival */
    size_t ordered, waiting_count;
} kf_ordered;

/* Bring IMU packets of each device into the order of their seq, where one came before its predecessor.
 *
 * What comes later than that, but in order, of a gap that was taken for lost, goes on beside.
 *
 * inout: links
 *        packets         their ways
 * in:    events          count, in the order of arrival; what waits since the last call stands first
 *        bytes           to which packets refer
 *        now_ns          UTC up to which waits end, beside the arrivals of events
 * out:   out             all events but those of KF_EVENT_STATUS
 * Returns 0 where all of them go on as they stand, else 1.
 */
int kf_order(kf_link *links, kf_packet *packets, const kf_event *events, size_t count, const uint8_t *bytes,
             size_t byte_count, int64_t now_ns, kf_ordered *out);

/* Copy the bytes of packets, which lie within bytes, one behind the other, and let them refer to these.
 *
 * inout: packets  count
 * in:    bytes
 * out:   kept     room for their lengths, each to the next multiple of KF_ALIGNMENT
 * Returns how many bytes that was.
 */
size_t kf_keep(const uint8_t *bytes, kf_packet *packets, size_t count, uint8_t *kept);

/* [/cffi] */

#endif
