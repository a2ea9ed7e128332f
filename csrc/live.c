/* live.c: live updates as JSON. */
#include "kinefuse.h"

#include <math.h>
#include <string.h>

#define NUMBER_MAX 24 /* bytes of a number */
#define NS_PER_MS 1000000
#define WRITE(p, literal) write_text(p, (literal), sizeof(literal) - 1)

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

static void write_integer(pen *p, int64_t value)
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

static void write_piece(pen *p, const kf_text *piece)
{
    write_text(p, piece->bytes, piece->length);
}

static void write_id(pen *p, const char *ids, uint32_t row)
{
    const char *id = ids + (size_t)row * KF_ID_BYTES, *end = memchr(id, 0, KF_ID_BYTES);

    write_text(p, id, end == NULL ? KF_ID_BYTES : (size_t)(end - id));
}

/* The packet that made an update fire. */
static void write_cause(pen *p, const kf_live *live, const kf_job *job)
{
    if (job->device == KF_NONE) {
        WRITE(p, "null");
        return;
    }
    WRITE(p, "{\"device\":\"");
    write_id(p, live->devices, job->device);
    WRITE(p, "\",\"boot\":");
    write_integer(p, job->boot);
    WRITE(p, ",\"seq\":");
    write_integer(p, job->seq);
    WRITE(p, "}");
}

static void write_workout(pen *p, const kf_live *live, uint32_t athlete, const kf_value *totals)
{
    const kf_workout *workout = &live->workouts[athlete];
    const int ended = workout->state == KF_WORKOUT_ENDED;

    if (workout->state == KF_NO_WORKOUT) {
        WRITE(p, "null");
        return;
    }
    WRITE(p, "{\"id\":\"");
    write_id(p, live->athletes, athlete);
    WRITE(p, "-");
    write_integer(p, workout->id_ms);
    WRITE(p, "\",\"state\":\"");
    write_piece(p, &live->states[workout->state]);
    WRITE(p, "\",\"sport\":\"");
    write_piece(p, &live->sports[workout->sport]);
    WRITE(p, "\",\"elapsed_s\":");
    write_number(p, ended ? workout->elapsed_s : totals[0].f, KF_TOTAL_DECIMALS, 0);
    WRITE(p, ",\"moving_s\":");
    write_number(p, ended ? workout->moving_s : totals[live->job_count].f, KF_TOTAL_DECIMALS, 0);
    WRITE(p, ",\"revision\":");
    write_integer(p, workout->revision);
    WRITE(p, "}");
}

/* A metric: `told` is its value for the job that is told of, its other numbers stand behind at `step`. */
static void write_metric(pen *p, const kf_live *live, size_t metric, const kf_value *told, int64_t due_ns)
{
    const size_t step = live->metric_count * live->job_count;
    const int64_t reason = told[5 * step].i, age_ns = due_ns - told[3 * step].i;
    const unsigned decimals = live->decimals[metric];

    write_text(p, metric ? "," : "{", 1);
    write_piece(p, &live->opening[metric]);
    if (reason != 0) {
        write_piece(p, &live->reasons[reason]);
        return;
    }
    write_number(p, told[0].f, decimals, decimals == 0);
    WRITE(p, ",\"sigma\":");
    write_number(p, told[step].f, KF_SIGMA_DECIMALS, 0);
    WRITE(p, ",\"age_s\":");
    write_number(p, (double)(age_ns > 0 ? age_ns : 0) * 1e-9, KF_AGE_DECIMALS, 0);
    write_piece(p, &live->sources[told[4 * step].i]);
    write_number(p, told[2 * step].f, KF_QUALITY_DECIMALS, 0);
    WRITE(p, "}");
}

static void write_live(pen *p, const kf_live *live, size_t place)
{
    const kf_job *job = &live->jobs[place];
    const kf_value *told = live->told + place;
    const int64_t rest_ns = job->due_ns % NS_PER_MS;

    WRITE(p, "{\"t_ms\":");
    write_integer(p, job->due_ns / NS_PER_MS - (rest_ns < 0));
    WRITE(p, ",\"athlete\":\"");
    write_id(p, live->athletes, job->athlete);
    WRITE(p, "\",\"cause\":");
    write_cause(p, live, job);
    WRITE(p, ",\"workout\":");
    write_workout(p, live, job->athlete, told + 6 * live->metric_count * live->job_count);
    WRITE(p, ",\"metrics\":");
    for (size_t metric = 0; metric < live->metric_count; metric++)
        write_metric(p, live, metric, told + metric * live->job_count, job->due_ns);
    WRITE(p, "}");
    write_piece(p, &live->closing);
}

void kf_tell(const kf_live *live, const uint32_t *places, size_t count, char *text, size_t room,
             uint64_t *ends)
{
    size_t end = 0;

    for (size_t i = 0; i < count; i++) {
        char *begin = text + end;
        pen p = {begin, begin + room};

        write_live(&p, live, places[i]);
        end = p.at == NULL ? end : (size_t)(p.at - text);
        ends[i] = end;
    }
}
