/* claims.h: what the test programs share. A program runs its claims, prints each one's name, and fails with
 * the first that does not hold. */
#ifndef KF_CLAIMS_H
#define KF_CLAIMS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinefuse.h"

#define HOLDS(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                   \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#define CLAIM(name)                                                                                          \
    do {                                                                                                     \
        name();                                                                                              \
        printf("ok %s\n", #name);                                                                            \
    } while (0)

#define ROOM 4096

/* Devices, and the outputs of the last call. Freed by end(). */
typedef struct {
    size_t count;
    kf_device *devices;
    kf_pairing *pairings;
    kf_device *beside;
    kf_summary summaries[ROOM];
    kf_window windows[ROOM];
    kf_step steps[ROOM];
    size_t window_count, step_count;
} stage;

static inline kf_device *device_of(const stage *s, size_t row)
{
    return (kf_device *)(void *)((char *)s->devices + row * kf_device_size());
}

static inline kf_pairing *pairing_of(const stage *s, size_t row)
{
    return (kf_pairing *)(void *)((char *)s->pairings + row * kf_pairing_size());
}

static inline stage *begin(size_t count, uint32_t placement)
{
    stage *s = calloc(1, sizeof *s);
    const kf_profile profile = {.placement = placement};

    HOLDS(s != NULL);
    s->count = count;
    s->devices = calloc(count, kf_device_size());
    s->pairings = calloc(count, kf_pairing_size());
    s->beside = calloc(count, kf_device_size());
    HOLDS(s->devices != NULL && s->pairings != NULL && s->beside != NULL);
    for (size_t i = 0; i < count; i++)
        kf_reset(device_of(s, i), pairing_of(s, i), &profile);
    return s;
}

static inline void end(stage *s)
{
    free(s->devices);
    free(s->pairings);
    free(s->beside);
    free(s);
}

/* Advance by packets; the sum of length / 12 is all the room that is given. */
static inline int advance(stage *s, const uint8_t *bytes, size_t byte_count, const kf_packet *packets,
                          size_t count)
{
    size_t capacity = 0;

    for (size_t i = 0; i < count; i++)
        capacity += (size_t)packets[i].length / 12;
    HOLDS(count <= ROOM && capacity <= ROOM);
    return kf_advance(s->devices, s->pairings, s->beside, s->count, bytes, byte_count, packets, count,
                      s->summaries, s->windows, s->steps, capacity, &s->window_count, &s->step_count,
                      kf_best_path());
}

/* Advance device 0 by one packet, copied to a block of its exact size so that reading past it is seen. */
static inline uint32_t advance_one(stage *s, uint32_t kind, const void *bytes, size_t length)
{
    uint8_t *exact = malloc(length ? length : 1);
    const kf_packet packet = {.kind = kind, .length = length};

    HOLDS(exact != NULL);
    if (length > 0)
        memcpy(exact, bytes, length);
    HOLDS(advance(s, exact, length, &packet, 1) == 0);
    free(exact);
    return s->summaries[0].status;
}

/* What a test says of a binary packet. */
typedef struct {
    uint32_t columns, flags, boot, seq, dt_ns, count, reserved;
    uint64_t t0_ns;
    float scale[3];
} head;

static inline head usual_head(void)
{
    return (head){.columns = 6,
                  .boot = 7,
                  .seq = 1,
                  .dt_ns = 10000000,
                  .count = 10,
                  .t0_ns = 1000000000,
                  .scale = {0.005F, 0.001F, 0.1F}};
}

/* Write head and rows (columns x count counts, or at rest where NULL) to out; return the length. */
static inline size_t write_packet(uint8_t *out, const head *h, const int16_t *counts)
{
    const uint16_t count = (uint16_t)h->count, reserved = (uint16_t)h->reserved;

    out[0] = KF_MAGIC;
    out[1] = KF_PACKET_VERSION;
    out[2] = (uint8_t)h->columns;
    out[3] = (uint8_t)h->flags;
    memcpy(out + 4, &h->boot, 4);
    memcpy(out + 8, &h->t0_ns, 8);
    memcpy(out + 16, &h->seq, 4);
    memcpy(out + 20, &h->dt_ns, 4);
    memcpy(out + 24, &count, 2);
    memcpy(out + 26, &reserved, 2);
    memcpy(out + 28, h->scale, 12);
    for (size_t i = 0; i < (size_t)h->columns * h->count; i++) {
        const int16_t at_rest = i % h->columns == 2 ? 1961 : 0;
        memcpy(out + 40 + 2 * i, counts ? &counts[i] : &at_rest, 2);
    }
    return KF_HEADER_BYTES + (size_t)2 * h->columns * h->count;
}

/* xorshift64*: the tests' only chance, from a seed. */
static inline uint64_t chance(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ULL;
}

static inline int finite_summary(const kf_summary *s)
{
    double n6 = 0, n9 = 0;

    for (int i = 0; i < 4; i++) {
        n6 += (double)s->q6[i] * (double)s->q6[i];
        n9 += (double)s->q9[i] * (double)s->q9[i];
    }
    return fabs(n6 - 1) < 1e-4 && fabs(n9 - 1) < 1e-4 &&
           isfinite(s->bias_b[0] + s->bias_b[1] + s->bias_b[2]) &&
           isfinite(s->tilt_sigma + s->heading_sigma + s->rate_hz) &&
           isfinite(s->free_accel_e[0] + s->free_accel_e[1] + s->free_accel_e[2]);
}

#endif
