/* kernel.c: kernels, run for blocks of records that are each of another row, one operation after the other.
 */
#include "kinefuse.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Up to KF_BLOCK records, each of another row. */
typedef struct {
    size_t count;
    uint8_t *rows[KF_BLOCK];
    uint8_t *seldom[KF_BLOCK]; /* what else belongs to the rows, from the byte `often` on */
    size_t often;
    const uint8_t *records[KF_BLOCK];
    size_t places[KF_BLOCK]; /* of the records in the order in which they were given */
} block;

/* The build leaves loops as they are written; these are to be done some numbers at a time. An output may be
 * the register of an operand, but each number depends on its own alone. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("tree-vectorize")
#define ALONGSIDE _Pragma("GCC ivdep")
#else
#define ALONGSIDE
#endif

#define EACH(expression)                                                                                     \
    do {                                                                                                     \
        ALONGSIDE                                                                                            \
        for (size_t i = 0; i < n; i++)                                                                       \
            (expression);                                                                                    \
    } while (0)

static double smaller(double a, double b)
{
    return a < b || a != a ? a : b;
}

static double larger(double a, double b)
{
    return a > b || a != a ? a : b;
}

static int64_t truncated(double value)
{
    return value >= -0x1p63 && value < 0x1p63 ? (int64_t)value : INT64_MIN;
}

/* Operations on float64. */
static void run_float(unsigned op, kf_value *out, const kf_value *a, const kf_value *b, size_t n)
{
    switch (op) {
    case KF_OP_ADD_F:
        EACH(out[i].f = a[i].f + b[i].f);
        break;
    case KF_OP_SUBTRACT_F:
        EACH(out[i].f = a[i].f - b[i].f);
        break;
    case KF_OP_MULTIPLY_F:
        EACH(out[i].f = a[i].f * b[i].f);
        break;
    case KF_OP_DIVIDE_F:
        EACH(out[i].f = a[i].f / b[i].f);
        break;
    case KF_OP_MINIMUM_F:
        EACH(out[i].f = smaller(a[i].f, b[i].f));
        break;
    case KF_OP_MAXIMUM_F:
        EACH(out[i].f = larger(a[i].f, b[i].f));
        break;
    case KF_OP_HYPOT_F:
        EACH(out[i].f = hypot(a[i].f, b[i].f));
        break;
    case KF_OP_LESS_F:
        EACH(out[i].i = a[i].f < b[i].f);
        break;
    case KF_OP_LESS_EQUAL_F:
        EACH(out[i].i = a[i].f <= b[i].f);
        break;
    case KF_OP_EQUAL_F:
        EACH(out[i].i = a[i].f == b[i].f);
        break;
    case KF_OP_NOT_EQUAL_F:
        EACH(out[i].i = a[i].f != b[i].f);
        break;
    default:
        break;
    }
}

/* Operations on one float64. */
static void run_single(unsigned op, kf_value *out, const kf_value *a, size_t n)
{
    switch (op) {
    case KF_OP_NEGATIVE_F:
        EACH(out[i].f = -a[i].f);
        break;
    case KF_OP_ABSOLUTE_F:
        EACH(out[i].f = fabs(a[i].f));
        break;
    case KF_OP_SQRT_F:
        EACH(out[i].f = sqrt(a[i].f));
        break;
    case KF_OP_EXP_F:
        EACH(out[i].f = exp(a[i].f));
        break;
    case KF_OP_RINT_F:
        EACH(out[i].f = rint(a[i].f));
        break;
    case KF_OP_ISFINITE_F:
        EACH(out[i].i = isfinite(a[i].f) != 0);
        break;
    case KF_OP_TRUNCATE_F:
        EACH(out[i].i = truncated(a[i].f));
        break;
    default:
        break;
    }
}

/* Operations on int64, which wrap round as numpy's do. */
static void run_integer(unsigned op, kf_value *out, const kf_value *a, const kf_value *b, size_t n)
{
    switch (op) {
    case KF_OP_ADD_I:
        EACH(out[i].i = (int64_t)((uint64_t)a[i].i + (uint64_t)b[i].i));
        break;
    case KF_OP_SUBTRACT_I:
        EACH(out[i].i = (int64_t)((uint64_t)a[i].i - (uint64_t)b[i].i));
        break;
    case KF_OP_MULTIPLY_I:
        EACH(out[i].i = (int64_t)((uint64_t)a[i].i * (uint64_t)b[i].i));
        break;
    case KF_OP_MINIMUM_I:
        EACH(out[i].i = a[i].i < b[i].i ? a[i].i : b[i].i);
        break;
    case KF_OP_MAXIMUM_I:
        EACH(out[i].i = a[i].i > b[i].i ? a[i].i : b[i].i);
        break;
    case KF_OP_NEGATIVE_I:
        EACH(out[i].i = (int64_t)(0 - (uint64_t)a[i].i));
        break;
    case KF_OP_ABSOLUTE_I:
        EACH(out[i].i = a[i].i < 0 ? (int64_t)(0 - (uint64_t)a[i].i) : a[i].i);
        break;
    case KF_OP_AND_I:
        EACH(out[i].i = a[i].i & b[i].i);
        break;
    case KF_OP_OR_I:
        EACH(out[i].i = a[i].i | b[i].i);
        break;
    case KF_OP_LESS_I:
        EACH(out[i].i = a[i].i < b[i].i);
        break;
    case KF_OP_LESS_EQUAL_I:
        EACH(out[i].i = a[i].i <= b[i].i);
        break;
    case KF_OP_EQUAL_I:
        EACH(out[i].i = a[i].i == b[i].i);
        break;
    case KF_OP_NOT_EQUAL_I:
        EACH(out[i].i = a[i].i != b[i].i);
        break;
    case KF_OP_FLOAT_I:
        EACH(out[i].f = (double)a[i].i);
        break;
    default:
        break;
    }
}

/* Fields lie anywhere: a record may be packed. */
static kf_value loaded(const uint8_t *field, unsigned type)
{
    kf_value value = {.i = 0};
    int32_t i32;
    uint32_t u32;

    switch (type) {
    case KF_INT8:
        value.i = *field < 0x80 ? *field : *field - 0x100;
        break;
    case KF_INT32:
        memcpy(&i32, field, sizeof i32);
        value.i = i32;
        break;
    case KF_UINT32:
        memcpy(&u32, field, sizeof u32);
        value.i = u32;
        break;
    default:
        memcpy(&value, field, sizeof value);
        break;
    }
    return value;
}

static void store(uint8_t *field, unsigned type, kf_value value)
{
    const int32_t i32 = (int32_t)value.i;

    switch (type) {
    case KF_INT8:
        *field = (uint8_t)value.i;
        break;
    case KF_INT32:
    case KF_UINT32:
        memcpy(field, &i32, sizeof i32);
        break;
    default:
        memcpy(field, &value, sizeof value);
        break;
    }
}

static void load_rows(const block *at, const kf_operation *o, kf_value *out)
{
    const bool often = o->place < at->often;
    uint8_t *const *rows = often ? at->rows : at->seldom;
    const size_t place = often ? o->place : o->place - at->often;

    for (size_t i = 0; i < at->count; i++)
        out[i] = loaded(rows[i] + place, o->b);
}

static void store_rows(const block *at, const kf_operation *o, const kf_value *a)
{
    const bool often = o->place < at->often;
    uint8_t *const *rows = often ? at->rows : at->seldom;
    const size_t place = often ? o->place : o->place - at->often;

    for (size_t i = 0; i < at->count; i++)
        store(rows[i] + place, o->b, a[i]);
}

static size_t chosen(int64_t index, size_t count)
{
    return index < 0 ? 0 : (size_t)index < count ? (size_t)index : count - 1;
}

static void run_block(const kf_kernel *kernel, const block *at, kf_value (*registers)[KF_BLOCK], size_t total,
                      kf_value *told)
{
    const size_t n = at->count;

    for (const kf_operation *o = kernel->operations; o < kernel->operations + kernel->operation_count; o++) {
        kf_value *out = registers[o->out];
        const kf_value *a = registers[o->a];

        switch (o->op) {
        case KF_OP_SELECT:
            EACH(out[i] = a[i].i ? registers[o->b][i] : registers[o->c][i]);
            break;
        case KF_OP_LOOKUP:
            EACH(out[i] = kernel->constants[o->place + chosen(a[i].i, o->b)]);
            break;
        case KF_OP_LOAD_ROW:
            load_rows(at, o, out);
            break;
        case KF_OP_LOAD_RECORD:
            EACH(out[i] = loaded(at->records[i] + o->place, o->b));
            break;
        case KF_OP_STORE_ROW:
            store_rows(at, o, a);
            break;
        case KF_OP_TELL:
            EACH(told[o->place * total + at->places[i]] = a[i]);
            break;
        default:
            if (o->op >= KF_OP_ADD_I)
                run_integer(o->op, out, a, registers[o->b], n);
            else if (o->op >= KF_OP_NEGATIVE_F)
                run_single(o->op, out, a, n);
            else
                run_float(o->op, out, a, registers[o->b], n);
            break;
        }
    }
}

static int64_t row_of(const uint8_t *record)
{
    int32_t row;

    memcpy(&row, record, sizeof row);
    return row;
}

static int64_t time_of(const uint8_t *record)
{
    int64_t t_ns;

    memcpy(&t_ns, record + sizeof t_ns, sizeof t_ns);
    return t_ns;
}

/* Whether a record comes after another: of a later row, or of the same at a later time. */
static bool comes_after(const uint8_t *record, const uint8_t *other)
{
    const int64_t row = row_of(record), of = row_of(other);

    return row > of || (row == of && time_of(record) > time_of(other));
}

/* Put the places of records that are taken in the order of rows, and of times in each row; what is alike
 * stays in its order. `count` becomes that of those that are taken. Returns where they stand: in `places` or
 * in `spare`. */
static uint32_t *sorted(const kf_pass *pass, size_t *count, uint32_t *places, uint32_t *spare)
{
    const uint8_t *records = pass->records;
    const size_t bytes = pass->record_bytes;
    size_t n = 0;
    bool in_order = true;

    for (size_t i = 0; i < pass->count; i++) {
        if (pass->only != NULL && pass->only[i].i == 0)
            continue;
        in_order &= !n || !comes_after(records + places[n - 1] * bytes, records + i * bytes);
        places[n++] = (uint32_t)i;
    }
    for (size_t width = 1; !in_order && width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            const size_t middle = low + width < n ? low + width : n;
            const size_t high = low + 2 * width < n ? low + 2 * width : n;
            size_t a = low, c = middle;
            for (size_t i = low; i < high; i++) {
                const bool left = a < middle && (c == high || !comes_after(records + places[a] * bytes,
                                                                           records + places[c] * bytes));
                spare[i] = left ? places[a++] : places[c++];
            }
        }
        uint32_t *swapped = places;
        places = spare;
        spare = swapped;
    }
    *count = n;
    return places;
}

/* Sort records into rounds: the first of each row, the second of each, and so on. `order` gets their places,
 * `ends` (one more) where each round ends; `work` has room for all. Returns how many are taken.
 */
static size_t rounds(const kf_pass *pass, uint32_t *order, uint32_t *ends, uint32_t *work)
{
    const uint8_t *records = pass->records;
    const size_t bytes = pass->record_bytes;
    size_t turn = 0, count = 0;

    if (sorted(pass, &count, work, order) == order)
        memcpy(work, order, count * sizeof *work);
    memset(ends, 0, (count + 1) * sizeof *ends);
    for (size_t i = 0; i < count; i++) {
        turn = i && row_of(records + work[i] * bytes) == row_of(records + work[i - 1] * bytes) ? turn + 1 : 0;
        ends[turn + 1]++;
    }
    for (size_t k = 1; k <= count; k++)
        ends[k] += ends[k - 1];
    /* Now ends[k] is where round k begins; as its places are filled, it becomes where it ends. */
    for (size_t i = 0; i < count; i++) {
        turn = i && row_of(records + work[i] * bytes) == row_of(records + work[i - 1] * bytes) ? turn + 1 : 0;
        order[ends[turn]++] = work[i];
    }
    return count;
}

static void run_pass(const kf_pass *pass, const kf_table *table, uint32_t *order)
{
    const kf_kernel *kernel = pass->kernel;
    kf_value(*lanes)[KF_BLOCK] = (kf_value(*)[KF_BLOCK])pass->registers;
    uint32_t *ends = order + pass->count;
    const size_t count = rounds(pass, order, ends, ends + pass->count + 1);
    const size_t widest = count < KF_BLOCK ? count : KF_BLOCK;

    for (size_t c = 0; c < kernel->constant_count; c++) {
        for (size_t i = 0; i < widest; i++)
            lanes[c][i] = kernel->constants[c];
    }
    for (size_t done = 0, turn = 0; done < count;) {
        block at = {.often = table->row_bytes};

        while (ends[turn] == done)
            turn++;
        at.count = ends[turn] - done < KF_BLOCK ? ends[turn] - done : KF_BLOCK;
        for (size_t i = 0; i < at.count; i++) {
            const size_t place = order[done + i];

            at.places[i] = place;
            at.records[i] = pass->records + place * pass->record_bytes;
            at.rows[i] = table->rows + (size_t)row_of(at.records[i]) * table->row_bytes;
            at.seldom[i] = table->seldom + (size_t)row_of(at.records[i]) * table->seldom_bytes;
        }
        run_block(kernel, &at, lanes, pass->count, pass->told);
        done += at.count;
    }
}

static bool has_rows(const kf_pass *pass, const kf_table *table)
{
    for (size_t i = 0; i < pass->count; i++) {
        const int64_t row = row_of(pass->records + i * pass->record_bytes);

        if (row < 0 || (uint64_t)row >= table->row_count)
            return false;
    }
    return true;
}

int kf_run(const kf_pass *passes, size_t pass_count, const kf_table *table, uint32_t *order)
{
    for (size_t i = 0; i < pass_count; i++) {
        if (!has_rows(&passes[i], table))
            return -1;
    }
    for (size_t i = 0; i < pass_count; i++)
        run_pass(&passes[i], table, order);
    return 0;
}
