/* Boots, sequence numbers, order, gaps, windows, pairing and limits of the call. */
#include "claims.h"

static uint32_t send(stage *s, const head *h)
{
    static uint8_t bytes[40 + 12 * KF_SAMPLES_MAX];

    return advance_one(s, KF_BINARY, bytes, write_packet(bytes, h, NULL));
}

static void follow_on(head *h)
{
    h->seq++;
    h->t0_ns += (uint64_t)h->dt_ns * h->count;
}

static void duplicates_and_late_packets_change_nothing(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    head h = usual_head();

    HOLDS(send(s, &h) == KF_OK);
    const head first = h;
    follow_on(&h);
    HOLDS(send(s, &h) == KF_OK);
    void *before = malloc(kf_device_size());
    HOLDS(before != NULL);
    memcpy(before, s->devices, kf_device_size());
    HOLDS(send(s, &h) == KF_DUPLICATE);
    HOLDS(send(s, &first) == KF_LATE);
    HOLDS(memcmp(before, s->devices, kf_device_size()) == 0);
    free(before);
    end(s);
}

static void missing_packets_are_counted_across_the_wrap(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    head h = usual_head();

    h.seq = UINT32_MAX - 1;
    HOLDS(send(s, &h) == KF_OK && s->summaries[0].lost == 0);
    follow_on(&h);
    h.seq = 3;
    HOLDS(send(s, &h) == KF_OK && s->summaries[0].lost == 4);
    end(s);
}

static void a_new_boot_starts_anew_and_the_old_one_is_late(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    head h = usual_head();

    HOLDS(send(s, &h) == KF_OK && !(s->summaries[0].flags & KF_NEW_BOOT));
    const head old = h;
    h.boot = 8;
    h.t0_ns = 5;
    HOLDS(send(s, &h) == KF_OK);
    HOLDS(s->summaries[0].flags & KF_NEW_BOOT);
    HOLDS(s->summaries[0].flags & KF_GAP);
    HOLDS(send(s, &old) == KF_LATE);
    end(s);
}

static void a_clock_set_back_does_not_silence_the_device(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    head h = usual_head();

    h.t0_ns = 90000000000;
    HOLDS(send(s, &h) == KF_OK);
    h.seq++;
    h.t0_ns = 5;
    HOLDS(send(s, &h) == KF_OK);
    HOLDS(s->summaries[0].flags & KF_GAP);
    HOLDS(s->summaries[0].samples == h.count);
    end(s);
}

static void nothing_is_integrated_over_a_gap(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    head h = usual_head();

    h.count = 100;
    HOLDS(send(s, &h) == KF_OK);
    follow_on(&h);
    h.t0_ns += KF_GAP_NS;
    HOLDS(send(s, &h) == KF_OK);
    HOLDS(s->summaries[0].flags & KF_GAP);
    HOLDS(s->window_count >= 2 && (s->windows[1].flags & KF_GAP));
    HOLDS(s->windows[1].duration_s < 0.25F);
    end(s);
}

static void windows_end_at_multiples_also_before_zero(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    kf_row rows[200];

    for (size_t i = 0; i < 100; i++) {
        const int64_t t_ns = -500000000 + 10000000 * (int64_t)i;
        rows[2 * i] = (kf_row){.t_ns = t_ns, .z = 9.8F, .sensor = KF_ACCEL};
        rows[2 * i + 1] = (kf_row){.t_ns = t_ns, .sensor = KF_GYRO};
    }
    HOLDS(advance_one(s, KF_ROWS, rows, sizeof rows) == KF_OK);
    HOLDS(s->summaries[0].samples == 100);
    HOLDS(s->window_count == 4);
    for (int i = 0; i < 4; i++)
        HOLDS(s->windows[i].t_ns == -500000000 + i * (int64_t)KF_WINDOW_NS);
    HOLDS(fabsf(s->windows[2].duration_s - 0.25F) < 1e-6F);
    end(s);
}

static void stamps_at_both_ends_of_int64_are_borne(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    const int64_t stamps[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    kf_row rows[14];

    for (size_t i = 0; i < 7; i++) {
        rows[2 * i] = (kf_row){.t_ns = stamps[i], .z = 9.8F, .sensor = KF_ACCEL};
        rows[2 * i + 1] = (kf_row){.t_ns = stamps[i], .sensor = KF_GYRO};
    }
    HOLDS(advance_one(s, KF_ROWS, rows, sizeof rows) == KF_OK);
    HOLDS(s->summaries[0].samples == 7);
    HOLDS(finite_summary(&s->summaries[0]));
    end(s);
}

static void sensors_are_never_paired_across_a_gap(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    const int64_t step = KF_GAP_NS;
    kf_row rows[] = {{.t_ns = 0, .z = 9.8F, .sensor = KF_ACCEL},
                     {.t_ns = step / 2, .sensor = KF_GYRO},
                     {.t_ns = step, .z = 9.8F, .sensor = KF_ACCEL},
                     {.t_ns = step + step / 2, .sensor = KF_GYRO},
                     {.t_ns = 2 * step + 1, .z = 9.8F, .sensor = KF_ACCEL}};

    HOLDS(advance_one(s, KF_ROWS, rows, sizeof rows) == KF_OK);
    HOLDS(s->summaries[0].samples == 1);
    end(s);
}

static void one_row_never_needs_more_room_than_the_header_promises(void)
{
    uint64_t seed = 99;
    int64_t t_ns[3] = {0, 0, 0};
    stage *s = begin(1, KF_FOOT);

    for (int i = 0; i < 30000; i++) {
        const uint32_t sensor =
            (uint32_t)(chance(&seed) % 8 < 4 ? (chance(&seed) % 8 == 0 ? 0 : 1) : i % 3000 < 1500);
        t_ns[sensor] +=
            (int64_t)(chance(&seed) % 9 == 0 ? chance(&seed) % 300000000 : chance(&seed) % 20000000) + 1;
        const kf_row row = {
            .t_ns = t_ns[sensor],
            .z = sensor == KF_ACCEL ? 9.8F + 20.0F * sinf((float)(t_ns[sensor] % 1000000000) * 6e-9F) : 0.1F,
            .sensor = sensor};
        HOLDS(advance_one(s, KF_ROWS, &row, sizeof row) == KF_OK);
        HOLDS(s->window_count <= 2 && s->step_count <= 2);
    }
    end(s);
}

static void references_outside_their_arrays_touch_nothing(void)
{
    uint8_t bytes[200];
    const head h = usual_head();
    const size_t length = write_packet(bytes, &h, NULL);
    stage *s = begin(1, KF_UNKNOWN);
    const kf_packet bad[] = {{.device = 1, .length = length},
                             {.kind = 2, .length = length},
                             {.offset = 1, .length = length},
                             {.offset = UINT64_MAX, .length = length},
                             {.offset = length, .length = UINT64_MAX}};
    const kf_packet good = {.length = length};
    size_t windows = 77, steps = 77;

    for (size_t i = 0; i < 5; i++)
        HOLDS(kf_advance(s->devices, s->pairings, s->beside, 1, bytes, length, &bad[i], 1, s->summaries,
                         s->windows, s->steps, ROOM, &windows, &steps, KF_PATH_PLAIN) == -1);
    HOLDS(kf_advance(s->devices, s->pairings, s->beside, 1, bytes, length, &good, 1, s->summaries, s->windows,
                     s->steps, length / 12 - 1, &windows, &steps, KF_PATH_PLAIN) == -1);
    HOLDS(kf_advance(s->devices, s->pairings, s->beside, 1, bytes, length, &good, 1, s->summaries, s->windows,
                     s->steps, length / 12, &windows, &steps, kf_best_path() + 1) == -1);
    HOLDS(windows == 77 && steps == 77);
    HOLDS(kf_advance(s->devices, s->pairings, s->beside, 1, bytes, length, &good, 1, s->summaries, s->windows,
                     s->steps, length / 12, &windows, &steps, KF_PATH_PLAIN) == 0);
    HOLDS(steps == 0);
    end(s);
}

/* Whatever ways packets are sent on, states stay sound and the room suffices. */
static void any_way_is_borne(void)
{
    static uint8_t bytes[64 * 500];
    uint64_t dice = 5;

    for (int round = 0; round < 300; round++) {
        stage *s = begin(3, round % 2 ? KF_FOOT : KF_UNKNOWN);
        kf_packet packets[60] = {0};
        size_t at = 0;

        for (size_t i = 0; i < 60; i++) {
            head h = usual_head();
            h.count = 1 + (uint32_t)(chance(&dice) % 20);
            h.dt_ns = chance(&dice) % 4 ? 10000000 : 120000000;
            h.seq = (uint32_t)(chance(&dice) % 60);
            h.t0_ns = 1000000000 + h.seq * (uint64_t)100000000 + chance(&dice) % 50000000;
            packets[i] = (kf_packet){.device = (uint32_t)(chance(&dice) % 3),
                                     .offset = at,
                                     .length = write_packet(bytes + at, &h, NULL),
                                     .way = (uint32_t)(chance(&dice) % (KF_WAY_LAST + 1))};
            at += packets[i].length;
        }
        HOLDS(advance(s, bytes, at, packets, 60) == 0);
        for (size_t i = 0; i < 60; i++)
            HOLDS(finite_summary(&s->summaries[i]));
        for (size_t i = 0; i < 3; i++)
            HOLDS(kf_valid(device_of(s, i)));
        packets[7].way = KF_WAY_LAST + 1;
        HOLDS(advance(s, bytes, at, packets, 60) == -1);
        end(s);
    }
}

static void a_block_of_another_version_is_not_valid(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    uint8_t *bytes = (uint8_t *)s->devices;

    HOLDS(kf_valid(device_of(s, 0)));
    for (size_t i = 0; i < 16; i++) {
        bytes[i] ^= 1;
        HOLDS(!kf_valid(device_of(s, 0)));
        bytes[i] ^= 1;
    }
    HOLDS(kf_valid(device_of(s, 0)));
    end(s);
}

int main(void)
{
    CLAIM(duplicates_and_late_packets_change_nothing);
    CLAIM(missing_packets_are_counted_across_the_wrap);
    CLAIM(a_new_boot_starts_anew_and_the_old_one_is_late);
    CLAIM(a_clock_set_back_does_not_silence_the_device);
    CLAIM(nothing_is_integrated_over_a_gap);
    CLAIM(windows_end_at_multiples_also_before_zero);
    CLAIM(stamps_at_both_ends_of_int64_are_borne);
    CLAIM(sensors_are_never_paired_across_a_gap);
    CLAIM(one_row_never_needs_more_room_than_the_header_promises);
    CLAIM(references_outside_their_arrays_touch_nothing);
    CLAIM(any_way_is_borne);
    CLAIM(a_block_of_another_version_is_not_valid);
    return 0;
}
