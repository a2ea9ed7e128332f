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
