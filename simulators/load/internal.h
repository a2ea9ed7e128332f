/* internal.h: what the files of the load generator share. */
#ifndef LOAD_INTERNAL_H
#define LOAD_INTERNAL_H

#include <stdbool.h>

#include "load.h"

/* MQTT 3.1.1, section 2.2.1; the low bits of SUBSCRIBE are fixed. */
enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, SUBSCRIBE = 0x82, SUBACK = 0x90 };
enum { DISCONNECT = 0xE0, RETAIN = 0x01, QOS_1 = 0x02 };

/* frames.c: frames from us; each returns the length. */
size_t ld_connect_frame(uint8_t *frame, const char *id);
size_t ld_subscribe_frame(uint8_t *frame, const char *root);
size_t ld_birth_frame(const ld_load *load, const ld_stream *stream, uint8_t *frame);
void ld_malform(ld_load *load, const ld_stream *stream, uint8_t *frame, size_t length);
bool ld_chance(ld_load *load, uint32_t share);

/* links.c */
void ld_connect_some(ld_load *load, int64_t now_ns);
bool ld_send(ld_load *load, ld_link *link, const uint8_t *frame, size_t length);
int ld_serve(ld_load *load);

/* hear.c */
ld_bin *ld_bin_at(ld_load *load, int64_t t_ns);
void ld_count(uint32_t *histogram, int64_t *max_ns, int64_t ns);
bool ld_take_frames(ld_load *load, int64_t received_ns);

#endif
