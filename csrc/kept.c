/* kept.c: what steps took in is kept for rewinds, packed, in pages of a pool that all lanes share.
 *
 * A lane keeps some two hundred measurements, each for forty seconds, and hardly ever looks at one again. So
 * they are packed one behind the other: without padding, times as distances, and the windows of the core,
 * which are four of five, with the float32 that they were made of. Whatever does not fit that is kept as it
 * is.
 */
#include <string.h>

#include "internal.h"

#define PACKED 0x80u /* beside the kind: a window that was packed, */
#define ALIKE 0x40u  /* and shares the end of that with its page */
#define KEY_BYTES 16 /* a record's row and time, which are known without it */

typedef struct {
    float duration_s, dv_up_mps, dv_sigma_mps, accel_rms, gyro_rms, step_interval_s;
    uint8_t steps;
    uint8_t rank;
    uint16_t flags;
    int32_t device;
} packed_window;

#define OWN_BYTES offsetof(packed_window, rank) /* the rest is mostly that of the window before */

typedef struct {
    uint8_t kind;
    int32_t since_ns; /* the page's first */
} packed_key;

#define KEY_PACKED 5 /* of packed_key, without padding */

_Static_assert(sizeof(kf_page) == 256, "no padding");
_Static_assert(sizeof(packed_window) == 32, "no padding");
_Static_assert(sizeof((kf_page){0}.alike) == sizeof(packed_window) - OWN_BYTES, "room for it");

static kf_page *page_at(const kf_schedule *s, uint32_t page)
{
    return &s->pages[page / KF_PAGES_A_BLOCK][page % KF_PAGES_A_BLOCK];
}

static void give_back(kf_schedule *s, uint32_t page)
{
    page_at(s, page)->next = s->free_page;
    s->free_page = page;
    s->free_pages++;
}

void kf_kept_free(kf_schedule *s, uint32_t first, uint32_t count)
{
    for (uint32_t i = first + count; i-- > first;)
        give_back(s, i);
}

/* Whether a number is a float32, bit for bit. */
static bool is_float(double value)
{
    return (double)(float)value == value; /* NaN is none */
}

/* Pack a window, unless one of its numbers would not come back as it is. */
static bool pack_window(const kf_measured_window *w, packed_window *out)
{
    *out = (packed_window){
        .device = w->device,
        .duration_s = (float)w->duration_s,
        .dv_up_mps = (float)w->dv_up_mps,
        .dv_sigma_mps = (float)w->dv_sigma_mps,
        .accel_rms = (float)w->accel_rms,
        .gyro_rms = (float)w->gyro_rms,
        .step_interval_s = (float)w->step_interval_s,
        .flags = (uint16_t)w->flags,
        .rank = (uint8_t)w->rank,
        .steps = (uint8_t)w->steps,
    };
    return is_float(w->duration_s) && is_float(w->dv_up_mps) && is_float(w->dv_sigma_mps) &&
           is_float(w->accel_rms) && is_float(w->gyro_rms) && is_float(w->step_interval_s) &&
           out->flags == w->flags && out->rank == w->rank && out->steps == w->steps;
}

static void unpack_window(const packed_window *in, uint8_t *record)
{
    kf_measured_window w;

    memcpy(&w, record, sizeof w); /* its row and time */
    w.device = in->device;
    w.rank = in->rank;
    w.duration_s = (double)in->duration_s;
    w.dv_up_mps = (double)in->dv_up_mps;
    w.dv_sigma_mps = (double)in->dv_sigma_mps;
    w.accel_rms = (double)in->accel_rms;
    w.gyro_rms = (double)in->gyro_rms;
    w.steps = in->steps;
    w.step_interval_s = (double)in->step_interval_s;
    w.flags = in->flags;
    memcpy(record, &w, sizeof w);
}

/* Bytes of what is kept that begins with this kind. */
static size_t length(const kf_schedule *s, uint8_t kind)
{
    if (kind & ALIKE)
        return KEY_PACKED + OWN_BYTES;
    return KEY_PACKED + (kind & PACKED ? sizeof(packed_window) : s->record_bytes[kind] - (size_t)KEY_BYTES);
}

static packed_key key_at(const uint8_t *bytes)
{
    packed_key key = {.kind = bytes[0]};

    memcpy(&key.since_ns, bytes + 1, sizeof key.since_ns);
    return key;
}

/* The page at the end of a lane's, where it has room for so many bytes of t_ns; else a new one. */
static kf_page *page_for(kf_schedule *s, kf_lane *lane, int64_t t_ns, size_t bytes)
{
    kf_page *last = lane->kept_last == KF_NONE ? NULL : page_at(s, lane->kept_last);

    if (last && last->end + bytes <= sizeof last->bytes && t_ns - last->first_ns >= INT32_MIN &&
        t_ns - last->first_ns <= INT32_MAX)
        return last;
    const uint32_t page = s->free_page;
    kf_page *fresh = page_at(s, page);
    s->free_page = fresh->next;
    s->free_pages--;
    fresh->first_ns = t_ns;
    fresh->newest_ns = INT64_MIN;
    fresh->next = KF_NONE;
    fresh->begin = fresh->end = 0;
    fresh->has_alike = 0;
    if (last)
        last->next = page;
    else
        lane->kept_first = page;
    lane->kept_last = page;
    return fresh;
}

static bool is_alike(const kf_page *page, const packed_window *w)
{
    return page->has_alike && !memcmp(page->alike, (const uint8_t *)w + OWN_BYTES, sizeof page->alike);
}

void kf_kept_prefetch(const kf_schedule *s, const kf_lane *lane)
{
    if (lane->kept_count)
        kf_prefetch(page_at(s, lane->kept_last), sizeof(kf_page));
}

void kf_kept_add(kf_schedule *s, kf_lane *lane, const kf_item *item)
{
    packed_window window;
    const void *rest = item->record + KEY_BYTES;
    uint8_t kind = (uint8_t)item->kind;

    if (item->kind == KF_KIND_WINDOW) {
        kf_measured_window whole;
        memcpy(&whole, item->record, sizeof whole);
        if (pack_window(&whole, &window)) {
            kind |= PACKED;
            rest = &window;
            if (lane->kept_last != KF_NONE && is_alike(page_at(s, lane->kept_last), &window))
                kind |= ALIKE;
        }
    }
    kf_page *page = page_for(s, lane, item->t_ns, length(s, kind));
    if (kind & PACKED && !page->has_alike) {
        memcpy(page->alike, (const uint8_t *)&window + OWN_BYTES, sizeof page->alike);
        page->has_alike = 1;
        kind |= ALIKE;
    }
    const size_t bytes = length(s, kind);
    const int32_t since_ns = (int32_t)(item->t_ns - page->first_ns);
    uint8_t *to = page->bytes + page->end;
    to[0] = kind;
    memcpy(to + 1, &since_ns, sizeof since_ns);
    memcpy(to + KEY_PACKED, rest, bytes - KEY_PACKED);
    page->end = (uint16_t)(page->end + bytes);
    if (item->t_ns > page->newest_ns)
        page->newest_ns = item->t_ns;
    lane->kept_count++;
}

static void drop_page(kf_schedule *s, kf_lane *lane)
{
    const uint32_t page = lane->kept_first;

    lane->kept_first = page_at(s, page)->next;
    if (lane->kept_first == KF_NONE)
        lane->kept_last = KF_NONE;
    give_back(s, page);
}

int64_t kf_kept_oldest(const kf_schedule *s, const kf_lane *lane)
{
    const kf_page *page = page_at(s, lane->kept_first);

    return page->first_ns + key_at(page->bytes + page->begin).since_ns;
}

void kf_kept_drop(kf_schedule *s, kf_lane *lane)
{
    kf_page *page = page_at(s, lane->kept_first);

    page->begin = (uint16_t)(page->begin + length(s, page->bytes[page->begin]));
    lane->kept_count--;
    if (page->begin == page->end)
        drop_page(s, lane);
}

void kf_kept_clear(kf_schedule *s, kf_lane *lane)
{
    while (lane->kept_first != KF_NONE)
        drop_page(s, lane);
    lane->kept_count = 0;
}

/* Write out what is kept at a place of a page. */
static void unpack(const kf_schedule *s, const kf_page *page, size_t at, uint32_t row, kf_item *out)
{
    const uint8_t *bytes = page->bytes + at, kind = bytes[0];
    const int64_t t_ns = page->first_ns + key_at(bytes).since_ns;
    const int32_t key = (int32_t)row;
    packed_window window;

    *out = (kf_item){.t_ns = t_ns, .kind = kind & ~(PACKED | ALIKE)};
    memcpy(out->record, &key, sizeof key);
    memcpy(out->record + 8, &t_ns, sizeof t_ns);
    if (kind & PACKED) {
        memcpy(&window, bytes + KEY_PACKED, length(s, kind) - KEY_PACKED);
        if (kind & ALIKE)
            memcpy((uint8_t *)&window + OWN_BYTES, page->alike, sizeof page->alike);
        unpack_window(&window, out->record);
    } else {
        memcpy(out->record + KEY_BYTES, bytes + KEY_PACKED, length(s, kind) - KEY_PACKED);
    }
}

uint32_t kf_kept_tell(const kf_schedule *s, uint32_t row, int64_t from_ns, int64_t until_ns, kf_item *out)
{
    uint32_t count = 0;
    const kf_page *page;

    for (uint32_t at = s->lanes[row].kept_first; at != KF_NONE; at = page->next) {
        page = page_at(s, at);
        if (page->newest_ns <= from_ns)
            continue;
        for (size_t i = page->begin; i < page->end; i += length(s, page->bytes[i])) {
            const int64_t t_ns = page->first_ns + key_at(page->bytes + i).since_ns;
            if (t_ns > from_ns && t_ns <= until_ns)
                unpack(s, page, i, row, &out[count++]);
        }
    }
    return count;
}
