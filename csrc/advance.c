/* advance.c: packets to samples to answers; the one call of the hot path. */
#include <string.h>

#include "internal.h"

#define MAGIC 0x4B460001u
#define STEP_BACK_NS 1000000000ull /* the clock was set back if a newer packet is older by more */
#define USUAL_SHARE (1.0 / 32)
#define USUAL_JUMP 3.0
#define TILE_PACKETS 64 /* that a tile spans, at most: some of them may not go side by side */

_Static_assert(sizeof(kf_profile) == 16 && sizeof(kf_packet) == 40 && sizeof(kf_row) == 24, "no padding");
_Static_assert(sizeof(kf_summary) == 136 && sizeof(kf_window) == 56 && sizeof(kf_step) == 16, "no padding");
_Static_assert(sizeof(struct kf_device) % 8 == 0 && sizeof(struct kf_pairing) % 8 == 0, "rows stay aligned");

size_t kf_device_size(void)
{
    return sizeof(struct kf_device);
}

size_t kf_pairing_size(void)
{
    return sizeof(struct kf_pairing);
}

void kf_configure(kf_device *device, const kf_profile *profile)
{
    device->profile = *profile;
}

void kf_reset(kf_device *device, kf_pairing *pairing, const kf_profile *profile)
{
    memset(device, 0, sizeof *device);
    device->magic = MAGIC;
    device->version = KF_STATE_VERSION;
    device->size = sizeof *device;
    device->profile = *profile;
    kf_orientation_reset(&device->orientation);
    if (pairing)
        memset(pairing, 0, sizeof *pairing);
}

int kf_valid(const kf_device *device)
{
    return device->magic == MAGIC && device->version == KF_STATE_VERSION && device->size == sizeof *device &&
           device->steps.queue_head < KF_STEP_QUEUE && device->steps.queue_count <= KF_STEP_QUEUE &&
           device->steps.candidate_count < KF_STEP_CANDIDATES;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Follow the usual step. */
static void learn_step(kf_device *device, double dt_s)
{
    if (device->step_s <= 0)
        device->step_s = dt_s;
    else
        device->step_s += USUAL_SHARE * (least(dt_s, USUAL_JUMP * device->step_s) - device->step_s);
}

/* The step that ends at t_ns, s; 0 where the stream is broken before it. */
static double join(kf_device *device, int64_t t_ns, kf_sink *sink)
{
    if (!(device->stream & KF_STREAM_TIME))
        return 0;
    const double dt_s = t_ns > device->t_ns ? kf_seconds(device->t_ns, t_ns) : 0;
    const bool gap = t_ns <= device->t_ns || kf_elapsed(device->t_ns, t_ns) > KF_GAP_NS;
    if (gap || (device->stream & KF_STREAM_BROKEN)) {
        const bool unknown = device->stream & KF_STREAM_BROKEN;
        device->stream &= ~KF_STREAM_BROKEN;
        device->window.flags |= KF_GAP;
        sink->flags |= KF_GAP;
        kf_orientation_break(&device->orientation, unknown ? 60.0 : dt_s);
        kf_steps_break(&device->steps);
        return 0;
    }
    learn_step(device, dt_s);
    return dt_s;
}

/* Hand on what a sample said to what follows orientation. */
static void follow(kf_device *device, const kf_motion *m, double dt_s, double usual_s, kf_sink *sink)
{
    kf_window_add(device, m, dt_s, usual_s);
    if (m->has & KF_BIT_ACCEL) {
        kf_steps_take(device, m->t_ns, m->free_e.z, dt_s, sink);
        sink->free_sum_e = kf_add(sink->free_sum_e, m->free_e);
        sink->free_count++;
    }
    if (m->clipped)
        sink->flags |= KF_CLIPPED;
    sink->samples++;
    if (m->t_ns == device->window.end_ns)
        kf_window_close(device, sink);
}

static double own_interval(const kf_sample *s, double usual_s)
{
    return s->interval_s > 0 ? (double)s->interval_s : usual_s;
}

/* Whether a sample comes after the newest; one after a break does whatever its stamp. */
static bool comes_after(const kf_device *device, const kf_sample *s)
{
    return (device->stream & (KF_STREAM_TIME | KF_STREAM_BROKEN)) != KF_STREAM_TIME || s->t_ns > device->t_ns;
}

/* Turn by a sample, which comes after the newest; dt_s, usual_s: its step, and the usual one before it. */
static kf_motion turn(kf_device *device, const kf_sample *s, kf_sink *sink, double *dt_s, double *usual_s)
{
    *usual_s = device->step_s;
    *dt_s = join(device, s->t_ns, sink);
    device->t_ns = s->t_ns;
    device->stream |= KF_STREAM_TIME;
    return kf_orientation_step(&device->orientation, s, *dt_s, own_interval(s, *usual_s));
}

/* Take one sample; those not after the newest are dropped. */
void kf_sample_take(kf_device *device, const kf_sample *s, kf_sink *sink)
{
    double dt_s, usual_s;

    if (!comes_after(device, s))
        return;
    kf_window_begin(device, s->t_ns, sink);
    const kf_motion m = turn(device, s, sink, &dt_s, &usual_s);
    follow(device, &m, dt_s, usual_s, sink);
}

/* Take the orientation of one sample alone; free acceleration is added to sink. */
void kf_sample_turn(kf_device *device, const kf_sample *s, kf_sink *sink)
{
    double dt_s, usual_s;

    if (!comes_after(device, s))
        return;
    sink->free_sum_e = turn(device, s, sink, &dt_s, &usual_s).free_e;
    if (s->clipped)
        sink->flags |= KF_CLIPPED;
}

/* Place the packet in its stream: boot, order, loss. Return KF_OK or why it is not used; nothing changes
 * then. */
static uint32_t place(const kf_device *device, const kf_frame *f, bool late, kf_summary *out)
{
    const bool told = f->flags & KF_HAS_BOOT;
    const bool same = !told || !(device->stream & KF_STREAM_BOOT) || f->boot == device->boot;

    if (!same) {
        if ((device->stream & KF_STREAM_BOOT_BEFORE) && f->boot == device->boot_before)
            return KF_LATE;
        out->flags |= KF_NEW_BOOT;
        return KF_OK;
    }
    if ((f->flags & KF_HAS_SEQ) && (device->stream & KF_STREAM_SEQ)) {
        const uint32_t ahead = f->seq - device->seq;
        if (ahead == 0)
            return KF_DUPLICATE;
        if (late && (ahead >= 0x80000000u || !(device->stream & KF_STREAM_TIME) ||
                     f->t_last_ns >= device->t_ns || kf_elapsed(f->t_last_ns, device->t_ns) < STEP_BACK_NS))
            return KF_LATE;
        if (ahead < 0x80000000u)
            out->lost = ahead - 1;
        return KF_OK;
    }
    return late ? KF_LATE : KF_OK;
}

/* Take boot and seq over into the state; where the stream starts anew, forget what was pending. */
static void enter(kf_device *device, kf_pairing *pairing, const kf_frame *f, bool late, uint32_t flags)
{
    if (flags & KF_NEW_BOOT) {
        device->boot_before = device->boot;
        device->stream |= KF_STREAM_BOOT_BEFORE;
        device->stream &= ~KF_STREAM_SEQ;
    }
    if ((flags & KF_NEW_BOOT) || late) {
        device->stream |= KF_STREAM_BROKEN;
        device->step_s = 0;
        if (pairing)
            kf_pairing_clear(pairing);
    }
    if (f->flags & KF_HAS_BOOT) {
        device->boot = f->boot;
        device->stream |= KF_STREAM_BOOT;
    }
    if ((f->flags & KF_HAS_SEQ) &&
        (!(device->stream & KF_STREAM_SEQ) || f->seq - device->seq < 0x80000000u)) {
        device->seq = f->seq;
        device->stream |= KF_STREAM_SEQ;
    }
}

/* Whether no row of the packet is newer than its sensor's newest. */
static bool rows_late(const kf_pairing *pairing, const kf_frame *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const kf_row row = kf_row_at(f, i);
        if (!kf_pairing_late(pairing, &row))
            return false;
    }
    return true;
}

static void take_rows(kf_device *device, kf_pairing *pairing, const kf_frame *f, kf_sink *sink)
{
    for (size_t i = 0; i < f->count; i++) {
        const kf_row row = kf_row_at(f, i);
        if (!kf_pairing_late(pairing, &row))
            kf_pairing_take(device, pairing, &row, f->flags & KF_MEANS, sink);
    }
}

static void take_binary(kf_device *device, const kf_frame *f, kf_sink *sink)
{
    for (size_t i = 0; i < f->count; i++) {
        const kf_sample s = kf_binary_sample(f, i, &device->profile);
        kf_sample_take(device, &s, sink);
    }
}

/* What the device knows after the packet. */
static void fill_state(const kf_device *device, const kf_sink *sink, kf_summary *out)
{
    const kf_orientation *o = &device->orientation;
    const kf_view view = kf_filter_view(&o->filter);
    const kf_vec mean = kf_to_e9(
        view.half, kf_scale(sink->free_count ? 1.0 / (double)sink->free_count : 0, sink->free_sum_e));

    out->flags |= sink->flags | view.flags;
    out->samples = sink->samples;
    out->rate_hz = (float)(device->step_s > 0 ? 1 / device->step_s : 0);
    out->steps = device->steps.count;
    memcpy(out->q6, o->filter.q, sizeof out->q6);
    kf_orientation_q9(o, out->q9);
    memcpy(out->bias_b, o->filter.bias, sizeof out->bias_b);
    out->bias_sigma = kf_orientation_bias_sigma(o);
    out->tilt_sigma = sqrtf(view.tilt_variance);
    out->heading_sigma = kf_orientation_heading_sigma(o);
    out->free_accel_e[0] = (float)mean.x;
    out->free_accel_e[1] = (float)mean.y;
    out->free_accel_e[2] = (float)mean.z;
}

static uint32_t decode(const kf_packet *p, const uint8_t *body, kf_frame *f)
{
    return p->kind == KF_ROWS ? kf_decode_rows(body, (size_t)p->length, p->flags, f)
                              : kf_decode_binary(body, (size_t)p->length, f);
}

/* Read a packet's head and place it in its device's stream; where it is taken, KF_OK, f is what to take. */
static void begin_packet(kf_device *device, kf_pairing *pairing, const kf_packet *p, const uint8_t *body,
                         kf_frame *f, kf_summary *out)
{
    const bool rows = p->kind == KF_ROWS;

    *out = (kf_summary){.device = p->device};
    out->status = decode(p, body, f);
    out->boot = rows ? p->boot : f->boot;
    out->seq = rows ? p->seq : f->seq;
    if (out->status != KF_OK)
        return;
    f->boot = out->boot;
    f->seq = out->seq;
    out->t_first_ns = f->t_first_ns;
    out->t_last_ns = f->t_last_ns;
    const bool late =
        rows ? rows_late(pairing, f) : (device->stream & KF_STREAM_TIME) && f->t_last_ns <= device->t_ns;
    out->status = place(device, f, late, out);
    if (out->status == KF_OK)
        enter(device, pairing, f, late, out->flags);
}

static void begin_sink(kf_sink *sink, uint32_t device)
{
    sink->device = device;
    sink->flags = sink->samples = sink->free_count = 0;
    sink->free_sum_e = (kf_vec){0, 0, 0};
}

static void advance_packet(kf_device *device, kf_pairing *pairing, const kf_packet *p, const uint8_t *body,
                           kf_summary *out, kf_sink *sink)
{
    kf_frame f;

    begin_sink(sink, p->device);
    begin_packet(device, pairing, p, body, &f, out);
    if (out->status == KF_OK && p->kind == KF_ROWS)
        take_rows(device, pairing, &f, sink);
    else if (out->status == KF_OK)
        take_binary(device, &f, sink);
    fill_state(device, sink, out);
}

/* Advance what is kept beside. Rows that wait for others are not kept there: in a packet with a seq each
 * sample has those of all its sensors. */
static void advance_beside(kf_device *beside, const kf_packet *p, const uint8_t *body, kf_summary *out,
                           kf_sink *sink)
{
    const int64_t t_ns = beside->t_ns;
    kf_pairing pairing = {.newest_ns = {t_ns, t_ns, t_ns}};

    if (beside->stream & KF_STREAM_TIME)
        pairing.seen = (1u << KF_ACCEL) | (1u << KF_GYRO) | (1u << KF_MAG);
    advance_packet(beside, &pairing, p, body, out, sink);
}

/* A tile: packets of different devices, one after the other in the call, whose samples go through the filter
 * side by side. What surrounds the filter is done for one after the other, before it and after it; so results
 * are those of advance_packet, bit for bit. */
typedef struct {
    int64_t t_ns;
    uint32_t has, clipped;
    double dt_s, usual_s;
} moment;

typedef struct {
    size_t packets; /* that the tile spans */
    size_t count;   /* rows: those of them that are staged */
    uint32_t devices[TILE_PACKETS];
    bool beside[TILE_PACKETS];
    int row_of[TILE_PACKETS]; /* -1: the packet is not staged */
    kf_tile_row rows[KF_TILE_ROWS];
    moment moments[KF_TILE_ROWS][KF_TILE_STEPS];
} tile;

/* Whether a packet follows on what was: nothing but the filter then looks at its samples first. */
static bool follows_on(const kf_device *device, const kf_packet *p, const uint8_t *body)
{
    kf_frame f;
    kf_summary out = {0};

    if (p->kind != KF_BINARY || device->orientation.filter.tilt_known <= 0 ||
        (device->stream & (KF_STREAM_TIME | KF_STREAM_BROKEN)) != KF_STREAM_TIME ||
        kf_decode_binary(body, (size_t)p->length, &f) != KF_OK)
        return false;
    return f.count <= KF_TILE_STEPS && f.dt_ns > 0 && f.dt_ns <= KF_GAP_NS && f.t_first_ns > device->t_ns &&
           kf_elapsed(device->t_ns, f.t_first_ns) <= KF_GAP_NS && place(device, &f, false, &out) == KF_OK &&
           !(out.flags & KF_NEW_BOOT);
}

/* Turn a packet's samples into steps. */
static void stage(kf_device *device, const kf_packet *p, const uint8_t *body, kf_tile_row *row,
                  moment *moments, kf_summary *out)
{
    kf_frame f;

    begin_packet(device, NULL, p, body, &f, out);
    row->filter = &device->orientation.filter;
    row->count = (uint32_t)f.count;
    for (size_t k = 0; k < f.count; k++) {
        const kf_sample sample = kf_binary_sample(&f, k, &device->profile);
        const double dt_s = kf_seconds(device->t_ns, sample.t_ns), usual_s = device->step_s;
        moments[k] = (moment){sample.t_ns, sample.has, sample.clipped, dt_s, usual_s};
        learn_step(device, dt_s);
        device->t_ns = sample.t_ns;
        kf_orientation_increment(&device->orientation, &sample, dt_s, own_interval(&sample, usual_s),
                                 &row->steps[k]);
    }
}

/* Hand on what the filter said of a staged packet. */
static void unstage(kf_device *device, const kf_tile_row *row, const moment *moments, kf_sink *sink)
{
    for (uint32_t k = 0; k < row->count; k++) {
        const moment *at = &moments[k];
        kf_motion m = {.t_ns = at->t_ns, .has = at->has, .clipped = at->clipped};
        kf_window_begin(device, m.t_ns, sink);
        kf_motion_fill(&m, &row->steps[k], &row->frees[k]);
        m.view = row->views[row->corrections[k]];
        follow(device, &m, at->dt_s, at->usual_s, sink);
    }
}

static bool holds(const tile *t, uint32_t device)
{
    for (size_t i = 0; i < t->packets; i++)
        if (t->devices[i] == device)
            return true;
    return false;
}

/* Keep what a device is before a gap. What it has open it tells itself. A gap that is bridged is none. */
static void fork_device(const kf_device *device, kf_device *beside, const kf_packet *p, const uint8_t *body)
{
    kf_frame f;

    if (decode(p, body, &f) != KF_OK)
        return;
    if ((device->stream & KF_STREAM_TIME) && f.t_first_ns > device->t_ns &&
        kf_elapsed(device->t_ns, f.t_first_ns) > KF_GAP_NS) {
        *beside = *device;
        beside->window = (kf_window_state){0};
        beside->steps.queue_count = 0;
    } else if (beside->magic) {
        beside->magic = 0;
    }
}

/* Whether a packet goes beside: something is kept there, and it ends before the device's newest sample. */
static bool goes_beside(const kf_device *device, const kf_device *beside, const kf_packet *p,
                        const uint8_t *body)
{
    kf_frame f;

    return p->way >= KF_WAY_BESIDE && beside[p->device].magic == MAGIC && decode(p, body, &f) == KF_OK &&
           f.t_last_ns < device[p->device].t_ns;
}

/* Tell what is open beside: the device has told what follows. */
static void finish(kf_device *device, kf_sink *sink)
{
    if (device->window.is_open)
        kf_window_close(device, sink);
    device->magic = 0;
}

/* Stage packets until the tile is full, or a device comes again. */
static void fill_tile(tile *t, kf_device *devices, kf_device *beside, const uint8_t *bytes,
                      const kf_packet *packets, size_t count, kf_summary *summaries)
{
    t->packets = t->count = 0;
    while (t->packets < count && t->packets < TILE_PACKETS && t->count < KF_TILE_ROWS) {
        const kf_packet *p = &packets[t->packets];
        if (holds(t, p->device))
            return;
        if (p->way == KF_WAY_FORK)
            fork_device(&devices[p->device], &beside[p->device], p, bytes + p->offset);
        const bool is_beside = goes_beside(devices, beside, p, bytes + p->offset);
        kf_device *device = is_beside ? &beside[p->device] : &devices[p->device];
        t->beside[t->packets] = is_beside;
        if (count - t->packets > 8)
            kf_prefetch(&devices[p[8].device], sizeof *devices);
        t->devices[t->packets] = p->device;
        t->row_of[t->packets] = -1;
        if (follows_on(device, p, bytes + p->offset)) {
            stage(device, p, bytes + p->offset, &t->rows[t->count], t->moments[t->count],
                  &summaries[t->packets]);
            t->row_of[t->packets] = (int)t->count++;
        }
        t->packets++;
    }
}

static void run_tile(kf_tile_row *rows, size_t count, uint32_t path)
{
#ifdef KF_X86
    if (path == KF_PATH_AVX512) {
        kf_tile_avx512(rows, count);
        return;
    }
    if (path == KF_PATH_AVX2) {
        kf_tile_avx2(rows, count);
        return;
    }
#endif
    (void)path;
    kf_tile_plain(rows, count);
}

uint32_t kf_best_path(void)
{
#ifdef KF_X86
    if (__builtin_cpu_supports("avx512f"))
        return KF_PATH_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return KF_PATH_AVX2;
#endif
    return KF_PATH_PLAIN;
}

/* Whether every reference lies within its array, and the outputs have room. */
static bool in_range(const kf_pairing *pairings, const kf_device *beside, size_t count, size_t byte_count,
                     const kf_packet *packets, size_t packet_count, size_t capacity)
{
    uint64_t room =
        0; /* cannot overflow: it is less than byte_count * packet_count / 12, checked as it grows */

    for (size_t i = 0; i < packet_count; i++) {
        const kf_packet *p = &packets[i];
        if (p->device >= count || p->kind > KF_ROWS || (p->kind == KF_ROWS && !pairings) ||
            p->way > KF_WAY_LAST || (p->way != KF_WAY_ON && !beside))
            return false;
        if (p->offset > byte_count || p->length > byte_count - p->offset)
            return false;
        room += p->length / 12;
        if (room > capacity)
            return false;
    }
    return true;
}

int kf_advance(kf_device *devices, kf_pairing *pairings, kf_device *beside, size_t count,
               const uint8_t *bytes, size_t byte_count, const kf_packet *packets, size_t packet_count,
               kf_summary *summaries, kf_window *windows, kf_step *steps, size_t capacity,
               size_t *window_count, size_t *step_count, uint32_t path)
{
    kf_sink sink = {.windows = windows, .steps = steps};
    tile t;

    if (!in_range(pairings, beside, count, byte_count, packets, packet_count, capacity) ||
        path > kf_best_path())
        return -1;
    for (size_t first = 0; first < packet_count; first += t.packets) {
        fill_tile(&t, devices, beside, bytes, packets + first, packet_count - first, summaries + first);
        run_tile(t.rows, t.count, path);
        for (size_t i = 0; i < t.packets; i++) {
            const kf_packet *p = &packets[first + i];
            kf_summary *out = &summaries[first + i];
            kf_device *device = t.beside[i] ? &beside[p->device] : &devices[p->device];
            const size_t windows_before = sink.window_count, steps_before = sink.step_count;
            if (t.row_of[i] < 0 && t.beside[i]) {
                advance_beside(device, p, bytes + p->offset, out, &sink);
            } else if (t.row_of[i] < 0) {
                advance_packet(device, pairings ? &pairings[p->device] : NULL, p, bytes + p->offset, out,
                               &sink);
            } else {
                begin_sink(&sink, p->device);
                unstage(device, &t.rows[t.row_of[i]], t.moments[t.row_of[i]], &sink);
                fill_state(device, &sink, out);
            }
            if (t.beside[i])
                out->flags |= KF_BESIDE;
            if (t.beside[i] && p->way == KF_WAY_LAST)
                finish(device, &sink);
            out->windows = (uint32_t)(sink.window_count - windows_before);
            out->new_steps = (uint32_t)(sink.step_count - steps_before);
        }
    }
    *window_count = sink.window_count;
    *step_count = sink.step_count;
    return 0;
}
