/* test_flat.c: what is plain has its value, what is not is left alone, and nothing is read past the end. */
#include "claims.h"

static const kf_flat_kind KINDS[KF_TOPICS] = {
    [KF_TOPIC_HR] = {.count = 2,
                     .fields = {{.name = "bpm", .length = 3, .required = 1, .least = 0, .most = 300},
                                {.name = "contact", .length = 7, .is_flag = 1}},
                     .list = {.name = "rr_ms", .length = 5, .above = 1, .least = 0, .most = 10000}},
    [KF_TOPIC_POWER] = {.count = 1,
                        .fields = {{.name = "watts", .length = 5, .above = 1, .least = 0, .most = 1e300}}},
};

/* Read a copy of its exact size, so that reading past it is seen. */
static kf_flat read_as(uint8_t kind, const void *text, size_t length)
{
    uint8_t *exact = malloc(length ? length : 1);
    const kf_publish frame = {.payload_length = (uint32_t)length, .kind = kind};
    kf_flat found;

    HOLDS(exact != NULL);
    if (length)
        memcpy(exact, text, length);
    HOLDS(kf_flat_read(exact, &frame, 1, KINDS, &found) == found.plain);
    free(exact);
    return found;
}

static kf_flat beat(const char *text)
{
    return read_as(KF_TOPIC_HR, text, strlen(text));
}

static void a_plain_message_has_its_values(void)
{
    kf_flat found =
        beat(" { \"t\" : -9223372036854775808 ,\n\"bpm\":61.25,\t\"contact\":true,\"boot\":4294967295,"
             "\"seq\":0 }\r\n");

    HOLDS(found.plain && found.t_ns == INT64_MIN && found.boot == UINT32_MAX && found.seq == 0);
    HOLDS(found.values[0] == 61.25 && found.values[1] == 1);
    HOLDS(found.told == (KF_FLAT_T | KF_FLAT_BOOT | KF_FLAT_SEQ | KF_FLAT_FIRST | KF_FLAT_FIRST << 1));
    found = beat("{\"bpm\":6.1e1,\"t\":\"-0017\",\"contact\":null,\"seq\":null}");
    HOLDS(found.plain && found.t_ns == -17 && found.values[0] == 61 && isnan(found.values[1]));
    HOLDS(found.told == (KF_FLAT_T | KF_FLAT_FIRST));
}

static void a_short_list_is_read(void)
{
    kf_flat found = beat("{\"rr_ms\":[ 800.5,790 ],\"bpm\":61}");

    HOLDS(found.plain && found.list_count == 2 && found.list[0] == 800.5 && found.list[1] == 790);
    found = beat("{\"bpm\":61,\"rr_ms\":[]}");
    HOLDS(found.plain && found.list_count == 0);
    found = beat("{\"bpm\":61,\"rr_ms\":[1,2,3,4,5,6,7,8]}");
    HOLDS(found.plain && found.list_count == 8);
}

static void what_is_not_plain_is_left_alone(void)
{
    static const char *const OTHERS[] = {
        "",
        "{",
        "{}",
        "[]",
        "null",
        "{\"bpm\":61",
        "{\"bpm\":61}x",
        "{\"bpm\":61,}",
        "{\"bpm\" 61}",
        "{bpm:61}",
        "{\"bpm\":}",
        "{\"bpm\":-}",
        "{\"bpm\":+1}",
        "{\"bpm\":01}",
        "{\"bpm\":1.}",
        "{\"bpm\":.5}",
        "{\"bpm\":1e}",
        "{\"bpm\":-0}",
        "{\"bpm\":-1}",
        "{\"bpm\":300.5}",
        "{\"bpm\":1e400}",
        "{\"bpm\":true}",
        "{\"bpm\":\"61\"}",
        "{\"bpm\":null}",
        "{\"bpm\":NaN}",
        "{\"bpm\":61,\"bpm\":62}",
        "{\"bpm\":61,\"contact\":1}",
        "{\"bpm\":61,\"rr_ms\":[0]}",
        "{\"bpm\":61,\"rr_ms\":null}",
        "{\"bpm\":61,\"rr_ms\":[800,]}",
        "{\"bpm\":61,\"rr_ms\":[800",
        "{\"bpm\":61,\"rr_ms\":[1,2,3,4,5,6,7,8,9]}",
        "{\"bpm\":61,\"rr_ms\":[[1]]}",
        "{\"bpm\":61,\"t\":1.0}",
        "{\"bpm\":61,\"t\":9223372036854775808}",
        "{\"bpm\":61,\"t\":-9223372036854775809}",
        "{\"bpm\":61,\"t\":\"\"}",
        "{\"bpm\":61,\"t\":\"-\"}",
        "{\"bpm\":61,\"t\":\"1e3\"}",
        "{\"bpm\":61,\"t\":\"00000000000000000001\"}",
        "{\"bpm\":61,\"seq\":-1}",
        "{\"bpm\":61,\"seq\":4294967296}",
        "{\"bpm\":61,\"boot\":1e2}",
        "{\"b\\u0070m\":61}",
        "{\"bpm\":61.00000000000000000001}",
        "{\"bpm\":6100000000000000000000e-20}",
    };

    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        HOLDS(!beat(OTHERS[i]).plain);
    HOLDS(!read_as(KF_TOPIC_POWER, "{\"watts\":0}", 11).plain);
    HOLDS(!read_as(KF_TOPIC_GNSS, "{}", 2).plain);
    HOLDS(!read_as(KF_TOPICS, "{}", 2).plain);
}

static void what_is_cut_off_is_not_plain(void)
{
    static const char WHOLE[] =
        "{\"t\":\"1790000000000000000\",\"contact\":false,\"bpm\":6.125E+1,\"seq\":12}";

    HOLDS(beat(WHOLE).plain);
    for (size_t length = 0; length < sizeof WHOLE - 1; length++)
        HOLDS(!read_as(KF_TOPIC_HR, WHOLE, length).plain);
}

static void a_decimal_is_the_nearest_double(void)
{
    char text[64];
    uint64_t state = 88172645463325252ULL;

    for (int i = 0; i < 20000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        snprintf(text, sizeof text, "{\"watts\":%.*e}", (int)(state % 19),
                 (double)(state >> 11) * 1e-9 + 1e-9);
        const kf_flat found = read_as(KF_TOPIC_POWER, text, strlen(text));

        HOLDS(found.plain && found.values[0] == strtod(text + 9, NULL));
    }
}

static void what_lies_in_the_middle_goes_to_the_even_double(void)
{
    static const char *const MIDDLES[] = {
        "{\"watts\":4503599627370496.5}",   "{\"watts\":4503599627370497.5}",
        "{\"watts\":4503599627370496.499}", "{\"watts\":4503599627370496.501}",
        "{\"watts\":9007199254740993.0}",   "{\"watts\":900719925474099301e-2}",
        "{\"watts\":9007199254740995.0}",   "{\"watts\":1.8446744073709551615}",
    };

    for (size_t i = 0; i < sizeof MIDDLES / sizeof *MIDDLES; i++) {
        const kf_flat found = read_as(KF_TOPIC_POWER, MIDDLES[i], strlen(MIDDLES[i]));

        HOLDS(found.plain && found.values[0] == strtod(MIDDLES[i] + 9, NULL));
    }
}

static void any_bytes_are_read_within_their_bounds(void)
{
    static const char BYTES[] = "{}[]\":,.-+eE0123456789tbpmsqlnurfaco \\";
    char text[80];
    uint64_t state = 0x9E3779B97F4A7C15ULL;

    for (int i = 0; i < 100000; i++) {
        size_t length = 0;

        while (length < sizeof text) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if (state % 40 == 0)
                break;
            text[length++] = BYTES[(state >> 20) % (sizeof BYTES - 1)];
        }
        const kf_flat found = read_as(KF_TOPIC_HR, text, length);

        HOLDS(!found.plain || (found.values[0] >= 0 && found.values[0] <= 300));
    }
}

static void what_came_before_is_known_for_a_while(void)
{
    kf_seen seen = {0};
    kf_flat message = {.told = KF_FLAT_T, .t_ns = 5};

    HOLDS(!kf_saw(&seen, 2, &message) && kf_saw(&seen, 2, &message));
    HOLDS(!kf_saw(&seen, 3, &message)); /* of another kind */
    message.told |= KF_FLAT_SEQ;        /* which is 0, but told */
    HOLDS(!kf_saw(&seen, 2, &message) && kf_saw(&seen, 2, &message));
    for (uint32_t seq = 1; seq < KF_SEEN; seq++) {
        message.seq = seq;
        HOLDS(!kf_saw(&seen, 2, &message));
    }
    message.seq = 0;
    HOLDS(kf_saw(&seen, 2, &message));
    message.seq = KF_SEEN;
    HOLDS(!kf_saw(&seen, 2, &message));
    message.seq = 0;
    HOLDS(!kf_saw(&seen, 2, &message));
    message.told = KF_FLAT_BOOT; /* nothing to know it by */
    HOLDS(!kf_saw(&seen, 2, &message) && !kf_saw(&seen, 2, &message));
}

int main(void)
{
    CLAIM(a_plain_message_has_its_values);
    CLAIM(a_short_list_is_read);
    CLAIM(what_is_not_plain_is_left_alone);
    CLAIM(what_is_cut_off_is_not_plain);
    CLAIM(a_decimal_is_the_nearest_double);
    CLAIM(what_lies_in_the_middle_goes_to_the_even_double);
    CLAIM(any_bytes_are_read_within_their_bounds);
    CLAIM(what_came_before_is_known_for_a_while);
    return 0;
}
