/* live.c: metrics as JSON. */
#include "pen.h"

static void write_metric(pen *p, const kf_live *live, size_t metric, size_t athlete)
{
    const size_t place = metric * live->athlete_count + athlete;
    const kf_text *reason = &live->reasons[live->reason[place]];
    const kf_text *source = &live->sources[live->source[place]];
    const int64_t age_ns = live->due_ns[athlete] - live->t_ns[place];
    const unsigned decimals = live->decimals[metric];

    write_text(p, metric ? "," : "{", 1);
    write_text(p, live->opening[metric].bytes, live->opening[metric].length);
    if (live->reason[place] != 0) {
        write_text(p, reason->bytes, reason->length);
        return;
    }
    write_number(p, live->value[place], decimals, decimals == 0);
    write_text(p, ",\"sigma\":", 9);
    write_number(p, live->sigma[place], KF_SIGMA_DECIMALS, 0);
    write_text(p, ",\"age_s\":", 9);
    write_number(p, (double)(age_ns > 0 ? age_ns : 0) * 1e-9, KF_AGE_DECIMALS, 0);
    write_text(p, source->bytes, source->length);
    write_number(p, live->quality[place], KF_QUALITY_DECIMALS, 0);
    write_text(p, "}", 1);
}

void kf_tell(const kf_live *live, char *text, size_t room, uint32_t *lengths)
{
    for (size_t athlete = 0; athlete < live->athlete_count; athlete++) {
        char *begin = text + athlete * room;
        pen p = {begin, begin + room};

        for (size_t metric = 0; metric < live->metric_count; metric++)
            write_metric(&p, live, metric, athlete);
        write_text(&p, "}", 1);
        lengths[athlete] = p.at == NULL ? 0 : (uint32_t)(p.at - begin);
    }
}
