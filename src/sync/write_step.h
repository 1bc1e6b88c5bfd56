/*
 * sync/write_step: what a write does in this process before its request leaves and after it was
 * answered, or was not (R4, R5, R11), whoever sends the request: sync/write, or sync/write_loop for
 * an event loop.
 *
 *     prepare     ticket, then the local copy goes
 *     applied     or not_applied: cache and journal learn of it, the outcome is set
 *     finish      the next write of the key may begin
 *
 * The key's flight among sync->writes is taken before and held in between. Thread-safe, but for
 * the calls of one item.
 */
#ifndef NC_SYNC_WRITE_STEP_H
#define NC_SYNC_WRITE_STEP_H

#include "sync/write_item.h"

/* What the steps of a write have in common. */
struct nc_write_terms {
    struct nc_sync *sync;
    struct nc_cache_thread *self;
    enum nc_script script;
    uint64_t deadline_ns;
};

/* Values up to the tier's largest are kept here. */
bool nc_write_fits_locally(const struct nc_write_item *item);
bool nc_write_leaves_a_copy(const struct nc_write_item *item);
/* What the cache will hold once it is known that the write counts. NULL: out of memory. */
struct nc_entry *nc_write_make_copy(struct nc_cache_thread *self, const struct nc_write_item *item);
/* Puts what was written into the cache; not being able to only costs a later read. Takes `made`, or
 * makes it. 0, NEARCACHE_ENOMEM, or NEARCACHE_ETOOBIG: it is not kept. */
int nc_write_keep(struct nc_cache_thread *self, const struct nc_write_item *item,
                  const struct nc_ticket *ticket, struct nc_entry *made, uint64_t now_ns);

/* From here on this process has no old value. */
void nc_write_prepare(struct nc_cache_thread *self, struct nc_write_item *item);
/* Redis applied it at this version: what is known here moves on (R4). Takes `made` (may be NULL).
 * `moved`: see nc_answer. */
void nc_write_applied(const struct nc_write_terms *terms, struct nc_write_item *item,
                      struct nc_entry *made, uint64_t version, bool moved);
/* Nothing was done, or nobody knows: journal, refuse or report. */
void nc_write_not_applied(const struct nc_write_terms *terms, struct nc_write_item *item,
                          int outcome, const struct nc_answer *answer);
/* A write that Redis did not take: kept or refused, by policy. `not_before_ns`: until then it may
 * still be applied; 0: it will not be. */
int nc_write_keep_for_later(const struct nc_write_terms *terms, struct nc_write_item *item,
                            uint64_t not_before_ns);
/* A write that the journal has: no older value is read here any more, nor kept by who asked for one
 * before. On_removal may call back, so not under locks (and see cache/removals). */
void nc_write_leave_no_copy(struct nc_cache_thread *self, const struct nc_write_item *item);
void nc_write_finish(struct nc_write_item *item);

#endif
