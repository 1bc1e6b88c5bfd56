#include "cli/latency.h"

#include "cli/cli.h"

#include <math.h>

void cli_latency_merge(struct cli_latency *into, const struct cli_latency *from)
{
    for (unsigned i = 0; i < CLI_LATENCY_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->count += from->count;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

/* The largest time that falls into the bucket. */
static uint64_t upper_ns(unsigned bucket)
{
    unsigned shift = bucket >> CLI_LATENCY_SUB_BITS;
    uint64_t low = bucket & ((1u << CLI_LATENCY_SUB_BITS) - 1);

    if (shift == 0)
        return low;
    shift--;
    return (((low | (1u << CLI_LATENCY_SUB_BITS)) + 1) << shift) - 1;
}

uint64_t cli_latency_quantile_ns(const struct cli_latency *latency, double share)
{
    uint64_t wanted = (uint64_t)ceil((double)latency->count * share);
    uint64_t seen = 0;

    for (unsigned i = 0; i < CLI_LATENCY_BUCKETS; i++) {
        seen += latency->counts[i];
        if (latency->counts[i] && seen >= wanted) {
            uint64_t ns = upper_ns(i);

            return ns < latency->max_ns ? ns : latency->max_ns;
        }
    }
    return latency->max_ns;
}

uint64_t cli_latency_timer_ns(void)
{
    struct cli_latency latency = {.count = 0};

    for (int i = 0; i < 2000; i++) {
        uint64_t begin_ns = cli_now_ns();

        cli_latency_add(&latency, cli_now_ns() - begin_ns);
    }
    return cli_latency_quantile_ns(&latency, 0.5);
}
