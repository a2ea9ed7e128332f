/* lanes.h: numbers of one device, or of KF_LANES devices side by side.
 *
 * filter.h is written once in these words and compiled for each width. Every operation is one of IEEE 754
 * on each lane alone (no contraction, no reduction over lanes), so that the answer of a device does not
 * depend on the width, nor on who its neighbours are: bit for bit.
 */
#ifndef KF_LANES_H
#define KF_LANES_H

#include <math.h>
#include <stdint.h>

#if KF_LANES == 1

typedef float kf_real;
typedef int32_t kf_mask; /* 0 or -1 */

static inline kf_real kf_of(float a)
{
    return a;
}

static inline kf_real kf_where(kf_mask m, kf_real a, kf_real b)
{
    return m ? a : b;
}

static inline kf_real kf_root(kf_real a)
{
    return sqrtf(a);
}

static inline int kf_any(kf_mask m)
{
    return m != 0;
}

#define KF_TRUE(condition) (-(kf_mask)(condition))

#else

typedef float kf_real __attribute__((vector_size(4 * KF_LANES)));
typedef int32_t kf_mask __attribute__((vector_size(4 * KF_LANES)));

static inline kf_real kf_of(float a)
{
    return (kf_real){0} + a;
}

static inline kf_real kf_where(kf_mask m, kf_real a, kf_real b)
{
    return (kf_real)((m & (kf_mask)a) | (~m & (kf_mask)b));
}

static inline kf_real kf_root(kf_real a)
{
    return KF_ROOT(a); /* of the file that includes this: each lane's, rounded as sqrtf */
}

static inline int kf_any(kf_mask m)
{
    int32_t any = 0;

    for (int i = 0; i < KF_LANES; i++)
        any |= m[i];
    return any != 0;
}

#define KF_TRUE(condition) (condition)

#endif

#define KF_QUARTER_PI 0.78539816F

static inline kf_real kf_least(kf_real a, kf_real b)
{
    return kf_where(KF_TRUE(a < b), a, b);
}

static inline kf_real kf_most(kf_real a, kf_real b)
{
    return kf_where(KF_TRUE(a > b), a, b);
}

static inline kf_real kf_size(kf_real a)
{
    return kf_most(a, -a);
}

/* cos x and sin x / x from x^2, for |x| up to pi / 2: series, error under 1e-7. */
static inline void kf_cosine(kf_real x2, kf_real *cosine, kf_real *sinc)
{
    *cosine =
        1.0F -
        x2 * (1 / 2.0F) *
            (1.0F - x2 * (1 / 12.0F) *
                        (1.0F - x2 * (1 / 30.0F) *
                                    (1.0F - x2 * (1 / 56.0F) *
                                                (1.0F - x2 * (1 / 90.0F) * (1.0F - x2 * (1 / 132.0F))))));
    *sinc =
        1.0F -
        x2 * (1 / 6.0F) *
            (1.0F - x2 * (1 / 20.0F) *
                        (1.0F - x2 * (1 / 42.0F) * (1.0F - x2 * (1 / 72.0F) * (1.0F - x2 * (1 / 110.0F)))));
}

/* The angle of (x, y) from the x axis, rad; (0, 0) gives 0. The octants are folded into one, then halved to
 * 22.5 degrees; series, error under 2e-7. */
static inline kf_real kf_angle(kf_real y, kf_real x)
{
    const kf_real ax = kf_size(x), ay = kf_size(y);
    const kf_real larger = kf_most(ax, ay);
    const kf_mask none = KF_TRUE(larger <= 0.0F);
    const kf_real share = kf_least(ax, ay) / kf_where(none, larger + 1.0F, larger);
    const kf_mask fold = KF_TRUE(share > 0.41421356F);
    const kf_real t = kf_where(fold, (share - 1.0F) / (share + 1.0F), share);
    const kf_real z = t * t;
    kf_real angle =
        t *
        (1.0F - z * (1 / 3.0F -
                     z * (1 / 5.0F - z * (1 / 7.0F - z * (1 / 9.0F - z * (1 / 11.0F - z * (1 / 13.0F)))))));

    angle = kf_where(fold, angle + KF_QUARTER_PI, angle);
    angle = kf_where(KF_TRUE(ay > ax), 2 * KF_QUARTER_PI - angle, angle);
    angle = kf_where(KF_TRUE(x < 0.0F), 4 * KF_QUARTER_PI - angle, angle);
    return kf_where(KF_TRUE(y < 0.0F), -angle, angle);
}

#endif
