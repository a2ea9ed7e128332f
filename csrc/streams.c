/* streams.c: what is heard of streams, and what wakes them (server/deadlines/streams.py says what it means).
 */
#include "internal.h"

static kf_supervised_stream *streams_of(const kf_supervision *s, uint32_t row)
{
    return &s->streams[(size_t)row * s->kinds];
}

/* A dead stream of a dead link sleeps until the link lives again. */
static void wake(const kf_supervision *s, uint32_t row)
{
    kf_supervised_stream *streams = streams_of(s, row);

    for (uint32_t kind = 0; kind < s->kinds; kind++) {
        const uint8_t state = streams[kind].state;
        if (state != KF_STREAM_UNHEARD && !(state == KF_STREAM_DEAD && s->devices[row].dead))
            streams[kind].due_ns = 0;
    }
}

/* Something came: the link lives. */
static void live(const kf_supervision *s, uint32_t row, int64_t now_ns)
{
    kf_supervised_device *device = &s->devices[row];

    if (now_ns > device->heard_ns)
        device->heard_ns = now_ns;
    if (!device->waits && !device->gone)
        return;
    if (device->dead)
        device->revived_ns = now_ns;
    device->gone = device->dead = device->waits = 0;
    wake(s, row);
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

double kf_stream_deadline_ns(const kf_supervision *s, double interval_s, double speed)
{
    const double scale = speed > 0 ? speed : 1;
    const double usual_ns = s->intervals * 1e9 * interval_s * scale;
    const double deadline_ns = least(most(usual_ns, s->silence_ns), s->deadline_max_ns) / scale;

    return speed > 0 ? most(deadline_ns, s->played_min_ns) : deadline_ns;
}

/* The usual interval, once the stream was silent for so long. An outage counts as the deadline at most. */
static double learn(const kf_supervision *s, double interval_s, int64_t since_ns, double speed)
{
    if (since_ns <= s->burst_ns)
        return interval_s;
    const double since_s = least((double)since_ns, kf_stream_deadline_ns(s, interval_s, speed)) * 1e-9;
    return interval_s + (since_s > interval_s ? s->rise : s->fall) * (since_s - interval_s);
}

/* A packet of a stream came, whose newest sample is of newest_ns. Returns 1 where it is the stream's first.
 */
static size_t hear(const kf_supervision *s, const kf_event *e, uint8_t column, int64_t newest_ns,
                   uint8_t rests)
{
    kf_supervised_stream *stream = streams_of(s, e->device) + column;
    const double speed = (double)s->devices[e->device].speed;
    const bool begins = stream->state == KF_STREAM_UNHEARD;
    double interval_s = (double)stream->interval_s;

    if (begins) {
        stream->state = KF_STREAM_ALIVE;
        interval_s = (double)s->first_s[column] / (speed > 0 ? speed : 1);
    } else {
        interval_s = learn(s, interval_s, e->arrived_ns - stream->heard_ns, speed);
    }
    const double age_s = speed > 0 ? 0 : (double)(e->arrived_ns - newest_ns) * 1e-9;
    const bool to_look_at = stream->state != KF_STREAM_ALIVE || age_s > s->lifespan_s;
    const int64_t deadline_ns = (int64_t)kf_stream_deadline_ns(s, interval_s, speed);
    if (e->arrived_ns > stream->heard_ns) /* what waited for its predecessor is told after it */
        stream->heard_ns = e->arrived_ns;
    stream->due_ns = to_look_at ? 0 : stream->heard_ns + deadline_ns + 1;
    stream->interval_s = (float)interval_s;
    stream->age_s = (float)age_s;
    stream->rests = rests;
    live(s, e->device, e->arrived_ns);
    return begins;
}

/* What a summary tells of its stream: beside a gap nothing of now, and nothing at all where malformed. */
static size_t hear_motion(const kf_supervision *s, const kf_clock *clocks, const kf_event *e,
                          const kf_summary *summary)
{
    const bool beside = summary->flags & KF_BESIDE;

    if (summary->status == KF_OK && !beside)
        return hear(s, e, s->columns[s->motion], kf_clock_align(&clocks[e->device], summary->t_last_ns), 0);
    if (summary->status >= KF_LATE || beside)
        live(s, e->device, e->arrived_ns);
    return 0;
}

size_t kf_streams_take(const kf_supervision *s, const kf_clock *clocks, const kf_event *events, size_t begin,
                       size_t count, const kf_summary *summaries, size_t *begun)
{
    *begun = 0;
    for (size_t i = begin; i < count; i++) {
        const kf_event *e = &events[i];
        if (count - i > 6 && e[6].device != KF_NONE) {
            kf_prefetch(streams_of(s, e[6].device), s->kinds * sizeof *s->streams);
            kf_prefetch(&s->devices[e[6].device], sizeof *s->devices);
        }
        if (e->kind == KF_EVENT_IMU) {
            *begun += hear_motion(s, clocks, e, &summaries[e->index]);
        } else if (e->kind == KF_EVENT_SAMPLE && !e->stream) {
            live(s, e->device, e->arrived_ns);
        } else if (e->kind == KF_EVENT_SAMPLE) {
            const uint8_t column = s->columns[(e->stream >> 1) - 1];
            if (column == KF_NO_COLUMN)
                return i;
            const bool timed = e->flags & KF_EVENT_TIMED;
            const int64_t newest_ns = timed ? kf_clock_align(&clocks[e->device], e->t_ns) : e->arrived_ns;
            *begun += hear(s, e, column, newest_ns, e->stream & 1);
        }
    }
    return count;
}

void kf_streams_sign(const kf_supervision *s, const uint32_t *rows, const int64_t *now_ns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        live(s, rows[i], now_ns[i]);
}

void kf_streams_wake(const kf_supervision *s, const uint32_t *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wake(s, rows[i]);
}
