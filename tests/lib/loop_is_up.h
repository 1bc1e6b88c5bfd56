/* Whether the connection that an event loop reads is of use; Redis counts it before. */
#ifndef LIB_LOOP_IS_UP_H
#define LIB_LOOP_IS_UP_H

#include <nearcache.h>
#include <stdbool.h>

bool loop_is_up(const struct nearcache *cache);

#endif
