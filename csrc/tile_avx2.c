/* tile_avx2.c: the filter for 8 devices side by side. */
#include "internal.h"

#ifdef KF_X86

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define KF_LANES 8
#define KF_ROOT(a) ((kf_real)_mm256_sqrt_ps((__m256)(a)))
#include "lanes.h"

/* Rows of 8 floats as columns. */
static inline void transpose(const float *const rows[8], kf_real columns[8])
{
    __m256 a[8], b[8];

    for (size_t i = 0; i < 4; i++) { /* pairs of rows, then fours */
        a[2 * i] = _mm256_unpacklo_ps(_mm256_loadu_ps(rows[2 * i]), _mm256_loadu_ps(rows[2 * i + 1]));
        a[2 * i + 1] = _mm256_unpackhi_ps(_mm256_loadu_ps(rows[2 * i]), _mm256_loadu_ps(rows[2 * i + 1]));
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        columns[i] = (kf_real)_mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        columns[i + 4] = (kf_real)_mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

#include "tile.h"

void kf_tile_avx2(kf_tile_row *rows, size_t count)
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
