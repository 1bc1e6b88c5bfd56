#include "lib/alloc_fail.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Sequential throughout: nothing here is fast. */
static _Atomic bool armed;
static _Atomic bool on, of_all; /* the mode */
static _Atomic bool failed;
static _Atomic unsigned long count, fails_at;
static _Thread_local bool mine; /* this thread called alloc_fail_at */

void alloc_fail_at(unsigned long n, enum alloc_fail_mode mode)
{
    armed = false;
    on = mode == ALLOC_FAIL_ON || mode == ALLOC_FAIL_ON_OF_ALL;
    of_all = mode == ALLOC_FAIL_ONCE_OF_ALL || mode == ALLOC_FAIL_ON_OF_ALL;
    count = 0;
    fails_at = n;
    failed = false;
    mine = true;
    armed = true;
}

bool alloc_fail_end(void)
{
    armed = false;
    mine = false;
    return failed;
}

unsigned long alloc_fail_count(void) { return count; }

static bool fails(void)
{
    unsigned long number;

    if (!armed || (!of_all && !mine))
        return false;
    number = atomic_fetch_add(&count, 1);
    if (number < fails_at || (!on && number > fails_at))
        return false;
    failed = true;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count_, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **block, size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);

void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes) { return fails() ? NULL : __real_malloc(bytes); }

void *__wrap_calloc(size_t elements, size_t bytes);
void *__wrap_calloc(size_t elements, size_t bytes)
{
    return fails() ? NULL : __real_calloc(elements, bytes);
}

void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes)
{
    return fails() ? NULL : __real_realloc(block, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **block, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block, size_t alignment, size_t bytes)
{
    return fails() ? ENOMEM : __real_posix_memalign(block, alignment, bytes);
}

char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }

char *__wrap_strndup(const char *text, size_t bytes);
char *__wrap_strndup(const char *text, size_t bytes)
{
    return fails() ? NULL : __real_strndup(text, bytes);
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    return fails() ? MAP_FAILED : __real_mmap(address, bytes, protection, flags, file, offset);
}

/* The same function under the name that large file support gives it. */
void *__wrap_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    return __wrap_mmap(address, bytes, protection, flags, file, offset);
}
