/* test_measures.c: messages are taken as they came, each on its device's own state, and none past the end. */
#include "claims.h"

#define DEVICES 2
#define MESSAGES 4

/* What a call takes and makes, of its exact size. */
typedef struct {
    kf_link links[DEVICES];
    kf_seen *seen;
    kf_beats *beats;
    kf_publish frames[MESSAGES];
    kf_flat messages[MESSAGES];
    int64_t places[MESSAGES], chosen[MESSAGES], arrived_ns[MESSAGES], received_ns[MESSAGES];
    kf_event *events;
    kf_record *records;
    uint8_t *verdicts;
    size_t done[2];
} call;

static void *some(size_t count, size_t size)
{
    void *room = calloc(count, size);

    HOLDS(room != NULL);
    return room;
}

/* Heart rates of two devices in turn, with an interval each, a second apart. */
static call call_of_beats(void)
{
    call c = {.links = {{.athlete = 5, .number = 7, .beats = KF_NONE},
                        {.athlete = 6, .number = 8, .rank = KF_RANK_WRIST, .seen = 1, .beats = KF_NONE}}};

    c.seen = some(DEVICES, sizeof *c.seen);
    c.beats = some(DEVICES, sizeof *c.beats);
    c.events = some(MESSAGES, sizeof *c.events);
    c.records = some(MESSAGES, sizeof *c.records);
    c.verdicts = some(MESSAGES, sizeof *c.verdicts);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        c.frames[i] = (kf_publish){.device = i % DEVICES, .kind = KF_TOPIC_HR};
        c.messages[i] = (kf_flat){.told = KF_FLAT_T, .t_ns = i, .plain = 1, .list_count = 1};
        for (size_t field = 0; field < KF_FLAT_FIELDS; field++)
            c.messages[i].values[field] = NAN;
        c.messages[i].list[0] = 500;
        c.places[i] = c.chosen[i] = i;
        c.arrived_ns[i] = 1000 + i;
    }
    return c;
}

static void free_call(const call *c)
{
    free(c->seen);
    free(c->beats);
    free(c->events);
    free(c->records);
    free(c->verdicts);
}

static int take(call *c)
{
    return kf_take_plain(c->links, c->seen, c->beats, c->frames, 10, c->places, c->messages, c->chosen,
                         c->arrived_ns, c->received_ns, MESSAGES, c->events, c->records, c->verdicts,
                         c->done);
}

static void who_tells_the_first_interval_gets_a_place_before(void)
{
    call c = call_of_beats();

    HOLDS(take(&c) && c.done[0] == 0 && c.done[1] == 0);
    c.links[0].beats = 1;
    HOLDS(take(&c) && c.done[0] == 1 && c.done[1] == 1);
    c.links[1].beats = 0;
    HOLDS(!take(&c) && c.done[0] == MESSAGES && c.done[1] == MESSAGES);
    HOLDS(c.beats[0].count == 2 && c.beats[1].count == 2);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const kf_event *e = &c.events[i];
        const kf_measured_heart_rate *m = &c.records[i].heart_rate;

        HOLDS(e->kind == KF_EVENT_SAMPLE && e->message == 10 + i && e->device == i % DEVICES);
        HOLDS(e->athlete == 5 + i % DEVICES && e->index == i && e->measures == KF_KIND_HEART_RATE);
        HOLDS(e->flags == KF_EVENT_TIMED && e->t_ns == i && e->stream == 2 * KF_TOPIC_HR);
        HOLDS(m->row == (int32_t)e->athlete && m->device == 7 + (int32_t)(i % DEVICES) && m->bpm == 120);
        HOLDS(m->source == (i % DEVICES ? KF_SOURCE_OPTICAL : KF_SOURCE_STRAP));
    }
    free_call(&c);
}

static void what_is_refused_leaves_no_gap(void)
{
    call c = call_of_beats();

    c.links[0].beats = 0;
    c.links[1].beats = 1;
    c.messages[2].t_ns = 0; /* the first once more */
    c.links[1].expected_low_ns = INT64_MAX / 2;
    HOLDS(!take(&c) && c.done[0] == MESSAGES && c.done[1] == 1);
    HOLDS(c.verdicts[0] == KF_ADMITTED && c.verdicts[1] == KF_FLOODING);
    HOLDS(c.verdicts[2] == KF_SEEN_BEFORE && c.verdicts[3] == KF_FLOODING);
    HOLDS(c.links[0].refused == 1 && c.links[1].refused == 2);
    HOLDS(c.beats[0].count == 1 && c.beats[1].count == 0); /* what is refused tells no interval */
    free_call(&c);
}

static void what_holds_nothing_is_no_measurement(void)
{
    call c = call_of_beats();

    c.links[0].beats = c.links[1].beats = 0;
    c.messages[0].values[1] = 0; /* it does not touch */
    c.messages[1].list_count = c.messages[2].list_count = 0;
    c.messages[2].values[0] = 0;
    HOLDS(!take(&c) && c.done[1] == MESSAGES);
    for (size_t i = 0; i < 3; i++)
        HOLDS(c.events[i].index == KF_NONE && c.events[i].measures == 0 && c.events[i].stream % 2 == 1);
    HOLDS(c.events[3].index == 3 && c.beats[0].count == 1);
    free_call(&c);
}

int main(void)
{
    CLAIM(who_tells_the_first_interval_gets_a_place_before);
    CLAIM(what_is_refused_leaves_no_gap);
    CLAIM(what_holds_nothing_is_no_measurement);
    return 0;
}
