/* bases.h: what rows of a table were some time ago. */
#ifndef KINEFUSE_BASES_H
#define KINEFUSE_BASES_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/kernel.h"

/* [cffi] */

/* How far a row's history had come: fusion/history.py's Place. */
typedef struct {
    int64_t tenure, dropped, held;
} kf_place;

/* Histories of one model: of each slot its tenure, entries that were flushed, and entries that it holds. */
typedef struct {
    const int64_t *tenure, *flushed, *held;
    int64_t tenures; /* slots that were ever opened */
    size_t slot_at;  /* where in a row its slot stands, int32; -1: it has none */
} kf_history;

#define KF_HISTORIES 2

/* Bases of all rows of a table. */
typedef struct {
    size_t base_count;      /* of each row */
    int64_t *t_ns;          /* base_count for each row: of when they are */
    int64_t *newest_ns;     /* of each row: to where its newest step went, */
    const kf_table *before; /* and what it was before that */
    kf_place *places;       /* for each row, base_count and that before the newest step, one a history */
    const uint8_t *blank;   /* a row that packs well: most others are much like it */
    const kf_history *histories[KF_HISTORIES];
} kf_bases;

/* What kf_bases_before says of a row. */
#define KF_READY 1 /* it is ready for its step */
#define KF_MOVED 2 /* and, shifted by a history's number: that is to be wound back to its place */

/* Make rows ready for steps to t_ns: take note of what they are before, or where the step is to be made
 * again, take it back. Who has not made that step is left alone, and not ready.
 *
 * inout: bases, state
 * in:    rows, t_ns, again  count, each row once; again: not 0 where the step is made again
 * out:   verdicts           count
 */
void kf_bases_before(const kf_bases *bases, const kf_table *state, const int64_t *rows, const int64_t *t_ns,
                     const uint8_t *again, size_t count, uint8_t *verdicts);

/* Take a base of each row, of t_ns, in the place of one of the same time or else of its oldest.
 *
 * inout: bases
 * in:    state, rows, t_ns  count, each row once
 * out:   at      count, the place of each
 *        packed  count of kf_packed_bytes
 *        ends    count, where each ends
 */
void kf_bases_keep(const kf_bases *bases, const kf_table *state, const int64_t *rows, const int64_t *t_ns,
                   size_t count, uint32_t *at, uint8_t *packed, uint64_t *ends);

/* Return how many bytes a packed row has at most. */
size_t kf_packed_bytes(const kf_table *state);

/* Make a row what was packed. */
void kf_bases_unpack(const kf_bases *bases, const kf_table *state, size_t row, const uint8_t *packed,
                     size_t size);

/* [/cffi] */

#endif
