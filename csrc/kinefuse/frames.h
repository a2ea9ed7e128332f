/* frames.h: MQTT: bytes of a connection into messages, messages to workers. */
#ifndef KINEFUSE_FRAMES_H
#define KINEFUSE_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/* [cffi] */

/* Make of the bytes of an MQTT 3.1.1 connection what stands in it, frame by frame.
 *
 * The table of topics holds the ids of devices, [A-Za-z0-9_-], 1 to KF_ID_BYTES, and their rows, in two
 * arrays that the caller owns: the ids, one behind the other, and where they stand, open addressing over a
 * power of two of places; all zeros is an empty one. An id has 76 bytes, a place 4: many of these may be
 * free. */

#define KF_ID_BYTES 64
#define KF_NO_DEVICE 0xFFFFFFFF

#define KF_FRAME_RETAIN 1          /* a flag of kf_publish */
#define KF_FRAME_HEADER_MAX 65544  /* of a PUBLISH: five bytes, the topic with its length, the packet id */
#define KF_CONTROL_BYTES_MAX 65536 /* of any other frame, behind its length */

/* Why kf_split stopped. From KF_FRAME_BAD_TYPE on the stream is malformed: nothing behind it can be trusted.
 */
#define KF_FRAMES_DONE 0      /* all is split, but for a frame that is not whole yet */
#define KF_FRAMES_FULL 1      /* no room for the next */
#define KF_FRAMES_OVERSIZE 2  /* the next is a PUBLISH with more payload than is allowed */
#define KF_FRAME_BAD_TYPE 3   /* type 0 or 15 */
#define KF_FRAME_BAD_LENGTH 4 /* a remaining length of more than four bytes */
#define KF_FRAME_TOO_LARGE 5  /* a control frame beyond KF_CONTROL_BYTES_MAX */
#define KF_FRAME_BAD_QOS 6    /* a PUBLISH of QoS 3 */
#define KF_FRAME_BAD_TOPIC 7  /* an empty topic, or one longer than its frame */
#define KF_FRAME_BAD_ID 8     /* a PUBLISH of QoS 1 or 2 with packet id 0, or without room for one */

/* What a device's topic is of: its last level, as in prefix + id + "/hr". */
#define KF_TOPIC_OTHER 0
#define KF_TOPIC_IMU 1
#define KF_TOPIC_HR 2
#define KF_TOPIC_GNSS 3
#define KF_TOPIC_BARO 4
#define KF_TOPIC_POWER 5
#define KF_TOPIC_CADENCE 6
#define KF_TOPIC_WHEEL 7
#define KF_TOPIC_FOOT 8
#define KF_TOPICS 9

/* A PUBLISH of QoS 0 or 1. */
typedef struct {
    uint32_t topic; /* offset into the bytes */
    uint32_t topic_length;
    uint32_t payload; /* offset into the bytes */
    uint32_t payload_length;
    uint32_t
        device; /* row of the device, where kind is not OTHER and it is not retained; else KF_NO_DEVICE */
    uint16_t packet_id; /* QoS 1; else 0 */
    uint8_t flags;      /* as in the header: bit 0 retain, bits 1 and 2 QoS, bit 3 dup */
    uint8_t kind;       /* KF_TOPIC_...; OTHER where device is KF_NO_DEVICE */
} kf_publish;

/* A frame that is not ours to read. */
typedef struct {
    uint32_t offset; /* into the bytes */
    uint32_t length;
} kf_control;

/* An id in a table of topics. */
typedef struct {
    uint32_t hash;
    uint32_t device;
    uint8_t length;
    uint8_t id[64];
    uint8_t reserved[3];
} kf_topic;

typedef struct {
    kf_topic *topics;     /* room for place_count / 2 */
    uint32_t *places;     /* one more than the index of what stands there; 0: free */
    uint64_t place_count; /* 0, or a power of two from 2 to 2^31 */
    uint64_t topic_count;
    uint64_t seed; /* of the hash, random: ids come from outside */
} kf_topics;

typedef struct {
    const uint8_t *prefix; /* of the topics prefix + id + "/" + kind */
    uint64_t prefix_length;
    const kf_topics *topics; /* NULL: there are none */
    uint64_t payload_max;
} kf_rules;

typedef struct {
    uint64_t consumed;  /* bytes of the frames that were split; what stands next begins here */
    uint64_t needed;    /* its length, or the least that must be seen of it, where it is not whole */
    uint64_t oversize;  /* its whole length, where it is oversize, */
    uint32_t packet_id; /* and its id: not 0 where it wants to be acknowledged */
    uint32_t frame_count;
    uint32_t control_count;
    uint32_t reserved;
} kf_split_end;

/* Put the row of an id into a table, or change it. Returns 0; -1, having changed nothing, where the id has no
 * or too many bytes, or half of the places are taken: then it is to have more, which kf_topics_place fills.
 */
int kf_topic_put(kf_topics *table, const uint8_t *id, size_t length, uint32_t device);

/* Take an id out of a table. Returns 0; -1 where it was not in it. */
int kf_topic_remove(kf_topics *table, const uint8_t *id, size_t length);

/* Return the row of an id; KF_NO_DEVICE where the table does not hold it. */
uint32_t kf_topic_find(const kf_topics *table, const uint8_t *id, size_t length);

/* Fill places, all free, with the ids that there are. */
void kf_topics_place(kf_topics *table);

/* Split bytes of a connection into frames, as far as they are whole and there is room.
 *
 * in:  bytes     byte_count, less than 2^32, beginning with a frame
 *      rules     what is looked up, and what is too large
 * out: frames    PUBLISH frames of QoS 0 and 1, room for frame_capacity
 *      controls  all others, room for control_capacity
 *      end       how far it came
 * Returns KF_FRAMES_... or KF_FRAME_...; what stands before the fault is split in any case.
 */
uint32_t kf_split(const uint8_t *bytes, size_t byte_count, const kf_rules *rules, kf_publish *frames,
                  size_t frame_capacity, kf_control *controls, size_t control_capacity, kf_split_end *end);

/* What a group has of a chunk. */
typedef struct {
    uint64_t start; /* offset into what is gathered */
    uint64_t length;
    uint32_t frame_count;
    uint32_t reserved;
} kf_group;

/* Sort frames by their groups: each group's stand one behind the other, whole and as they came.
 *
 * in:  bytes     byte_count, which frames were split from
 *      frames    frame_count, in the order of bytes
 *      groups    frame_count; frames whose group is group_count or more are left out
 * out: gathered  room for byte_count
 *      parts     group_count
 * Returns 0; -1, having gathered nothing, where frames do not lie in bytes one behind the other.
 */
int kf_gather(const uint8_t *bytes, size_t byte_count, const kf_publish *frames, const uint32_t *groups,
              size_t frame_count, uint8_t *gathered, kf_group *parts, size_t group_count);

/* [/cffi] */

#endif
