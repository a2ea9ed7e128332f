/* limit.c: how many packets a device may send, so that one that floods harms nobody else.
 *
 * The generic cell rate algorithm (ITU-T I.371): each packet that is let in moves the moment at which the
 * next one is expected by so much; one that comes earlier than that by more than the burst is too many. So a
 * device may send 250 IMU packets a second for ever, and 4,000 at once after a silence, as one does whose
 * link was away.
 */
#include "internal.h"

bool kf_conforms(int64_t *expected_ns, int64_t arrived_ns, int64_t each_ns, int64_t burst_ns)
{
    const int64_t next_ns = *expected_ns > arrived_ns ? *expected_ns : arrived_ns;

    if (next_ns - arrived_ns > burst_ns)
        return false;
    *expected_ns = next_ns + each_ns;
    return true;
}

size_t kf_limit(kf_link *links, const kf_event *events, size_t count, uint8_t *admitted)
{
    size_t refused = 0;

    for (size_t i = 0; i < count; i++) {
        const kf_event *e = &events[i];
        admitted[i] = 1;
        if (e->kind != KF_EVENT_IMU || links[e->device].flags & KF_LINK_RECORDED)
            continue;
        kf_link *link = &links[e->device];
        if (!kf_conforms(&link->expected_ns, e->arrived_ns, KF_LIMIT_NS, KF_LIMIT_BURST_NS)) {
            admitted[i] = 0;
            link->refused++;
            refused++;
        }
    }
    return refused;
}
