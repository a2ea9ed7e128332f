/* live.c: metrics as JSON. */
#include "kinefuse.h"

#include <math.h>
#include <string.h>

#define NUMBER_MAX 24 /* bytes of a number */

static const double POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4};

/* Where the next byte goes, and where there is no more room; at is NULL once something could not be told. */
typedef struct {
    char *at;
    const char *end;
} pen;

static void write_text(pen *p, const char *bytes, size_t length)
{
    if (p->at == NULL || (size_t)(p->end - p->at) < length) {
        p->at = NULL;
        return;
    }
    memcpy(p->at, bytes, length);
    p->at += length;
}

/* A number times a power of ten as the nearest integer, of two that are as near the even one: exactly. The
 * product is rounded, and next to a tie that alone could decide, so what was rounded off decides there. */
static double rounded_at(double value, double power)
{
    const double scaled = value * power, below = floor(scaled), over = scaled - (below + 0.5);

    if (fabs(over) > 1e-12 + 4e-16 * fabs(scaled))
        return rint(scaled);
    const double side = over + fma(value, power, -scaled);

    return copysign(side > 0 ? below + 1 : side < 0 ? below : rint(below + 0.5), value);
}

/* The shortest decimals that are the number rounded: at least one stands after the point, zeros at the end do
 * not. A number beyond 9e15 units of its last decimal is not told: not all integers are doubles there.
 */
static void write_number(pen *p, double value, unsigned decimals, int is_whole)
{
    uint64_t left = 0;
    char digits[NUMBER_MAX];
    size_t at = NUMBER_MAX;

    if (!(fabs(value * POWERS[decimals]) < 9e15)) {
        p->at = NULL;
        return;
    }
    const double rounded = rounded_at(value, POWERS[decimals]);

    left = (uint64_t)fabs(rounded);
    for (unsigned i = decimals; i > 0; i--, left /= 10) {
        if (left % 10 != 0 || at < NUMBER_MAX || i == 1)
            digits[--at] = (char)('0' + left % 10);
    }
    if (!is_whole)
        digits[--at] = '.';
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (signbit(rounded) && (!is_whole || rounded != 0))
        digits[--at] = '-';
    write_text(p, digits + at, NUMBER_MAX - at);
}

static void write_metric(pen *p, const kf_live *live, size_t metric, size_t athlete)
{
    const size_t place = metric * live->athlete_count + athlete;
    const kf_text *reason = &live->reasons[live->reason[place]];
    const kf_text *source = &live->sources[live->source[place]];
    const int64_t age_ns = live->due_ns[athlete] - live->t_ns[place];
    const unsigned decimals = live->decimals[metric];

    write_text(p, metric ? "," : "{", 1);
    write_text(p, live->opening[metric].bytes, live->opening[metric].length);
    if (live->reason[place] != 0) {
        write_text(p, reason->bytes, reason->length);
        return;
    }
    write_number(p, live->value[place], decimals, decimals == 0);
    write_text(p, ",\"sigma\":", 9);
    write_number(p, live->sigma[place], KF_SIGMA_DECIMALS, 0);
    write_text(p, ",\"age_s\":", 9);
    write_number(p, (double)(age_ns > 0 ? age_ns : 0) * 1e-9, KF_AGE_DECIMALS, 0);
    write_text(p, source->bytes, source->length);
    write_number(p, live->quality[place], KF_QUALITY_DECIMALS, 0);
    write_text(p, "}", 1);
}

void kf_tell(const kf_live *live, char *text, size_t room, uint32_t *lengths)
{
    for (size_t athlete = 0; athlete < live->athlete_count; athlete++) {
        char *begin = text + athlete * room;
        pen p = {begin, begin + room};

        for (size_t metric = 0; metric < live->metric_count; metric++)
            write_metric(&p, live, metric, athlete);
        write_text(&p, "}", 1);
        lengths[athlete] = p.at == NULL ? 0 : (uint32_t)(p.at - begin);
    }
}
