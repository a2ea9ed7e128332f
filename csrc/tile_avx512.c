/* tile_avx512.c: the filter for 16 devices side by side. */
#include "internal.h"

#ifdef KF_X86

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif

#define KF_LANES 16
#define KF_ROOT(a) ((kf_real)_mm512_sqrt_ps((__m512)(a)))
#include "lanes.h"

/* Rows of 16 floats as columns. */
static inline void transpose(const float *const rows[16], kf_real columns[16])
{
    __m512 a[16], b[16];

    for (size_t i = 0; i < 8; i++) { /* pairs of rows, then fours, eights, all */
        a[2 * i] = _mm512_unpacklo_ps(_mm512_loadu_ps(rows[2 * i]), _mm512_loadu_ps(rows[2 * i + 1]));
        a[2 * i + 1] = _mm512_unpackhi_ps(_mm512_loadu_ps(rows[2 * i]), _mm512_loadu_ps(rows[2 * i + 1]));
    }
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xDD);
        a[i + 8] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; i++) {
        columns[i] = (kf_real)_mm512_shuffle_f32x4(a[i], a[i + 8], 0x88);
        columns[i + 8] = (kf_real)_mm512_shuffle_f32x4(a[i], a[i + 8], 0xDD);
        columns[i + 4] = (kf_real)_mm512_shuffle_f32x4(a[i + 4], a[i + 12], 0x88);
        columns[i + 12] = (kf_real)_mm512_shuffle_f32x4(a[i + 4], a[i + 12], 0xDD);
    }
}

#include "tile.h"

void kf_tile_avx512(kf_tile_row *rows, size_t count)
{
    for (size_t first = 0; first < count; first += KF_LANES) {
        const size_t left = count - first;
        if (left * FEW < KF_LANES)
            kf_tile_plain(rows + first, left);
        else
            run(rows + first, left < KF_LANES ? left : KF_LANES);
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
