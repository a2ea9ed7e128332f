/* decode.c: bytes to samples.
 *
 * The layout is that of docs/protocol.md ("IMU packet"). Checks stand in the order of the header's fields and
 * the first that fails names the status, so that server/codecs/imu.py, the readable twin, gives the same
 * answer. Everything is read with memcpy: a payload has no alignment. Hosts are little-endian (checked at
 * build time).
 */
#include <string.h>

#include "internal.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the packets are little-endian, and so must be the host"
#endif

#define ABSENT (-32768)
#define EXTREME 32767

/* Beyond these nothing that is worn can be measured; by sensor. */
static const double LIMITS[3] = {KF_ACCEL_MAX, KF_GYRO_MAX, KF_MAG_MAX};

static uint16_t u16_at(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static float f32_at(const uint8_t *p)
{
    float v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Whether t0 and the last stamp lie within int64. */
static bool time_fits(uint64_t t0, uint32_t dt, uint32_t count)
{
    return t0 <= (uint64_t)INT64_MAX && (uint64_t)dt * (count - 1u) <= (uint64_t)INT64_MAX - t0;
}

/* Check a binary packet and describe it. Return KF_OK, or the first fault, with frame as far as it was read.
 */
uint32_t kf_decode_binary(const uint8_t *bytes, size_t length, kf_frame *frame)
{
    *frame = (kf_frame){0};
    if (length < KF_HEADER_BYTES)
        return KF_SHORT_HEADER;
    if (bytes[0] != KF_MAGIC)
        return KF_BAD_MAGIC;
    if (bytes[1] != KF_PACKET_VERSION)
        return KF_BAD_VERSION;
    frame->columns = bytes[2];
    if (frame->columns != 6 && frame->columns != 9)
        return KF_BAD_COLUMNS;
    if (bytes[3] & ~1u)
        return KF_BAD_FLAGS;
    frame->flags = KF_HAS_BOOT | KF_HAS_SEQ | ((bytes[3] & 1u) ? (uint32_t)KF_MEANS : 0u);
    frame->boot = u32_at(bytes + 4);
    frame->seq = u32_at(bytes + 16);
    frame->dt_ns = u32_at(bytes + 20);
    const uint32_t count = u16_at(bytes + 24);
    if (count < 1 || count > KF_SAMPLES_MAX)
        return KF_BAD_COUNT;
    if (u16_at(bytes + 26) != 0)
        return KF_BAD_RESERVED;
    if (length != KF_HEADER_BYTES + (size_t)2 * frame->columns * count)
        return KF_BAD_LENGTH;
    const uint64_t t0 = u64_at(bytes + 8);
    if (!time_fits(t0, frame->dt_ns, count))
        return KF_BAD_TIME;
    for (size_t i = 0; i < 3; i++) {
        frame->scale[i] = f32_at(bytes + 28 + 4 * i);
        if (!(frame->scale[i] > 0 && (double)frame->scale[i] * EXTREME <= LIMITS[i]))
            return KF_BAD_SCALE;
    }
    frame->t_first_ns = (int64_t)t0;
    frame->t_last_ns = (int64_t)(t0 + (uint64_t)frame->dt_ns * (count - 1u));
    frame->count = count;
    frame->body = bytes + KF_HEADER_BYTES;
    return KF_OK;
}

/* Check an array of kf_row and describe it, as kf_decode_binary does. */
uint32_t kf_decode_rows(const uint8_t *bytes, size_t length, uint32_t flags, kf_frame *frame)
{
    *frame = (kf_frame){.flags = flags, .body = bytes, .t_first_ns = INT64_MAX, .t_last_ns = INT64_MIN};
    if (flags & ~(uint32_t)(KF_HAS_BOOT | KF_HAS_SEQ | KF_MEANS))
        return KF_BAD_FLAGS;
    if (length == 0)
        return KF_BAD_COUNT;
    if (length % sizeof(kf_row) != 0)
        return KF_BAD_LENGTH;
    const size_t count = length / sizeof(kf_row);
    for (size_t i = 0; i < count; i++) {
        const kf_row row = kf_row_at(frame, i);
        if (row.sensor > KF_MAG)
            return KF_BAD_SENSOR;
        if (!(isfinite(row.x) && isfinite(row.y) && isfinite(row.z)))
            return KF_NOT_FINITE;
        if (row.t_ns < frame->t_first_ns)
            frame->t_first_ns = row.t_ns;
        if (row.t_ns > frame->t_last_ns)
            frame->t_last_ns = row.t_ns;
    }
    frame->count = count;
    return KF_OK;
}

/* Hold a component within +-limit; tell when it stood there. */
static double held(double value, double limit, bool *clipped)
{
    if (value > limit || value < -limit) {
        *clipped = true;
        return value > 0 ? limit : -limit;
    }
    return value;
}

/* Three counts as a vector. Return false where one is absent. */
static bool triple(const uint8_t *p, double scale, double range, double limit, kf_vec *out, bool *clipped)
{
    double value[3];

    for (size_t i = 0; i < 3; i++) {
        int16_t raw;
        memcpy(&raw, p + 2 * i, sizeof raw);
        if (raw == ABSENT)
            return false;
        if (raw == EXTREME || raw == -EXTREME)
            *clipped = true;
        value[i] = (double)raw * scale;
        if (range > 0 && fabs(value[i]) >= KF_NEAR_RANGE * range)
            *clipped = true;
        value[i] = held(value[i], limit, clipped);
    }
    *out = (kf_vec){value[0], value[1], value[2]};
    return true;
}

/* Sample index of a checked binary packet. A vector with an absent component is absent. */
kf_sample kf_binary_sample(const kf_frame *frame, size_t index, const kf_profile *profile)
{
    const uint8_t *p = frame->body + (size_t)2 * frame->columns * index;
    kf_sample s = {0};
    bool clipped = false;

    s.t_ns = frame->t_first_ns + (int64_t)((uint64_t)frame->dt_ns * index);
    s.means = frame->flags & KF_MEANS;
    s.interval_s = (float)(frame->dt_ns / KF_NS_PER_S);
    if (triple(p, (double)frame->scale[0], (double)profile->accel_range, KF_ACCEL_MAX, &s.accel_b,
               &clipped)) {
        s.has |= KF_BIT_ACCEL;
        s.clipped |= clipped ? KF_BIT_ACCEL : 0u;
    }
    clipped = false;
    if (triple(p + 6, (double)frame->scale[1], (double)profile->gyro_range, KF_GYRO_MAX, &s.gyro_b,
               &clipped)) {
        s.has |= KF_BIT_GYRO;
        s.clipped |= clipped ? KF_BIT_GYRO : 0u;
    }
    clipped = false;
    if (frame->columns == 9 && triple(p + 12, (double)frame->scale[2], 0.0, KF_MAG_MAX, &s.mag_b, &clipped) &&
        !clipped) {
        s.has |= KF_BIT_MAG;
        s.mag_t_ns = s.t_ns;
    }
    return s;
}

kf_row kf_row_at(const kf_frame *frame, size_t index)
{
    kf_row row;

    memcpy(&row, frame->body + sizeof row * index, sizeof row);
    return row;
}

/* A row as it waits for its partner, held within the limits. */
kf_pending kf_row_pending(const kf_row *row, const kf_profile *profile)
{
    const double ranges[3] = {(double)profile->accel_range, (double)profile->gyro_range, 0.0};
    const double limit = LIMITS[row->sensor];
    const double range = ranges[row->sensor];
    const double top = fmax(fmax(fabs((double)row->x), fabs((double)row->y)), fabs((double)row->z));
    bool clipped = range > 0 && top >= KF_NEAR_RANGE * range;
    kf_pending p = {.t_ns = row->t_ns};

    p.x = (float)held((double)row->x, limit, &clipped);
    p.y = (float)held((double)row->y, limit, &clipped);
    p.z = (float)held((double)row->z, limit, &clipped);
    p.flags = clipped ? KF_PENDING_CLIPPED : 0u;
    return p;
}
