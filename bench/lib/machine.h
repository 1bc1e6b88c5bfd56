/* What machine this is and what else it does: for the report, never for a verdict. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdint.h>
#include <stdio.h>

/* One reading of the machine's load. */
struct bench_machine_load {
    double average; /* over one minute */
    uint64_t steal_ticks;
    uint64_t all_ticks;
};

void bench_machine_load(struct bench_machine_load *load);
/* Share of all processor time that the hypervisor gave to others between two readings. */
double bench_machine_steal(const struct bench_machine_load *begin,
                           const struct bench_machine_load *end);

/* Bytes of this process in memory, and how many of them stand on huge pages. */
struct bench_memory {
    uint64_t resident_bytes;
    uint64_t huge_bytes;
};
struct bench_memory bench_memory_now(void);

/* "name: value" lines: processor, cores, caches, kernel, huge pages, governor, clock, versions. */
void bench_machine_print(FILE *file);

#endif
