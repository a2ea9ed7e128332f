/* seen.h: which low-rate messages are taken. */
#ifndef KINEFUSE_SEEN_H
#define KINEFUSE_SEEN_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/flat.h"
#include "kinefuse/frames.h"
#include "kinefuse/schedule.h"

/* [cffi] */

/* Which low-rate messages are taken (seen.c). */

#define KF_LIMIT_LOW_NS 10000000          /* a live device's, for ever: 100 a second, */
#define KF_LIMIT_LOW_BURST_NS 10000000000 /* and after a silence so much of that at once: 1,000 */
#define KF_SEEN 128                       /* so many of a device are known again */

#define KF_ADMITTED 0
#define KF_FLOODING 1
#define KF_SEEN_BEFORE 2

typedef struct {
    uint32_t high[KF_SEEN]; /* a ring of keys, 48 bits each; 0: none */
    uint16_t low[KF_SEEN];
    uint32_t next;
} kf_seen;

/* Return 1 where a low-rate message of a device is not one too many, and take note of it. */
int kf_admits(kf_link *link, int64_t arrived_ns);

/* Return 1 where a message was seen before; else 0, and take note of it. kind tells apart what counts its own
 * seq; of the message its t_ns, boot and seq are looked at. */
int kf_saw(kf_seen *seen, uint32_t kind, const kf_flat *message);

/* Do both for a message of a live device that has a place among the seen. Returns KF_ADMITTED, KF_FLOODING or
 * KF_SEEN_BEFORE; what is refused is counted at its link. */
uint32_t kf_admit(kf_link *link, kf_seen *seen, uint32_t kind, const kf_flat *message, int64_t arrived_ns);

/* [/cffi] */

#endif
