#include "lib/keys.h"

#include <math.h>
#include <stdlib.h>

#include "lib/output.h"

static void *need(size_t bytes)
{
    void *memory = malloc(bytes);

    if (!memory)
        bench_die("out of memory for %zu bytes of keys", bytes);
    return memory;
}

static void shuffle(uint32_t *ids, uint32_t count, uint64_t seed)
{
    uint64_t random = seed;

    for (uint32_t i = 0; i < count; i++)
        ids[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)(bench_random(&random) % i), kept = ids[i - 1];

        ids[i - 1] = ids[other];
        ids[other] = kept;
    }
}

/* Vose: pair each rank that is too rare with one that is too common. */
static void build_alias(struct bench_zipf *zipf, double *weights)
{
    uint32_t *small = need(sizeof *small * zipf->count), *large = need(sizeof *large * zipf->count);
    uint32_t smalls = 0, larges = 0;

    for (uint32_t i = 0; i < zipf->count; i++) {
        if (weights[i] < 1.0)
            small[smalls++] = i;
        else
            large[larges++] = i;
    }
    while (smalls && larges) {
        uint32_t rare = small[--smalls], common = large[larges - 1];

        zipf->keep[rare] = weights[rare];
        zipf->alias[rare] = common;
        weights[common] -= 1.0 - weights[rare];
        if (weights[common] < 1.0)
            small[smalls++] = large[--larges];
    }
    while (larges)
        zipf->keep[large[--larges]] = 1.0;
    while (smalls)
        zipf->keep[small[--smalls]] = 1.0;
    free(small);
    free(large);
}

void bench_zipf_init(struct bench_zipf *zipf, uint32_t count, double exponent)
{
    double *weights = need(sizeof *weights * count), sum = 0.0;

    zipf->count = count;
    zipf->keep = need(sizeof *zipf->keep * count);
    zipf->alias = need(sizeof *zipf->alias * count);
    zipf->ids = need(sizeof *zipf->ids * count);
    memset(zipf->alias, 0, sizeof *zipf->alias * count);
    shuffle(zipf->ids, count, 0x5DEECE66Dull + count);
    for (uint32_t i = 0; i < count; i++)
        sum += weights[i] = pow((double)i + 1.0, -exponent);
    for (uint32_t i = 0; i < count; i++)
        weights[i] *= (double)count / sum;
    build_alias(zipf, weights);
    free(weights);
}

void bench_zipf_deinit(struct bench_zipf *zipf)
{
    free(zipf->keep);
    free(zipf->alias);
    free(zipf->ids);
}

uint32_t bench_zipf_draw(const struct bench_zipf *zipf, uint64_t *random)
{
    uint32_t rank = (uint32_t)(((bench_random(random) >> 32) * zipf->count) >> 32);
    double coin = (double)(bench_random(random) >> 11) * 0x1.0p-53;

    return zipf->ids[coin < zipf->keep[rank] ? rank : zipf->alias[rank]];
}

void bench_sequence_init(struct bench_sequence *sequence, const struct bench_zipf *zipf,
                         uint32_t count, unsigned length_log2, uint64_t seed)
{
    uint64_t random = seed * 0x9E3779B97F4A7C15ull + 1u;

    sequence->mask = ((uint64_t)1 << length_log2) - 1u;
    sequence->ids = need(sizeof *sequence->ids << length_log2);
    for (uint64_t i = 0; i <= sequence->mask; i++) {
        sequence->ids[i] = zipf ? bench_zipf_draw(zipf, &random)
                                : (uint32_t)(((bench_random(&random) >> 32) * count) >> 32);
    }
}

void bench_sequence_deinit(struct bench_sequence *sequence)
{
    free(sequence->ids);
    sequence->ids = NULL;
}
