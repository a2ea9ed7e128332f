/* pairing.c: sensors that tick apart.
 *
 * A gyroscope row is released once the accelerometer rows on both sides of it are there: specific force is
 * interpolated to its stamp, never across more than KF_GAP_NS; a gyroscope row without such neighbours is
 * dropped. A magnetometer row goes with the first gyroscope row after it. What is released depends on the
 * rows of each sensor, not on how the sensors' rows interleave, as long as the queues hold them; a full queue
 * drops its oldest row. So a phone may send a second of one sensor and then a second of the other.
 *
 * A stream without a gyroscope is not lost: accelerometer rows that have waited HOLD_NS in vain pass alone.
 *
 * One row releases samples that span at most KF_GAP_NS. The capacity that kf_advance asks for rests on it.
 */
#include "internal.h"

#define HOLD_NS 2500000000ull    /* an accelerometer row waits that long for gyroscope rows */
#define ALONE_NS 10000000000ull  /* after so long without any, it no longer waits */
#define TOGETHER_NS 125000000ull /* two rows nearer than this may pass alone in one go */

static kf_pending *at(kf_pending *rows, const kf_queue *q, uint32_t capacity, uint32_t index)
{
    return &rows[(q->head + index) % capacity];
}

static void pop(kf_queue *q, uint32_t capacity)
{
    q->head = (q->head + 1) % capacity;
    q->count--;
}

static void push(kf_pending *rows, kf_queue *q, uint32_t capacity, const kf_pending *row)
{
    if (q->count >= capacity)
        pop(q, capacity);
    rows[(q->head + q->count) % capacity] = *row;
    q->count++;
}

static kf_vec vector(const kf_pending *row)
{
    return (kf_vec){(double)row->x, (double)row->y, (double)row->z};
}

/* Whether the queues are such as this module leaves them; a restored block may hold anything. */
bool kf_pairing_sound(const kf_pairing *pairing)
{
    return pairing->accel.count <= KF_PENDING && pairing->gyro.count <= KF_PENDING &&
           pairing->mag.count <= KF_PENDING_MAG;
}

/* Forget the rows. */
void kf_pairing_clear(kf_pairing *pairing)
{
    pairing->seen = 0;
    pairing->alone = 0;
    pairing->accel = pairing->gyro = pairing->mag = (kf_queue){0};
}

/* Whether the row is no newer than its own sensor's newest. */
bool kf_pairing_late(const kf_pairing *pairing, const kf_row *row)
{
    return (pairing->seen & (1u << row->sensor)) && row->t_ns <= pairing->newest_ns[row->sensor];
}

/* The newest field before the stamp, where there is one that is fresh. */
static void add_mag(kf_pairing *p, kf_sample *s)
{
    while (p->mag.count > 0) {
        const kf_pending *row = at(p->mag_rows, &p->mag, KF_PENDING_MAG, 0);
        if (row->t_ns > s->t_ns)
            return;
        s->has &= ~KF_BIT_MAG;
        if (kf_elapsed(row->t_ns, s->t_ns) <= KF_GAP_NS && !(row->flags & KF_PENDING_CLIPPED)) {
            s->mag_b = vector(row);
            s->mag_t_ns = row->t_ns;
            s->has |= KF_BIT_MAG;
        }
        pop(&p->mag, KF_PENDING_MAG);
    }
}

static void release(kf_device *device, kf_pairing *p, const kf_pending *gyro, kf_vec accel_b, uint32_t flags,
                    kf_sink *sink)
{
    kf_sample s = {.t_ns = gyro->t_ns, .accel_b = accel_b, .gyro_b = vector(gyro)};

    s.has = KF_BIT_ACCEL | KF_BIT_GYRO;
    s.means = (gyro->flags & KF_PENDING_MEAN) ? 1u : 0u;
    s.clipped = ((gyro->flags & KF_PENDING_CLIPPED) ? KF_BIT_GYRO : 0u) |
                ((flags & KF_PENDING_CLIPPED) ? KF_BIT_ACCEL : 0u);
    add_mag(p, &s);
    kf_sample_take(device, &s, sink);
}

/* Specific force at t_ns between two rows. */
static kf_vec between(const kf_pending *a, const kf_pending *b, int64_t t_ns)
{
    const double share = (double)kf_elapsed(a->t_ns, t_ns) / (double)kf_elapsed(a->t_ns, b->t_ns);

    return kf_add(kf_scale(1 - share, vector(a)), kf_scale(share, vector(b)));
}

/* Release every gyroscope row whose neighbours are there. */
static void drain(kf_device *device, kf_pairing *p, kf_sink *sink)
{
    while (p->gyro.count > 0) {
        const kf_pending gyro = *at(p->gyro_rows, &p->gyro, KF_PENDING, 0);
        while (p->accel.count >= 2 && at(p->accel_rows, &p->accel, KF_PENDING, 1)->t_ns <= gyro.t_ns)
            pop(&p->accel, KF_PENDING);
        if (p->accel.count == 0)
            return;
        const kf_pending *before = at(p->accel_rows, &p->accel, KF_PENDING, 0);
        if (before->t_ns == gyro.t_ns) {
            release(device, p, &gyro, vector(before), before->flags, sink);
        } else if (before->t_ns < gyro.t_ns) {
            if (p->accel.count < 2)
                return;
            const kf_pending *after = at(p->accel_rows, &p->accel, KF_PENDING, 1);
            if (kf_elapsed(before->t_ns, after->t_ns) <= KF_GAP_NS)
                release(device, p, &gyro, between(before, after, gyro.t_ns), before->flags | after->flags,
                        sink);
        }
        pop(&p->gyro, KF_PENDING);
    }
}

/* Let the oldest accelerometer row pass without a gyroscope's. */
static void pass_alone(kf_device *device, kf_pairing *p, kf_sink *sink)
{
    const kf_pending row = *at(p->accel_rows, &p->accel, KF_PENDING, 0);
    kf_sample s = {.t_ns = row.t_ns, .accel_b = vector(&row), .has = KF_BIT_ACCEL};

    s.means = (row.flags & KF_PENDING_MEAN) ? 1u : 0u;
    s.clipped = (row.flags & KF_PENDING_CLIPPED) ? KF_BIT_ACCEL : 0u;
    pop(&p->accel, KF_PENDING);
    add_mag(p, &s);
    kf_sample_take(device, &s, sink);
}

/* Let accelerometer rows pass that have waited in vain, at most two that stand together. */
static void release_alone(kf_device *device, kf_pairing *p, kf_sink *sink)
{
    if (!p->alone || p->gyro.count > 0 || p->accel.count == 0)
        return;
    const int64_t newest_ns = p->newest_ns[KF_ACCEL];
    const uint64_t hold = kf_elapsed(p->since_ns, newest_ns) > ALONE_NS ? 0 : HOLD_NS;
    const int64_t first_ns = at(p->accel_rows, &p->accel, KF_PENDING, 0)->t_ns;
    if (kf_elapsed(first_ns, newest_ns) < hold && p->accel.count < KF_PENDING)
        return;
    pass_alone(device, p, sink);
    if (p->accel.count == 0)
        return;
    const int64_t second_ns = at(p->accel_rows, &p->accel, KF_PENDING, 0)->t_ns;
    if (kf_elapsed(second_ns, newest_ns) >= hold && kf_elapsed(first_ns, second_ns) < TOGETHER_NS)
        pass_alone(device, p, sink);
}

/* Take one row that is not late, and pass on the samples that it completes. */
void kf_pairing_take(kf_device *device, kf_pairing *pairing, const kf_row *row, uint32_t means, kf_sink *sink)
{
    kf_pending pending = kf_row_pending(row, &device->profile);

    pending.flags |= means ? KF_PENDING_MEAN : 0u;
    pairing->seen |= 1u << row->sensor;
    pairing->newest_ns[row->sensor] = row->t_ns;
    if (row->sensor == KF_MAG) {
        push(pairing->mag_rows, &pairing->mag, KF_PENDING_MAG, &pending);
        return;
    }
    if (row->sensor == KF_GYRO) {
        push(pairing->gyro_rows, &pairing->gyro, KF_PENDING, &pending);
        pairing->alone = 0;
        drain(device, pairing, sink);
        return;
    }
    if (!pairing->alone) {
        pairing->alone = 1;
        pairing->since_ns = row->t_ns;
    }
    push(pairing->accel_rows, &pairing->accel, KF_PENDING, &pending);
    drain(device, pairing, sink);
    release_alone(device, pairing, sink);
}
