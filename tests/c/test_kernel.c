/* kf_run: rounds, blocks, fields of every type and at any address, and references to what is not there. */
#include "claims.h"

#include <stddef.h>

#define RECORDS 300
#define ROWS 130

/* Rows and records, packed: nothing in a row is aligned. */
#pragma pack(push, 1)
typedef struct {
    int8_t small;
    int32_t count;
    double sum;
    int64_t newest_ns;
} packed_row;

typedef struct {
    int32_t row;
    int32_t unused;
    int64_t t_ns;
    uint32_t number;
    double value;
} packed_record;
#pragma pack(pop)

/* count += 1, small = count, sum = sum / 2 + value, newest = t; tells count, sum and a look into a table. */
static const kf_operation OPERATIONS[] = {
    {.op = KF_OP_LOAD_ROW, .out = 2, .b = KF_INT32, .place = offsetof(packed_row, count)},
    {.op = KF_OP_LOAD_ROW, .out = 3, .b = KF_FLOAT64, .place = offsetof(packed_row, sum)},
    {.op = KF_OP_LOAD_RECORD, .out = 4, .b = KF_FLOAT64, .place = offsetof(packed_record, value)},
    {.op = KF_OP_LOAD_RECORD, .out = 5, .b = KF_INT64, .place = offsetof(packed_record, t_ns)},
    {.op = KF_OP_LOAD_RECORD, .out = 6, .b = KF_UINT32, .place = offsetof(packed_record, number)},
    {.op = KF_OP_ADD_I, .out = 2, .a = 2, .b = 0},
    {.op = KF_OP_MULTIPLY_F, .out = 3, .a = 3, .b = 1},
    {.op = KF_OP_ADD_F, .out = 3, .a = 3, .b = 4},
    {.op = KF_OP_LOOKUP, .out = 6, .a = 6, .b = 3, .place = 2},
    {.op = KF_OP_STORE_ROW, .a = 2, .b = KF_INT8, .place = offsetof(packed_row, small)},
    {.op = KF_OP_STORE_ROW, .a = 2, .b = KF_INT32, .place = offsetof(packed_row, count)},
    {.op = KF_OP_STORE_ROW, .a = 3, .b = KF_FLOAT64, .place = offsetof(packed_row, sum)},
    {.op = KF_OP_STORE_ROW, .a = 5, .b = KF_INT64, .place = offsetof(packed_row, newest_ns)},
    {.op = KF_OP_TELL, .a = 2, .place = 0},
    {.op = KF_OP_TELL, .a = 3, .place = 1},
    {.op = KF_OP_TELL, .a = 6, .place = 2},
};
static const kf_value CONSTANTS[] = {{.i = 1}, {.f = 0.5}, {.i = 10}, {.i = 20}, {.i = 30}};
static const kf_kernel KERNEL = {OPERATIONS, CONSTANTS, sizeof OPERATIONS / sizeof *OPERATIONS, 2, 7};

/* Run for all records, and again for those that `only` has, with work and results of their exact size, so
 * that writing past them is seen. */
static int run_passes(packed_row *rows, const packed_record *records, size_t count, const kf_value *only,
                      kf_value *told)
{
    uint32_t *order = malloc((3 * count + 1) * sizeof *order);
    kf_value *registers = malloc(KERNEL.register_count * KF_BLOCK * sizeof *registers);
    uint8_t nothing = 0;
    const kf_table table = {
        .rows = (uint8_t *)rows, .seldom = &nothing, .row_bytes = sizeof *rows, .row_count = ROWS};
    const kf_pass all = {&KERNEL, registers, (const uint8_t *)records, sizeof *records, count, NULL, told};
    kf_pass passes[] = {all, all};
    int result = 0;

    HOLDS(order != NULL && registers != NULL);
    passes[1].only = only;
    result = kf_run(passes, only == NULL ? 1 : 2, &table, order);
    free(order);
    free(registers);
    return result;
}

static int run(packed_row *rows, const packed_record *records, size_t count, kf_value *told)
{
    return run_passes(rows, records, count, NULL, told);
}

static packed_record record(int32_t row, int64_t t_ns, uint32_t number)
{
    return (packed_record){.row = row, .t_ns = t_ns, .number = number, .value = row + 1.0};
}

static void each_record_finds_its_row_as_the_one_before_left_it(void)
{
    static packed_row rows[ROWS];
    static packed_record records[RECORDS];
    static kf_value told[3 * RECORDS];
    size_t count = 0;

    for (int32_t row = 0; row < ROWS; row++)
        for (int turn = 0; turn <= row % 3 && count < RECORDS; turn++, count++)
            records[count] = record(row, turn, (uint32_t)turn);
    HOLDS(run(rows, records, count, told) == 0);
    for (size_t i = 0; i < count; i++) {
        const int64_t turn = records[i].t_ns;
        double sum = 0;

        for (int64_t t = 0; t <= turn; t++)
            sum = sum / 2 + records[i].value;
        HOLDS(told[i].i == turn + 1);
        HOLDS(memcmp(&told[count + i].f, &sum, sizeof sum) == 0);
        HOLDS(told[2 * count + i].i == 10 * (turn + 1));
    }
    HOLDS(rows[2].small == 3 && rows[2].count == 3 && rows[2].newest_ns == 2);
}

static void beyond_a_table_the_nearest_counts(void)
{
    packed_row rows[ROWS] = {0};
    const packed_record one = record(0, 0, UINT32_MAX);
    kf_value told[3];

    HOLDS(run(rows, &one, 1, told) == 0);
    HOLDS(told[2].i == 30);
}

static void records_in_any_order_do_what_they_do_in_the_order_of_time(void)
{
    static packed_row rows[ROWS], other_rows[ROWS];
    static packed_record records[RECORDS], mixed[RECORDS];
    static kf_value told[3 * RECORDS], other_told[3 * RECORDS];
    size_t count = 0;

    for (int32_t row = 0; row < ROWS; row++)
        for (int turn = 0; turn <= row % 3 && count < RECORDS; turn++, count++)
            records[count] = record(row, turn, (uint32_t)turn);
    const size_t stride = count % 7 ? 7 : 11; /* has no divisor in common with count */
    HOLDS(count % stride != 0);
    for (size_t i = 0; i < count; i++)
        mixed[i * stride % count] = records[i];
    HOLDS(run(rows, records, count, told) == 0);
    HOLDS(run(other_rows, mixed, count, other_told) == 0);
    HOLDS(memcmp(rows, other_rows, sizeof rows) == 0);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 3; k++)
            HOLDS(told[k * count + i].i == other_told[k * count + i * stride % count].i);
}

static void what_is_of_no_row_touches_nothing(void)
{
    packed_row rows[ROWS] = {0};
    const packed_row untouched[ROWS] = {0};
    const packed_record absurd[][2] = {
        {record(0, 0, 0), record(-1, 0, 0)},
        {record(0, 0, 0), record(ROWS, 0, 0)},
        {record(0, 0, 0), record(INT32_MAX, 0, 0)},
    };
    kf_value told[6];

    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++)
        HOLDS(run(rows, absurd[i], 2, told) == -1);
    HOLDS(run(rows, absurd[0], 0, told) == 0);
    HOLDS(memcmp(rows, untouched, sizeof rows) == 0);
}

static void a_pass_leaves_out_what_another_told_it_to(void)
{
    packed_row rows[ROWS] = {0};
    const packed_record records[] = {record(5, 3, 0), record(5, 1, 0), record(4, 2, 0), record(5, 2, 0)};
    const kf_value only[] = {{.i = 1}, {.i = 0}, {.i = 0}, {.i = 7}};
    kf_value told[12];

    HOLDS(run_passes(rows, records, 4, only, told) == 0);
    HOLDS(rows[5].count == 5 && rows[4].count == 1);
    HOLDS(told[0].i == 5 && told[1].i == 1 && told[2].i == 1 && told[3].i == 4);
}

int main(void)
{
    CLAIM(each_record_finds_its_row_as_the_one_before_left_it);
    CLAIM(beyond_a_table_the_nearest_counts);
    CLAIM(records_in_any_order_do_what_they_do_in_the_order_of_time);
    CLAIM(what_is_of_no_row_touches_nothing);
    CLAIM(a_pass_leaves_out_what_another_told_it_to);
    return 0;
}
