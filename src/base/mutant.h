/*
 * base/mutant: rules of the coherence protocol that can be switched off, to show that the fault
 * harness notices. Only a library that was configured with --enable-mutants has the switches
 * (NEARCACHE_MUTANT in the environment names one); everywhere else NC_MUTANT() is constant false.
 */
#ifndef NC_BASE_MUTANT_H
#define NC_BASE_MUTANT_H

#ifdef NC_MUTANTS

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool nc_mutant_is(const char *name)
{
    const char *wanted = getenv("NEARCACHE_MUTANT");
    return wanted && strcmp(wanted, name) == 0;
}

#define NC_MUTANT(name) nc_mutant_is(#name)

#else

#define NC_MUTANT(name) 0

#endif

#endif
