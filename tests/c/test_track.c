/* kf_track: absurd input, order, and a recording of nothing. */
#include "claims.h"

#define COUNT 3000

static int sound(const kf_pose *p)
{
    double n6 = 0, n9 = 0;

    for (int i = 0; i < 4; i++) {
        n6 += (double)p->q6[i] * (double)p->q6[i];
        n9 += (double)p->q9[i] * (double)p->q9[i];
    }
    for (int i = 0; i < 3; i++)
        if (!isfinite(p->bias_b[i]) || !isfinite(p->free_accel_e[i]))
            return 0;
    return fabs(n6 - 1) < 1e-4 && fabs(n9 - 1) < 1e-4 && isfinite(p->bias_sigma) && isfinite(p->tilt_sigma) &&
           isfinite(p->heading_sigma);
}

/* Track instants copied to a block of their exact size, so that reading or writing past it is seen. */
static void track(const stage *s, const kf_instant *instants, size_t count, uint32_t flags)
{
    kf_instant *exact = malloc((count ? count : 1) * sizeof *exact);
    kf_pose *poses = malloc((count ? count : 1) * sizeof *poses);

    HOLDS(exact != NULL && poses != NULL);
    if (count > 0)
        memcpy(exact, instants, count * sizeof *exact);
    kf_track(device_of(s, 0), exact, count, flags, poses);
    for (size_t i = 0; i < count; i++)
        HOLDS(sound(&poses[i]));
    free(exact);
    free(poses);
}

static kf_instant at_rest(int64_t t_ns)
{
    return (kf_instant){.t_ns = t_ns, .accel_b = {0, 0, 9.8F}, .mag_b = {0, 20, -40}};
}

static void nothing_changes_nothing(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    void *before = malloc(kf_device_size());

    HOLDS(before != NULL);
    memcpy(before, s->devices, kf_device_size());
    kf_track(device_of(s, 0), NULL, 0, 0, NULL);
    track(s, NULL, 0, KF_MEANS);
    HOLDS(memcmp(before, s->devices, kf_device_size()) == 0);
    free(before);
    end(s);
}

static void what_is_not_newer_or_tells_nothing_changes_nothing(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    void *before = malloc(kf_device_size());
    kf_instant empty = at_rest(40000000);
    const kf_instant first[] = {at_rest(10000000), at_rest(20000000), at_rest(30000000)};
    const kf_instant late[] = {at_rest(30000000), at_rest(20000000), at_rest(INT64_MIN)};

    HOLDS(before != NULL);
    track(s, first, 3, 0);
    memcpy(before, s->devices, kf_device_size());
    track(s, late, 3, 0);
    for (int i = 0; i < 3; i++)
        empty.gyro_b[i] = empty.accel_b[i] = NAN;
    track(s, &empty, 1, 0); /* a field alone is no sample */
    HOLDS(memcmp(before, s->devices, kf_device_size()) == 0);
    free(before);
    end(s);
}

static void stamps_at_both_ends_of_int64_are_borne(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    const kf_instant instants[] = {
        at_rest(INT64_MIN), at_rest(INT64_MIN + 1), at_rest(-1),        at_rest(0),
        at_rest(1),         at_rest(INT64_MAX - 1), at_rest(INT64_MAX), at_rest(INT64_MIN)};

    track(s, instants, 8, 0);
    track(s, instants, 8, KF_MEANS);
    end(s);
}

static float absurd(uint64_t *seed)
{
    static const float odd[] = {0,        -0.0F,    INFINITY, -INFINITY, NAN,    3.4e38F, -3.4e38F,
                                1.2e-38F, 1.0e-45F, 1.0e3F,   1.0e4F,    1.0e5F, 9.8F,    3.14159F};
    const uint64_t c = chance(seed);

    if (c % 4 == 0)
        return odd[c / 4 % (sizeof odd / sizeof *odd)];
    return ((float)(c >> 40) / 8388608.0F - 1) * powf(10, (float)(c % 17) - 8);
}

static void absurd_numbers_in_any_order_leave_a_sound_answer(void)
{
    kf_instant *instants = calloc(COUNT, sizeof *instants);
    uint64_t seed = 7;

    HOLDS(instants != NULL);
    for (uint32_t round = 0; round < 24; round++) {
        stage *s = begin(1, KF_UNKNOWN);
        const kf_profile profile = {.gyro_range = round % 3 == 0 ? 0 : 5.0F};
        int64_t t_ns = 0;
        kf_configure(device_of(s, 0), &profile);
        for (size_t i = 0; i < COUNT; i++) {
            kf_instant *in = &instants[i];
            const uint64_t c = chance(&seed);
            t_ns += (int64_t)(c % 64 == 0 ? c % 3000000000 : c % 30000000);
            in->t_ns = c % 100 == 1 ? (int64_t)chance(&seed) : t_ns;
            if (round % 4 == 3)
                in->t_ns = t_ns;
            in->interval_s = c % 3 ? 0.01F : absurd(&seed);
            for (int k = 0; k < 3; k++) {
                in->gyro_b[k] = c % 7 < round % 8 ? absurd(&seed) : (float)(chance(&seed) % 1000) / 80 - 6;
                in->accel_b[k] = c % 5 < round % 6 ? absurd(&seed) : 5.6F;
                in->mag_b[k] = c % 3 < round % 4 ? absurd(&seed) : 30.0F;
            }
        }
        track(s, instants, COUNT, round % 2 ? KF_MEANS : 0);
        end(s);
    }
    free(instants);
}

static void cuts_change_no_bit(void)
{
    stage *whole = begin(1, KF_UNKNOWN), *pieces = begin(1, KF_UNKNOWN);
    kf_instant instants[500];
    uint64_t seed = 3;
    size_t at = 0;

    for (size_t i = 0; i < 500; i++) {
        instants[i] = at_rest((int64_t)i * 10000000);
        for (int k = 0; k < 3; k++)
            instants[i].gyro_b[k] = (float)(chance(&seed) % 1000) / 100 - 5;
    }
    track(whole, instants, 500, 0);
    while (at < 500) {
        const size_t left = 500 - at, count = chance(&seed) % 40;
        track(pieces, instants + at, count < left ? count : left, 0);
        at += count < left ? count : left;
    }
    HOLDS(memcmp(whole->devices, pieces->devices, kf_device_size()) == 0);
    end(whole);
    end(pieces);
}

int main(void)
{
    CLAIM(nothing_changes_nothing);
    CLAIM(what_is_not_newer_or_tells_nothing_changes_nothing);
    CLAIM(stamps_at_both_ends_of_int64_are_borne);
    CLAIM(absurd_numbers_in_any_order_leave_a_sound_answer);
    CLAIM(cuts_change_no_bit);
    return 0;
}
