/* seen.c: which low-rate messages of a device are taken: not too many, and each once.
 *
 * A message is known again by its kind, its stamp, its boot and its seq: by a hash of these, of the newest
 * KF_SEEN of each device. The hash has 47 bits: of 10,000 messages a second one in three years is taken for
 * another. One that tells neither stamp nor seq is never known again.
 */
#include "internal.h"

static uint64_t mixed(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0xD6E8FEB86659FD93ULL;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93ULL;
    return h ^ h >> 32;
}

int kf_admits(kf_link *link, int64_t arrived_ns)
{
    return kf_conforms(&link->expected_low_ns, arrived_ns, KF_LIMIT_LOW_NS, KF_LIMIT_LOW_BURST_NS);
}

int kf_saw(kf_seen *seen, uint32_t kind, const kf_flat *message)
{
    const uint32_t told = message->told & (KF_FLAT_T | KF_FLAT_BOOT | KF_FLAT_SEQ);

    if (!(told & (KF_FLAT_T | KF_FLAT_SEQ)))
        return 0;
    uint64_t key = mixed(0x9E3779B97F4A7C15ULL, (uint64_t)kind << 32 | told);
    key = mixed(key, told & KF_FLAT_T ? (uint64_t)message->t_ns : 0);
    key = mixed(key, (told & KF_FLAT_BOOT ? (uint64_t)message->boot << 32 : 0) |
                         (told & KF_FLAT_SEQ ? message->seq : 0)) |
          1; /* 0 is nobody's */
    const uint32_t high = (uint32_t)(key >> 32);
    const uint16_t low = (uint16_t)key;
    uint32_t found = 0;

    for (size_t i = 0; i < KF_SEEN; i++)
        found |= (seen->high[i] == high) & (seen->low[i] == low);
    if (found)
        return 1;
    seen->high[seen->next] = high;
    seen->low[seen->next] = low;
    seen->next = (seen->next + 1) % KF_SEEN;
    return 0;
}

uint32_t kf_admit(kf_link *link, kf_seen *seen, uint32_t kind, const kf_flat *message, int64_t arrived_ns)
{
    const uint32_t verdict = !kf_admits(link, arrived_ns)               ? KF_FLOODING
                             : kf_saw(&seen[link->seen], kind, message) ? KF_SEEN_BEFORE
                                                                        : KF_ADMITTED;

    link->refused += verdict != KF_ADMITTED;
    return verdict;
}
