/*
 * queue/zone: the offset from UTC of a time zone at a moment, read from the system's TZif files
 * (RFC 9636) with the rule in their footer for the years behind the table. Never touches TZ,
 * tzset or any other state of the process; two zones can be in use at a time. UTC needs no file.
 */
#ifndef NC_QUEUE_ZONE_H
#define NC_QUEUE_ZONE_H

#include <stddef.h>
#include <stdint.h>

/* Immutable after creation: thread-safe. */
struct nc_zone;

/*
 * The zone of that IANA name; NULL or "" is this machine's own: $TZ where it is set (a name, a
 * path, or a rule of POSIX with the times of its changes), else /etc/localtime, else UTC. Returns
 * 0, NEARCACHE_EINVAL (no such zone, or a broken file), ENOMEM.
 */
int nc_zone_create(struct nc_zone **zone, const char *name);
/* From the bytes of a TZif file. */
int nc_zone_parse(struct nc_zone **zone, const void *data, size_t bytes);
void nc_zone_destroy(struct nc_zone *zone);

/* Seconds east of UTC. */
int32_t nc_zone_offset(const struct nc_zone *zone, int64_t utc_s);

#endif
