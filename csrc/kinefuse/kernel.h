/* kernel.h: models: recorded functions, run for many rows. */
#ifndef KINEFUSE_KERNEL_H
#define KINEFUSE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

/* Kernels: a function of one record (a measurement, or the moment of a step) and its row of a table, recorded
 * as a list of operations on numbers (fusion/kernel.py), and run for many records. Each number is a float64
 * or an int64; a truth is the int64 0 or 1. All operations are those of IEEE 754 and of two's complement, exp
 * and hypot those of libm: so a record's results do not depend on those beside it.
 */
typedef union {
    double f;
    int64_t i;
} kf_value;

/* Operations: out = f(a, b, c), each the number of a register. */
enum {
    KF_OP_ADD_F,
    KF_OP_SUBTRACT_F,
    KF_OP_MULTIPLY_F,
    KF_OP_DIVIDE_F,
    KF_OP_MINIMUM_F, /* NaN where one of both is, as numpy has it */
    KF_OP_MAXIMUM_F,
    KF_OP_HYPOT_F,
    KF_OP_LESS_F,
    KF_OP_LESS_EQUAL_F,
    KF_OP_EQUAL_F,
    KF_OP_NOT_EQUAL_F,
    KF_OP_NEGATIVE_F,
    KF_OP_ABSOLUTE_F,
    KF_OP_SQRT_F,
    KF_OP_EXP_F,
    KF_OP_RINT_F,
    KF_OP_ISFINITE_F,
    KF_OP_TRUNCATE_F, /* to int64; INT64_MIN where it does not fit */
    KF_OP_ADD_I,
    KF_OP_SUBTRACT_I,
    KF_OP_MULTIPLY_I,
    KF_OP_MINIMUM_I,
    KF_OP_MAXIMUM_I,
    KF_OP_NEGATIVE_I,
    KF_OP_ABSOLUTE_I,
    KF_OP_AND_I,
    KF_OP_OR_I,
    KF_OP_LESS_I,
    KF_OP_LESS_EQUAL_I,
    KF_OP_EQUAL_I,
    KF_OP_NOT_EQUAL_I,
    KF_OP_FLOAT_I,     /* to float64 */
    KF_OP_SELECT,      /* b where a is true, else c */
    KF_OP_LOOKUP,      /* of the b constants from the place on that a chooses, the nearest there is */
    KF_OP_LOAD_ROW,    /* the field of type b at the place in the record's row */
    KF_OP_LOAD_RECORD, /* likewise in the record */
    KF_OP_STORE_ROW,   /* a to the field of type b at the place in the record's row */
    KF_OP_TELL,        /* a to the kernel's output of the number place */
};

/* Types of fields. */
enum { KF_INT8, KF_INT32, KF_UINT32, KF_INT64, KF_FLOAT64 };

typedef struct {
    uint16_t op, out, a, b, c;
    uint16_t reserved;
    uint32_t place;
} kf_operation;

/* Operations read the registers that hold constants, which come first, and those written before; no load
 * follows a store. Tables to look up follow the constants that have registers. */
typedef struct {
    const kf_operation *operations;
    const kf_value *constants;
    size_t operation_count;
    size_t constant_count;
    size_t register_count;
} kf_kernel;

/* Numbers that kf_run computes side by side. */
#define KF_BLOCK 64

/* Rows in two arrays: the second is of what few rows ever have, and of these alone it takes memory. */
typedef struct {
    uint8_t *rows, *seldom; /* seldom_bytes 0: there is nothing but rows */
    size_t row_bytes, seldom_bytes;
    size_t row_count;
} kf_table;

/* A kernel, and the records that it is run for. They each begin with their row of the table, int32, and have
 * the time, int64, at byte 8. */
typedef struct {
    const kf_kernel *kernel;
    kf_value *registers;    /* room for register_count KF_BLOCK */
    const uint8_t *records; /* count of record_bytes */
    size_t record_bytes, count;
    const kf_value *only; /* of each record: 0 where it is left out, as an earlier pass told; NULL: none is */
    kf_value *told;       /* an array of count for each output; of what is left out nothing is told */
} kf_pass;

/* Run kernels one after the other. In the order of time, each record finds its row as the one before has left
 * it.
 *
 * inout: table   a place beyond row_bytes is so far beyond in `seldom`
 * in:    passes  pass_count
 * work:  order   room for 3 n + 1 of the pass with the most records
 * Returns 0; or, having touched no row, -1 where a record is of a row that is not there.
 */
int kf_run(const kf_pass *passes, size_t pass_count, const kf_table *table, uint32_t *order);

/* [/cffi] */

#endif
