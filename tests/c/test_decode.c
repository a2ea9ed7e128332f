/* The binary packet and the rows: every refusal, the extremes of time, the fuzz. */
#include "claims.h"

static uint32_t status_of(const head *h, size_t cut)
{
    static uint8_t bytes[40 + 18 * 1100];
    stage *s = begin(1, KF_UNKNOWN);
    const uint32_t status = advance_one(s, KF_BINARY, bytes, write_packet(bytes, h, NULL) - cut);

    HOLDS(finite_summary(&s->summaries[0]));
    end(s);
    return status;
}

static uint32_t status_with_byte(size_t offset, uint8_t value)
{
    uint8_t bytes[256];
    const head h = usual_head();
    stage *s = begin(1, KF_UNKNOWN);
    const size_t length = write_packet(bytes, &h, NULL);

    bytes[offset] = value;
    const uint32_t status = advance_one(s, KF_BINARY, bytes, length);
    end(s);
    return status;
}

static void a_good_packet_is_taken(void)
{
    head h = usual_head();

    HOLDS(status_of(&h, 0) == KF_OK);
    h.columns = 9;
    HOLDS(status_of(&h, 0) == KF_OK);
    h.count = KF_SAMPLES_MAX;
    HOLDS(status_of(&h, 0) == KF_OK);
    h.flags = 1;
    HOLDS(status_of(&h, 0) == KF_OK);
}

static void each_header_field_is_checked(void)
{
    head h = usual_head();

    HOLDS(status_of(&h, 121) == KF_SHORT_HEADER);
    HOLDS(status_of(&h, 160) == KF_SHORT_HEADER);
    HOLDS(status_with_byte(0, 0x4C) == KF_BAD_MAGIC);
    HOLDS(status_with_byte(1, 2) == KF_BAD_VERSION);
    HOLDS(status_with_byte(2, 7) == KF_BAD_COLUMNS);
    HOLDS(status_with_byte(3, 2) == KF_BAD_FLAGS);
    HOLDS(status_with_byte(24, 0) == KF_BAD_COUNT);
    HOLDS(status_with_byte(25, 4) == KF_BAD_COUNT);
    HOLDS(status_with_byte(26, 1) == KF_BAD_RESERVED);
    HOLDS(status_with_byte(24, 9) == KF_BAD_LENGTH);
    HOLDS(status_of(&h, 1) == KF_BAD_LENGTH);
    HOLDS(status_with_byte(15, 0x80) == KF_BAD_TIME);
}

static void scales_are_above_zero_and_of_what_is_worn(void)
{
    const float bad[] = {0.0F, -1.0F, INFINITY, -INFINITY, NAN, 4.0F};

    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 3; k++) {
            head h = usual_head();
            h.scale[k] = bad[i];
            HOLDS(status_of(&h, 0) == KF_BAD_SCALE);
        }
}

static void time_at_the_end_of_int64_is_refused_or_taken_whole(void)
{
    head h = usual_head();

    h.t0_ns = (uint64_t)INT64_MAX;
    HOLDS(status_of(&h, 0) == KF_BAD_TIME);
    h.count = 1;
    HOLDS(status_of(&h, 0) == KF_OK);
    h.count = KF_SAMPLES_MAX;
    h.dt_ns = UINT32_MAX;
    HOLDS(status_of(&h, 0) == KF_BAD_TIME);
    h.t0_ns = (uint64_t)INT64_MAX - (uint64_t)UINT32_MAX * 999;
    HOLDS(status_of(&h, 0) == KF_OK);
    h.t0_ns++;
    HOLDS(status_of(&h, 0) == KF_BAD_TIME);
    h.t0_ns = UINT64_MAX;
    HOLDS(status_of(&h, 0) == KF_BAD_TIME);
}

static void rows_are_checked(void)
{
    stage *s = begin(1, KF_UNKNOWN);
    kf_row row = {.t_ns = 1, .z = 9.8F, .sensor = KF_MAG + 1};

    HOLDS(advance_one(s, KF_ROWS, &row, 0) == KF_BAD_COUNT);
    HOLDS(advance_one(s, KF_ROWS, &row, 23) == KF_BAD_LENGTH);
    HOLDS(advance_one(s, KF_ROWS, &row, sizeof row) == KF_BAD_SENSOR);
    row.sensor = KF_GYRO;
    row.y = NAN;
    HOLDS(advance_one(s, KF_ROWS, &row, sizeof row) == KF_NOT_FINITE);
    row.y = -INFINITY;
    HOLDS(advance_one(s, KF_ROWS, &row, sizeof row) == KF_NOT_FINITE);
    row.y = 0;
    HOLDS(advance_one(s, KF_ROWS, &row, sizeof row) == KF_OK);
    HOLDS(advance_one(s, KF_ROWS, &row, sizeof row) == KF_LATE);
    end(s);
}

static void extremes_of_the_counts_and_of_the_told_range_are_clipped(void)
{
    const kf_profile profile = {.gyro_range = 8.0F};
    const int16_t gyro[] = {100, 32767, -32767, 7999, -8000};
    const uint32_t clipped[] = {0, 1, 1, 1, 1};

    for (size_t i = 0; i < 5; i++) {
        const int16_t counts[6] = {0, 0, 1961, gyro[i], 0, 0};
        uint8_t bytes[64];
        head h = usual_head();
        stage *s = begin(1, KF_UNKNOWN);
        h.count = 1;
        kf_configure(device_of(s, 0), &profile);
        HOLDS(advance_one(s, KF_BINARY, bytes, write_packet(bytes, &h, counts)) == KF_OK);
        HOLDS(((s->summaries[0].flags & KF_CLIPPED) != 0) == clipped[i]);
        end(s);
    }
}

static void an_absent_magnetometer_is_no_fault(void)
{
    int16_t counts[90];
    uint8_t bytes[256];
    head h = usual_head();
    stage *s = begin(1, KF_UNKNOWN);

    h.columns = 9;
    for (size_t i = 0; i < 90; i++)
        counts[i] = i % 9 == 2 ? 1961 : i % 9 < 6 ? 0 : INT16_MIN;
    HOLDS(advance_one(s, KF_BINARY, bytes, write_packet(bytes, &h, counts)) == KF_OK);
    HOLDS(!(s->summaries[0].flags & (KF_HAS_MAG | KF_CLIPPED)));
    counts[7] = 200;
    counts[6] = counts[8] = 0;
    h.seq = 2;
    h.t0_ns += 100000000;
    HOLDS(advance_one(s, KF_BINARY, bytes, write_packet(bytes, &h, counts)) == KF_OK);
    HOLDS(s->summaries[0].flags & KF_HAS_MAG);
    end(s);
}

static void any_bytes_leave_the_state_finite(void)
{
    uint64_t seed = 20260101;
    static uint8_t bytes[600];
    static const uint8_t good[] = {KF_MAGIC, KF_PACKET_VERSION, 9, 0};
    stage *s = begin(1, KF_FOOT);

    for (int round = 0; round < 20000; round++) {
        const uint32_t kind = round % 3 == 2 ? KF_ROWS : KF_BINARY;
        const size_t count = chance(&seed) % 20;
        size_t length = chance(&seed) % sizeof bytes;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)chance(&seed);
        if (round % 3 == 1) {
            const uint16_t n = (uint16_t)count;
            memcpy(bytes, good, 4);
            memcpy(bytes + 24, &n, 2);
            bytes[26] = bytes[27] = 0;
            bytes[15] &= 0x7F;
            bytes[31] &= 0x7F;
            bytes[35] &= 0x7F;
            bytes[39] &= 0x7F;
            length = KF_HEADER_BYTES + 18 * count;
        } else if (round % 3 == 2) {
            length = count * sizeof(kf_row);
            for (size_t i = 0; i < count; i++) {
                const uint32_t sensor = (uint32_t)(chance(&seed) % 3);
                memcpy(bytes + 24 * i + 20, &sensor, 4);
            }
        }
        const uint32_t status = advance_one(s, kind, bytes, length);
        HOLDS(status <= KF_DUPLICATE);
        HOLDS(finite_summary(&s->summaries[0]));
        for (size_t i = 0; i < s->window_count; i++)
            HOLDS(isfinite(s->windows[i].dv_e[2] + s->windows[i].dv_sigma + s->windows[i].accel_rms));
    }
    HOLDS(kf_valid(device_of(s, 0)));
    end(s);
}

int main(void)
{
    CLAIM(a_good_packet_is_taken);
    CLAIM(each_header_field_is_checked);
    CLAIM(scales_are_above_zero_and_of_what_is_worn);
    CLAIM(time_at_the_end_of_int64_is_refused_or_taken_whole);
    CLAIM(rows_are_checked);
    CLAIM(extremes_of_the_counts_and_of_the_told_range_are_clipped);
    CLAIM(an_absent_magnetometer_is_no_fault);
    CLAIM(any_bytes_leave_the_state_finite);
    return 0;
}
