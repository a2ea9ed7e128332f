/* kinefuse.h: the contract of the C core.
 *
 * Frames: b is the sensor's body, e is earth, ENU (x east, y north, z up). Quaternions are w first; q_eb
 * takes b to e. Specific force: at rest the accelerometer reads +g up. Units are SI; times are int64
 * nanoseconds on the device's own clock. Nothing here reads a clock, allocates or keeps a global.
 *
 * The caller owns all memory. Arguments: state first, then inputs, outputs, each pointer with its count.
 * kf_advance takes every packet of a tick, of all devices, in one call; packets of one device stand in the
 * order in which they arrived. A packet that is refused changes nothing but its own summary.
 *
 * Results depend on samples and their stamps alone: not on how samples were cut into packets, nor on how
 * packets were cut into calls. So summaries describe a packet, and what is fused further (windows, steps)
 * is cut on the device clock.
 *
 * Each part is a header of its own, in which the build reads what stands between the marks: declarations and
 * plain numbers alone. A part stands behind those that it needs.
 */
#ifndef KINEFUSE_H
#define KINEFUSE_H

/* clang-format off */
#include "kinefuse/devices.h"   /* packets of motion in; orientation, windows and steps out */
#include "kinefuse/clock.h"     /* device time to aligned time */
#include "kinefuse/schedule.h"  /* when an athlete's models step, and what a rewind needs */
#include "kinefuse/order.h"     /* which IMU packets are taken, and in which order */
#include "kinefuse/frames.h"    /* MQTT: bytes of a connection into messages, messages to workers */
#include "kinefuse/flat.h"      /* low-rate messages in columns */
#include "kinefuse/seen.h"      /* which low-rate messages are taken */
#include "kinefuse/kernel.h"    /* models: recorded functions, run for many rows */
#include "kinefuse/beats.h"     /* RR intervals */
#include "kinefuse/measures.h"  /* what low-rate messages measure */
#include "kinefuse/arrivals.h"  /* from frames to packets and events in the order of arrival */
#include "kinefuse/live.h"      /* metrics as text */
#include "kinefuse/streams.h"   /* what each device sends, and how long it may be silent */
#include "kinefuse/histogram.h" /* times of stages */
/* clang-format on */

#endif
