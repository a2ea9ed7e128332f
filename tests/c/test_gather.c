/* test_gather.c: each group has its frames, whole and in their order, and nothing is read or written past the
 * end. */
#include "claims.h"

#define FRAMES 64
#define GROUPS 3
#define BYTES 65536

static const kf_rules RULES = {.payload_max = BYTES};

/* A chunk in blocks of their exact sizes. */
typedef struct {
    uint8_t *bytes, *gathered;
    size_t count;
    kf_publish frames[FRAMES];
    uint32_t groups[FRAMES], frame_count;
} chunk;

/* Write a PUBLISH whose length takes at least so many bytes; return its own length. */
static size_t publish(uint8_t *out, uint32_t flags, size_t payload, size_t length_bytes, uint8_t mark)
{
    size_t body = 2 + 3 + ((flags & 6U) ? 2U : 0U) + payload, at = 0;

    out[at++] = (uint8_t)(0x30 | flags);
    for (size_t i = 0; i == 0 || body > 0 || i < length_bytes; i++, body >>= 7)
        out[at++] = (uint8_t)((body & 127U) | (body > 127 || i + 1 < length_bytes ? 128U : 0U));
    memcpy(out + at, "\0\3t/u", 5);
    at += 5;
    if (flags & 6U) {
        out[at++] = 0;
        out[at++] = 9;
    }
    memset(out + at, mark, payload);
    return at + payload;
}

static chunk *fill(uint64_t *dice)
{
    static uint8_t bytes[BYTES];
    static const size_t payloads[5] = {0, 1, 130, 300, 17000};
    chunk *c = calloc(1, sizeof *c);
    kf_control controls[FRAMES];
    kf_split_end end;
    size_t at = 0;

    HOLDS(c != NULL);
    for (uint64_t i = chance(dice) % 20; i > 0; i--) {
        size_t payload = payloads[chance(dice) % (at > BYTES / 2 ? 4 : 5)];

        if (chance(dice) % 8 == 0) { /* a frame that is nobody's stands between */
            bytes[at++] = 0xD0;
            bytes[at++] = 0;
        }
        at +=
            publish(bytes + at, chance(dice) % 2 ? 2 : 0, payload, 1 + chance(dice) % 4, (uint8_t)(128 + i));
    }
    c->count = at;
    c->bytes = malloc(at ? at : 1);
    c->gathered = malloc(at ? at : 1);
    HOLDS(c->bytes != NULL && c->gathered != NULL);
    memcpy(c->bytes, bytes, at);
    HOLDS(kf_split(c->bytes, at, &RULES, c->frames, FRAMES, controls, FRAMES, &end) == KF_FRAMES_DONE);
    HOLDS(end.consumed == at);
    c->frame_count = end.frame_count;
    for (size_t i = 0; i < c->frame_count; i++)
        c->groups[i] = (uint32_t)(chance(dice) % (GROUPS + 1)); /* the last is no group */
    return c;
}

static int gather(const chunk *c, kf_group *parts)
{
    return kf_gather(c->bytes, c->count, c->frames, c->groups, c->frame_count, c->gathered, parts, GROUPS);
}

static void drop(chunk *c)
{
    free(c->bytes);
    free(c->gathered);
    free(c);
}

static void each_group_has_its_frames_whole_and_in_their_order(void)
{
    uint64_t dice = 11;

    for (int turn = 0; turn < 3000; turn++) {
        chunk *c = fill(&dice);
        kf_group parts[GROUPS];

        HOLDS(gather(c, parts) == 0);
        for (uint32_t group = 0; group < GROUPS; group++) {
            kf_publish found[FRAMES];
            kf_control controls[FRAMES];
            kf_split_end end;
            uint32_t at = 0;

            HOLDS(parts[group].start + parts[group].length <= c->count);
            const uint8_t *own = c->gathered + parts[group].start;

            HOLDS(kf_split(own, (size_t)parts[group].length, &RULES, found, FRAMES, controls, FRAMES, &end) ==
                  KF_FRAMES_DONE);
            HOLDS(end.consumed == parts[group].length && end.control_count == 0);
            for (uint32_t i = 0; i < c->frame_count; i++) {
                if (c->groups[i] != group)
                    continue;
                HOLDS(at < end.frame_count && found[at].flags == c->frames[i].flags);
                HOLDS(found[at].payload_length == c->frames[i].payload_length);
                HOLDS(memcmp(own + found[at].payload, c->bytes + c->frames[i].payload,
                             found[at].payload_length) == 0);
                at++;
            }
            HOLDS(at == end.frame_count && at == parts[group].frame_count);
        }
        drop(c);
    }
}

static void frames_that_do_not_lie_in_the_bytes_are_refused(void)
{
    uint64_t dice = 3;
    kf_group parts[GROUPS];

    for (int turn = 0; turn < 20000; turn++) {
        chunk *c = fill(&dice);

        if (c->frame_count > 0) {
            kf_publish *frame = &c->frames[chance(&dice) % c->frame_count];
            uint32_t *const fields[4] = {&frame->topic, &frame->topic_length, &frame->payload,
                                         &frame->payload_length};

            *fields[chance(&dice) % 4] =
                (uint32_t)(chance(&dice) % 2 ? chance(&dice) : chance(&dice) % (c->count + 8));
            if (gather(c, parts) == 0)
                for (size_t i = 0; i < GROUPS; i++)
                    HOLDS(parts[i].start + parts[i].length <= c->count);
        }
        drop(c);
    }
}

static void frames_in_another_order_are_refused(void)
{
    uint8_t bytes[64], out[64];
    const size_t first = publish(bytes, 0, 4, 1, 1), all = first + publish(bytes + first, 0, 4, 1, 2);
    const uint32_t groups[2] = {0, 0};
    kf_publish frames[2];
    kf_control control;
    kf_split_end end;
    kf_group part;

    HOLDS(kf_split(bytes, all, &RULES, frames, 2, &control, 1, &end) == KF_FRAMES_DONE);
    HOLDS(kf_gather(bytes, all, frames, groups, 2, out, &part, 1) == 0 && part.length == all);
    HOLDS(kf_gather(bytes, all, (kf_publish[]){frames[1], frames[0]}, groups, 2, out, &part, 1) == -1);
    HOLDS(kf_gather(bytes, all, (kf_publish[]){frames[0], frames[0]}, groups, 2, out, &part, 1) == -1);
    HOLDS(kf_gather(bytes, all - 1, frames, groups, 2, out, &part, 1) == -1);
}

int main(void)
{
    CLAIM(each_group_has_its_frames_whole_and_in_their_order);
    CLAIM(frames_that_do_not_lie_in_the_bytes_are_refused);
    CLAIM(frames_in_another_order_are_refused);
    return 0;
}
