/* flat.h: low-rate messages in columns. */
#ifndef KINEFUSE_FLAT_H
#define KINEFUSE_FLAT_H

#include <stddef.h>
#include <stdint.h>

#include "kinefuse/frames.h"

/* [cffi] */

/* Low-rate messages in columns (flat.c). A kind has numbers and flags by name, each of them in its range. */

#define KF_FLAT_FIELDS 8
#define KF_FLAT_LIST 8         /* numbers in its list, */
#define KF_FLAT_BYTES_MAX 1024 /* of a message that is read here */

typedef struct {
    uint8_t name[16];
    uint8_t length;   /* of it */
    uint8_t is_flag;  /* it is true or false: 1 or 0 */
    uint8_t required; /* it must be told, and not as null */
    uint8_t above;    /* least itself is too little */
    uint8_t reserved[4];
    double least, most;
} kf_flat_field;

typedef struct {
    uint32_t count; /* 0: messages of this kind are not read here */
    uint32_t reserved;
    kf_flat_field fields[KF_FLAT_FIELDS];
    kf_flat_field list; /* of numbers, each in its range; length 0: it has none */
} kf_flat_kind;

/* Bits of told; those of the fields follow each other. */
#define KF_FLAT_T 1
#define KF_FLAT_BOOT 2
#define KF_FLAT_SEQ 4
#define KF_FLAT_FIRST 8

typedef struct {
    int64_t t_ns; /* on the device's clock */
    uint32_t boot, seq;
    uint32_t told;
    uint32_t plain;                /* 1: all of it was read; 0: nothing here means anything */
    double values[KF_FLAT_FIELDS]; /* NaN: not told */
    double list[KF_FLAT_LIST];
    uint64_t list_count;
} kf_flat;

/* Read messages that are plain: see flat.c.
 *
 * in:  bytes   into which frames refer
 *      frames  count; of another kind, or longer than KF_FLAT_BYTES_MAX: not plain
 *      kinds   KF_TOPICS
 * out: out     count
 * Returns how many are plain.
 */
size_t kf_flat_read(const uint8_t *bytes, const kf_publish *frames, size_t count, const kf_flat_kind *kinds,
                    kf_flat *out);

/* [/cffi] */

#endif
