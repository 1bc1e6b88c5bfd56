/*
 * Waiting for a condition, never for a time: WAIT_UNTIL(condition, deadline_ms) evaluates the
 * condition every 200 us, or at the pace of a condition that takes longer (it is to leave the
 * processor to what it waits for), and is true as soon as it is, false once the deadline has
 * passed.
 *
 *     cr_assert(WAIT_UNTIL(nc_journal_empty(journal), 5000));
 */
#ifndef LIB_WAIT_UNTIL_H
#define LIB_WAIT_UNTIL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t wait_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Twice as long as looking took, 200 us to 20 ms. */
static inline void wait_a_little(uint64_t looked_ns)
{
    uint64_t pause_ns = 2 * looked_ns < 200000     ? 200000
                        : 2 * looked_ns > 20000000 ? 20000000
                                                   : 2 * looked_ns;
    const struct timespec pause = {.tv_nsec = (long)pause_ns};

    ppoll(NULL, 0, &pause, NULL);
}

/* The condition has the last word: it is evaluated once more after the deadline. */
#define WAIT_UNTIL(condition, deadline_ms)                                                         \
    __extension__({                                                                                \
        uint64_t wait_now_ = wait_now_ns();                                                        \
        const uint64_t wait_end_ns_ = wait_now_ + (uint64_t)(deadline_ms)*1000000u;                \
        bool wait_late_ = false, wait_true_;                                                       \
        while (!(wait_true_ = (condition)) && !wait_late_) {                                       \
            wait_a_little(wait_now_ns() - wait_now_);                                              \
            wait_now_ = wait_now_ns();                                                             \
            wait_late_ = wait_now_ >= wait_end_ns_;                                                \
        }                                                                                          \
        wait_true_;                                                                                \
    })

#endif
