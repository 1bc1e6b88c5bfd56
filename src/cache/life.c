#include "cache/life.h"

#include <sys/mman.h>
#include <unistd.h>

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

int nc_life_init(struct nc_life *life)
{
    void *page =
        mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NEARCACHE_ENOMEM;
    if (madvise(page, page_bytes(), MADV_WIPEONFORK) != 0) {
        munmap(page, page_bytes());
        return NEARCACHE_EIO;
    }
    life->word = page;
    atomic_store(life->word, NC_LIFE_ALIVE);
    return 0;
}

void nc_life_deinit(struct nc_life *life)
{
    if (life->word)
        munmap((void *)life->word, page_bytes());
    life->word = NULL;
}
