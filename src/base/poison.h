/*
 * base/poison: memory that nobody may touch for now, where AddressSanitizer looks; else nothing.
 */
#ifndef NC_BASE_POISON_H
#define NC_BASE_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define NC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NC_ASAN 1
#endif
#endif

#ifdef NC_ASAN
#include <sanitizer/asan_interface.h>
#define nc_hide(at, bytes) __asan_poison_memory_region(at, bytes)
#define nc_show(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define nc_hide(at, bytes) ((void)0)
#define nc_show(at, bytes) ((void)0)
#endif

#endif
