/* live.c: live updates as JSON. */
#include "pen.h"

#define NS_PER_MS 1000000

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
