/* pen.h: JSON, written piece by piece into memory that the caller gave. */
#ifndef KF_PEN_H
#define KF_PEN_H

#include "kinefuse.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define NUMBER_MAX 24 /* bytes of a number */
#define WRITE(p, literal) write_text(p, (literal), sizeof(literal) - 1)

static const double POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4};

/* Where the next byte goes, and where there is no more room; at is NULL once something could not be told. */
typedef struct {
    char *at;
    const char *end;
} pen;

static inline void write_text(pen *p, const char *bytes, size_t length)
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
static inline double rounded_at(double value, double power)
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
static inline void write_number(pen *p, double value, unsigned decimals, int is_whole)
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

static inline void write_integer(pen *p, int64_t value)
{
    char digits[NUMBER_MAX];
    size_t at = NUMBER_MAX;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        digits[--at] = '-';
    write_text(p, digits + at, NUMBER_MAX - at);
}

static inline void write_piece(pen *p, const kf_text *piece)
{
    write_text(p, piece->bytes, piece->length);
}

#endif
