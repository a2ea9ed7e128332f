/* gather.c: the frames of a chunk, sorted by who is to have them. */
#include <string.h>

#include "kinefuse.h"

/* Where a frame stands: [from, to); none where it does not lie between floor and byte_count. */
typedef struct {
    size_t from, to;
    int lies;
} extent;

/* Before the topic stand the type, the frame's length and the topic's. Of the one to four bytes of the
 * frame's length the last has bit 7 clear, those before it have it set; the type has it clear. */
static extent extent_of(const uint8_t *bytes, size_t floor, size_t byte_count, const kf_publish *frame)
{
    const size_t topic = frame->topic, to = (size_t)frame->payload + frame->payload_length;
    size_t at = topic - 3;

    if (topic < floor + 4 || frame->payload < topic || to > byte_count)
        return (extent){0};
    for (size_t more = 0; more < 3 && at > floor + 1 && (bytes[at - 1] & 128U) != 0; more++)
        at--;
    return (extent){at - 1, to, 1};
}

/* Add up what each group has; 0 where a frame does not lie behind the one before it. */
static int measure(const uint8_t *bytes, size_t byte_count, const kf_publish *frames, const uint32_t *groups,
                   size_t frame_count, kf_group *parts, size_t group_count)
{
    size_t floor = 0;

    for (size_t i = 0; i < frame_count; i++) {
        const extent frame = extent_of(bytes, floor, byte_count, &frames[i]);

        if (!frame.lies)
            return 0;
        floor = frame.to;
        if (groups[i] < group_count) {
            parts[groups[i]].length += frame.to - frame.from;
            parts[groups[i]].frame_count++;
        }
    }
    return 1;
}

int kf_gather(const uint8_t *bytes, size_t byte_count, const kf_publish *frames, const uint32_t *groups,
              size_t frame_count, uint8_t *gathered, kf_group *parts, size_t group_count)
{
    size_t floor = 0;
    uint64_t start = 0;

    memset(parts, 0, group_count * sizeof *parts);
    if (!measure(bytes, byte_count, frames, groups, frame_count, parts, group_count))
        return -1;
    for (size_t group = 0; group < group_count; group++) {
        parts[group].start = start;
        start += parts[group].length;
        parts[group].length = 0;
    }
    for (size_t i = 0; i < frame_count; i++) {
        const extent frame = extent_of(bytes, floor, byte_count, &frames[i]);

        floor = frame.to;
        if (groups[i] >= group_count)
            continue;
        kf_group *part = &parts[groups[i]];

        memcpy(gathered + part->start + part->length, bytes + frame.from, frame.to - frame.from);
        part->length += frame.to - frame.from;
    }
    return 0;
}
