/* limit.c: how many packets a device may send, so that one that floods harms nobody else.
 *
 * The generic cell rate algorithm (ITU-T I.371): each packet that is let in moves the moment at which the
 * next one is expected by LIMIT_NS; one that comes earlier than that by more than BURST_NS is too many. So a
 * device may send 250 packets a second for ever, and 4,000 at once after a silence, as one does whose link
 * was away.
 */
#include "internal.h"

size_t kf_limit(kf_link *links, const kf_event *events, size_t count, uint8_t *admitted)
{
    size_t refused = 0;

    for (size_t i = 0; i < count; i++) {
        const kf_event *e = &events[i];
        admitted[i] = 1;
        if (e->kind != KF_EVENT_IMU || links[e->device].flags & KF_LINK_RECORDED)
            continue;
        kf_link *link = &links[e->device];
        const int64_t expected_ns = link->expected_ns > e->arrived_ns ? link->expected_ns : e->arrived_ns;
        if (expected_ns - e->arrived_ns > KF_LIMIT_BURST_NS) {
            admitted[i] = 0;
            link->refused++;
            refused++;
        } else {
            link->expected_ns = expected_ns + KF_LIMIT_NS;
        }
    }
    return refused;
}
