/* flat.c: flat JSON objects of numbers, {"t":1790000000000000000,"bpm":61.5}, into columns.
 *
 * RFC 8259. Only what is plain is read: an object of known members, each told once, whose values are numbers,
 * true, false or null, within their ranges, or a short list of numbers, of no more digits than it takes to
 * tell a double. Of all else nothing is said but that it is not plain: whether it is right, and if not why,
 * the caller's full parser tells. So what is read here has the very value that the full parser would give.
 */
#include <math.h>
#include <string.h>

#include "kinefuse.h"

#define EXACT 9007199254740992ULL /* 2^53: integers up to here are doubles */

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define TENS_MAX 22
#define PLACES_MAX 19 /* a power of ten of so many zeros has 64 bits */

__extension__ typedef unsigned __int128 wide;

typedef struct {
    const uint8_t *at, *end;
} cursor;

/* A number: digits * 10^exponent, and whether it is written as an integer. */
typedef struct {
    uint64_t digits;
    int exponent;
    int negative, whole;
} number;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static int take(cursor *c, uint8_t byte)
{
    if (c->at == c->end || *c->at != byte)
        return 0;
    c->at++;
    return 1;
}

static int take_word(cursor *c, const char *word)
{
    const size_t length = strlen(word);

    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return 0;
    c->at += length;
    return 1;
}

static int is_digit(const cursor *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

/* Append digits to a number; how many, or -1 where they are too many for it. */
static int take_digits(cursor *c, uint64_t *digits)
{
    int count = 0;

    for (; is_digit(c); c->at++, count++) {
        const uint64_t digit = (uint64_t)(*c->at - '0');

        if (*digits > (UINT64_MAX - digit) / 10)
            return -1;
        *digits = 10 * *digits + digit;
    }
    return count;
}

static int take_exponent(cursor *c, int *exponent)
{
    uint64_t digits = 0;
    const int negative = take(c, '-');

    if (!negative)
        take(c, '+');
    if (take_digits(c, &digits) <= 0 || digits > (uint64_t)TENS_MAX)
        return 0;
    *exponent += negative ? -(int)digits : (int)digits;
    return 1;
}

static int take_number(cursor *c, number *n)
{
    *n = (number){.negative = take(c, '-'), .whole = 1};
    const int zero_first = c->at < c->end && *c->at == '0';
    const int before = take_digits(c, &n->digits);

    if (before <= 0 || (zero_first && before > 1))
        return 0;
    if (take(c, '.')) {
        const int behind = take_digits(c, &n->digits);

        if (behind <= 0)
            return 0;
        n->whole = 0;
        n->exponent = -behind;
    }
    if (take(c, 'e') || take(c, 'E')) {
        n->whole = 0;
        return take_exponent(c, &n->exponent);
    }
    return 1;
}

/* digits / 10^places, for digits beyond EXACT: the quotient to 63 bits and more, whose last one tells whether
 * anything is left of it, so that it is rounded once. */
static double quotient(uint64_t digits, int places)
{
    const int shift = 64 + __builtin_clzll(digits);
    const wide dividend = (wide)digits << shift;
    uint64_t divisor = 1;

    for (int i = 0; i < places; i++)
        divisor *= 10;
    const wide found = dividend / divisor | (dividend % divisor != 0);
    return ldexp((double)found, -shift);
}

/* The double that is nearest to a number. Where its digits and its power of ten are doubles themselves, one
 * operation rounds, and rounds right (Clinger 1990, doi 10.1145/93548.93557). Others are plain that have as
 * many digits as it takes to tell a double. */
static int decimal(const number *n, double *value)
{
    double size = 0;

    if (n->exponent < -TENS_MAX || n->exponent > TENS_MAX)
        return 0;
    if (n->whole && n->negative && n->digits == 0)
        return 0; /* -0: an integer, which has no sign */
    if (n->digits <= EXACT)
        size =
            n->exponent < 0 ? (double)n->digits / TENS[-n->exponent] : (double)n->digits * TENS[n->exponent];
    else if (!n->whole && n->exponent <= 0 && n->exponent >= -PLACES_MAX)
        size = quotient(n->digits, -n->exponent);
    else
        return 0;
    *value = n->negative ? -size : size;
    return 1;
}

static int integer(const number *n, int64_t *value)
{
    if (!n->whole || n->digits > (uint64_t)INT64_MAX + (n->negative != 0))
        return 0;
    *value = n->negative ? (int64_t)(0 - n->digits) : (int64_t)n->digits;
    return 1;
}

/* A stamp: an integer, or as JavaScript must write it, a string of its digits. */
static int take_stamp(cursor *c, int64_t *value)
{
    number n = {.whole = 1};

    if (!take(c, '"'))
        return take_number(c, &n) && integer(&n, value);
    n.negative = take(c, '-');
    const int count = take_digits(c, &n.digits);

    return count > 0 && count <= 19 && take(c, '"') && integer(&n, value);
}

static int take_u32(cursor *c, uint32_t *value)
{
    number n;
    int64_t found;

    if (!take_number(c, &n) || !integer(&n, &found) || found < 0 || found > UINT32_MAX)
        return 0;
    *value = (uint32_t)found;
    return 1;
}

static int is_within(const kf_flat_field *field, double value)
{
    return value <= field->most && (field->above ? value > field->least : value >= field->least);
}

static int take_value(cursor *c, const kf_flat_field *field, double *value)
{
    number n;

    if (field->is_flag) {
        const int yes = take_word(c, "true");

        *value = yes;
        return yes || take_word(c, "false");
    }
    return take_number(c, &n) && decimal(&n, value) && is_within(field, *value);
}

static int take_list(cursor *c, const kf_flat_field *field, kf_flat *out)
{
    number n;

    if (!take(c, '['))
        return 0;
    skip_blanks(c);
    if (take(c, ']'))
        return 1;
    do {
        skip_blanks(c);
        if (out->list_count == KF_FLAT_LIST || !take_number(c, &n) ||
            !decimal(&n, &out->list[out->list_count]) || !is_within(field, out->list[out->list_count]))
            return 0;
        out->list_count++;
        skip_blanks(c);
    } while (take(c, ','));
    return take(c, ']');
}

static int is_name(const uint8_t *name, size_t length, const char *other)
{
    return length == strlen(other) && memcmp(name, other, length) == 0;
}

/* Which of a kind's fields has this name; KF_FLAT_FIELDS: none. */
static uint32_t field_of(const kf_flat_kind *kind, const uint8_t *name, size_t length)
{
    for (uint32_t i = 0; i < kind->count && i < KF_FLAT_FIELDS; i++) {
        if (kind->fields[i].length == length && memcmp(kind->fields[i].name, name, length) == 0)
            return i;
    }
    return KF_FLAT_FIELDS;
}

/* Read a member. seen has a bit for each that was told, also as null. */
static int take_member(cursor *c, const kf_flat_kind *kind, kf_flat *out, uint32_t *seen)
{
    if (!take(c, '"'))
        return 0;
    const uint8_t *name = c->at;

    while (c->at < c->end && *c->at != '"')
        c->at++;
    const size_t length = (size_t)(c->at - name);

    if (!take(c, '"'))
        return 0;
    skip_blanks(c);
    if (!take(c, ':'))
        return 0;
    skip_blanks(c);
    const uint32_t own = is_name(name, length, "t")      ? KF_FLAT_T
                         : is_name(name, length, "boot") ? KF_FLAT_BOOT
                         : is_name(name, length, "seq")  ? KF_FLAT_SEQ
                                                         : 0;
    const int is_list = kind->list.length == length && memcmp(kind->list.name, name, length) == 0;
    const uint32_t field = own ? KF_FLAT_FIELDS : field_of(kind, name, length);
    const uint32_t bit = own ? own : (uint32_t)KF_FLAT_FIRST << field;

    if ((!own && !is_list && field == KF_FLAT_FIELDS) || (*seen & bit))
        return 0;
    *seen |= bit;
    if (is_list)
        return take_list(c, &kind->list, out);
    if (take_word(c, "null"))
        return own || !kind->fields[field].required;
    out->told |= bit;
    switch (own) {
    case KF_FLAT_T:
        return take_stamp(c, &out->t_ns);
    case KF_FLAT_BOOT:
        return take_u32(c, &out->boot);
    case KF_FLAT_SEQ:
        return take_u32(c, &out->seq);
    default:
        return take_value(c, &kind->fields[field], &out->values[field]);
    }
}

static int take_object(cursor *c, const kf_flat_kind *kind, kf_flat *out)
{
    uint32_t seen = 0;

    skip_blanks(c);
    if (!take(c, '{'))
        return 0;
    skip_blanks(c);
    if (!take(c, '}')) {
        do {
            skip_blanks(c);
            if (!take_member(c, kind, out, &seen))
                return 0;
            skip_blanks(c);
        } while (take(c, ','));
        if (!take(c, '}'))
            return 0;
    }
    skip_blanks(c);
    for (uint32_t i = 0; i < kind->count && i < KF_FLAT_FIELDS; i++) {
        if (kind->fields[i].required && !(out->told & (uint32_t)KF_FLAT_FIRST << i))
            return 0;
    }
    return c->at == c->end;
}

size_t kf_flat_read(const uint8_t *bytes, const kf_publish *frames, size_t count, const kf_flat_kind *kinds,
                    kf_flat *out)
{
    size_t plain = 0;

    for (size_t i = 0; i < count; i++) {
        const kf_publish *frame = &frames[i];

        out[i].plain = 0;
        if (frame->kind >= KF_TOPICS || kinds[frame->kind].count == 0 ||
            frame->payload_length > KF_FLAT_BYTES_MAX)
            continue;
        cursor c = {bytes + frame->payload, bytes + frame->payload + frame->payload_length};

        out[i] = (kf_flat){0};
        for (uint32_t field = 0; field < KF_FLAT_FIELDS; field++)
            out[i].values[field] = NAN;
        if (take_object(&c, &kinds[frame->kind], &out[i])) {
            out[i].plain = 1;
            plain++;
        }
    }
    return plain;
}
