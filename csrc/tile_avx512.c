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
