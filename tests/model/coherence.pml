/*
 * The coherence protocol of pub/sub mode as a model for spin: docs/coherence.md names the rules and
 * the place in the code that keeps each. `make model` runs it; tests/model/run_model.sh holds the
 * configurations: which faults and actions there are, how many of each, and which mutant must fail.
 *
 * One key; of the others only that their writes move the clock and make messages. Server: value, version clock S with floor and incarnation, change index W with its
 * eviction mark, a second server to promote. Client A reads, writes, loads and journals; client B
 * only writes. Requests are slots: a server takes a slot when it pleases, also after its client has
 * gone, so replies, messages and zombies arrive in any order. Time is T: each version is a new T, so
 * versions and times compare as those of the hybrid clock do. Deadlines are events: a write is
 * `late` once its not_after has passed, and a lease ends when the environment says so.
 *
 * What is asserted:
 *   bound      a FRESH hit is never older than the newest write acknowledged before the proof's
 *              heartbeat was sent, nor than an own acknowledged write
 *   quiet      nothing changes any more and the proof is from after that: the entry equals Redis
 *   zombie     no acknowledged write is overwritten by a write that was given up before it
 *   local      a LOCAL write never replaces a newer acknowledged one, and is refused only for one
 *   order      no own write replaces one that was asked for after it, and none is refused for one
 *              that was asked for before it
 *   taken      a LOCAL write is replayed or refused, not forgotten
 *   own        while a LOCAL write waits nothing older is a FRESH hit
 *   loaded     a value that a loader made never replaces a write newer than the read that missed
 *   epochs     a new epoch does not lead to the next one
 *   replayed   quiet and LIVE: the journal does not stay
 */

/* How many of each there are; 0 takes it out of the model. */
#ifndef READS
#define READS 2
#endif
#ifndef WRITES_A
#define WRITES_A 0
#endif
#ifndef WRITES_B
#define WRITES_B 2
#endif
#ifndef OTHERS
#define OTHERS 0
#endif
#ifndef CUTS
#define CUTS 0
#endif
#ifndef DROPS
#define DROPS 0
#endif
#ifndef FLUSHES
#define FLUSHES 0
#endif
#ifndef EVICT_W
#define EVICT_W 0
#endif
#ifndef EVICT_S
#define EVICT_S 0
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef PROMOTES
#define PROMOTES 0
#endif
#ifndef LEASES
#define LEASES 0
#endif
#ifndef LOADS
#define LOADS 0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif
#ifndef HASTY
#define HASTY 0 /* LOCAL writes whose deadline passes while an older one is under way */
#endif
#ifndef LOST
#define LOST 0 /* answers to that older one which are lost */
#endif
#ifndef PARTS
#define PARTS 0 /* answers of RESUME that hold only the first of the changes */
#endif

#if PARTS > 0
#define WHOLE (rs_top == 0)
#else
#define WHOLE true
#endif

/* Mutants: -DM_NAME breaks one rule. */

#define max(a, b) ((a) > (b) -> (a) : (b))

/* ---- the servers ---- */

typedef Server {
    byte val;      /* id of the write whose value is there; 0: none */
    bool has;      /* S exists */
    byte s, floor, inc;
    bool e;        /* W has its eviction mark */
    byte w;        /* version of the key in W; 0: not in W */
    byte server_run;
    bool readonly
};
Server srv[2];
byte primary = 0;
byte T = 1;

/* What a lost suffix goes back to. */
byte old_val, old_s, old_w;

/* ---- ghosts ---- */

byte acked = 0;       /* version of the newest acknowledged write that Redis still has */
byte own_acked = 0;   /* of A's own */
byte next_id = 1;
byte writes_open = 0; /* sent and not taken by a server */
byte faults = CUTS + DROPS + FLUSHES + EVICT_W + EVICT_S + RESTARTS + PROMOTES;
byte to_write_a = WRITES_A, to_write_b = WRITES_B, to_load = LOADS,
     to_write_other = OTHERS;
#define quiet                                                                                      \
    (to_write_a == 0 && to_write_b == 0 && to_write_other == 0 && to_load == 0 && writes_open == 0 && faults == 0 &&     \
     !j_has && !rp_sent && (HASTY == 0 || wr == 0))

/* ---- client A ---- */

mtype = {DOWN, SYNCING, RESUMING, LIVE};
mtype state = DOWN;
byte conn = 0;                /* the server it is connected to */
byte generation = 0, epoch = 0;
byte last = 0, c0 = 0, c1 = 0;
bool chain = false, known = false; /* known: has been LIVE on (run, incarnation) */
byte known_run, known_inc;
byte inv_s = 0, seen = 0;
bool proof = false, proof_quiet;
byte proof_bound;
bool ent_has = false;
byte ent_ver, ent_val;

/* Subscription: messages in order; heartbeats carry what was true when they were sent. */
mtype = {MSG, BEAT};
/* kind, s, prev or bound, of another key or sent after the answer of RESUME, quiet */
chan sub = [6] of {mtype, byte, byte, bool, bool};
bool subscribed = false;

/* Requests of A: 0 none, 1 sent, 2 answered. */
byte rd = 0, rd_s, rd_val, rd_generation, rd_epoch;
byte hb = 0, hb_bound;
bool hb_after, hb_quiet;
bool resumed = false; /* an answer of RESUME was applied on this subscription */
#if PARTS > 0
byte parts = PARTS, rs_top = 0; /* the newest version in a part; 0: the answer is whole */
#endif
byte rs = 0, rs_s, rs_floor, rs_inc, rs_run, rs_key, rs_last;
byte wr = 0, wr_id, wr_s, wr_epoch;
bool wr_late;
bool zombie = false, z_late, z_acked; /* a write that was given up, still under way */
byte z_id;
/* Journal: one item. */
bool j_has = false, j_late;
byte j_id, j_time, j_seen, j_known;
bool rd_void = false; /* what is being read is older than a LOCAL write */
#if WRITES_A > 0
bool own[12]; /* ids of A's writes; each is larger than those of what was asked for before */
#endif
#if HASTY > 0
/* An older write that may have been applied, up to a version; 0: none. */
byte j_doubt = 0, j_until = 0;
byte hasty_id = 0; /* not yet replayed or refused */
#define older_in_doubt (j_doubt != 0 && srv[conn].val == j_doubt && srv[conn].w <= j_until)
#define is_hasty (j_has && hasty_id != 0)
#else
#define older_in_doubt false
#define is_hasty false
#endif
bool rp_sent = false;
byte rp_stamp, rp_id, rp_answer = 0, rp_version;
bool replay_due = false; /* only for the mutant that replays on reconnect alone */
/* A load. */
byte ld = 0, ld_s;

/* ---- client B: a write at a time ---- */

byte bw = 0, bw_id, bw_s;

/* ---- what scripts do ---- */

inline ensure(i)
{
    if
    :: !srv[i].has ->
        T++;
        srv[i].has = true;
        srv[i].s = T;
        srv[i].inc = T;
        srv[i].floor = (srv[i].val == 0 -> 0 : T); /* an empty server holds nothing newer */
        srv[i].e = true
    :: else
    fi
}

inline test_e(i)
{
#ifndef M_NO_E_TEST
    if
    :: !srv[i].e -> srv[i].floor = srv[i].s; srv[i].e = true
    :: else
    fi
#else
    srv[i].e = true
#endif
}

inline publish(i, s_, prev_)
{
    if
    :: subscribed && conn == i -> sub!MSG, s_, prev_, false, false
    :: else
    fi
}

/* A new version of the key with the value of id; `out` is the version. */
inline apply(i, id_, out)
{
    ensure(i);
    test_e(i);
    old_val = srv[i].val; old_s = srv[i].s; old_w = srv[i].w;
    T++;
    publish(i, T, srv[i].s);
    srv[i].s = T;
    srv[i].val = id_;
    srv[i].w = T;
    out = T
}

/* ---- the environment takes requests to the servers ---- */

byte tmp;

active proctype Redis()
{
end:
    do
    /* READ */
    :: atomic { rd == 1 && rd_generation == generation && state != DOWN ->
        ensure(conn);
        rd_s = srv[conn].s; rd_val = srv[conn].val; rd = 2 }
    /* HEARTBEAT: a write that changes nothing. A replica refuses it. */
    :: atomic { hb == 1 && subscribed && nfull(sub) ->
#ifndef M_BEAT_WITHOUT_WRITE
        if
        :: srv[conn].readonly -> hb = 2
        :: else ->
            ensure(conn);
            sub!BEAT, srv[conn].s, hb_bound, hb_after, hb_quiet; hb = 0
        fi
#else
        ensure(conn);
        sub!BEAT, srv[conn].s, hb_bound, hb_after, hb_quiet; hb = 0
#endif
        }
    /* RESUME */
    :: atomic { rs == 1 && subscribed ->
        ensure(conn); test_e(conn);
        rs_s = srv[conn].s; rs_floor = srv[conn].floor; rs_inc = srv[conn].inc;
        rs_run = srv[conn].server_run;
        rs_key = (srv[conn].w > rs_last -> srv[conn].w : 0);
#if PARTS > 0
        /* A part: changes up to some version, of which only some with that version itself. */
        rs_top = 0;
        if
        :: parts > 0 && rs_last > 0 && rs_s >= rs_last + 2 ->
            parts--;
            rs_top = rs_last + 2;
            do
            :: rs_top < rs_s -> rs_top++
            :: break
            od;
            if
            :: rs_key > rs_top || rs_key == rs_top -> rs_key = 0
            :: rs_key <= rs_top -> skip
            fi
        :: true
        fi;
#endif
        rs = 2 }
    /* WRITE of B, always at the primary */
    :: atomic { bw == 1 && nfull(sub) ->
        apply(primary, bw_id, bw_s); writes_open--; bw = 2 }
#if OTHERS > 0
    /* a write of another key, by anybody */
    :: atomic { to_write_other > 0 && nfull(sub) ->
        to_write_other--;
        ensure(primary); test_e(primary);
        T++;
        if
        :: subscribed && conn == primary -> sub!MSG, T, srv[primary].s, true, false
        :: else
        fi;
        srv[primary].s = T }
#endif
#if WRITES_A > 0
    /* WRITE of A */
    :: atomic { wr == 1 && nfull(sub) && !srv[conn].readonly ->
#ifndef M_NO_NOT_AFTER
        if
        :: wr_late -> wr_s = 0
        :: else ->
            assert(!(own[srv[conn].val] && srv[conn].val > wr_id)); /* order */
            apply(conn, wr_id, wr_s)
        fi;
#else
        apply(conn, wr_id, wr_s);
#endif
        writes_open--; wr = 2 }
    /* ... and one that was given up */
    :: atomic { zombie && nfull(sub) ->
        if
#ifndef M_NO_NOT_AFTER
        :: z_late -> skip
#endif
        :: srv[conn].readonly -> skip
        :: else ->
            assert(!z_acked); /* zombie */
            apply(conn, z_id, tmp)
        fi;
        zombie = false; writes_open-- }
    /* REPLAY */
    :: atomic { rp_sent && rp_answer == 0 && nfull(sub) && state != DOWN && !srv[conn].readonly ->
        ensure(conn); test_e(conn);
        if
        :: srv[conn].w > rp_stamp && !older_in_doubt ->
            assert(srv[conn].w > j_known); /* local: refused only for a newer one */
            assert(!(own[srv[conn].val] && srv[conn].val < rp_id)); /* order */
            rp_version = srv[conn].w; rp_answer = 2
        :: srv[conn].w == 0 && rp_stamp < srv[conn].floor ->
            rp_version = srv[conn].floor; rp_answer = 2
        :: else ->
            assert(!(acked > j_time && srv[conn].w == acked &&
                     !(own[srv[conn].val] && srv[conn].val < rp_id))); /* local: replaces nothing newer */
            assert(!(own[srv[conn].val] && srv[conn].val > rp_id)); /* order */
            apply(conn, rp_id, rp_version); rp_answer = 1
        fi }
#endif
#if LOADS > 0
    /* What a loader made: REPLAY with the version of the read that missed. */
    :: atomic { ld == 2 && nfull(sub) && state != DOWN && !srv[conn].readonly ->
        ensure(conn); test_e(conn);
        if
#ifndef M_LOADED_BY_WRITE
        :: srv[conn].w > ld_s || (srv[conn].w == 0 && ld_s < srv[conn].floor) -> skip
#endif
        :: else ->
            assert(!(acked > ld_s && srv[conn].w == acked)); /* loaded */
            apply(conn, next_id, tmp); next_id++
        fi;
        writes_open--; ld = 3 }
#endif
    od
}

/* ---- the rules ---- */

inline observe(s_)
{
    inv_s = max(inv_s, s_);
    seen = max(seen, s_);
    if
    :: ent_has && ent_ver < s_ -> ent_has = false
    :: else
    fi
}

inline new_epoch()
{
    epoch++;
    assert(epoch < 6); /* epochs: each has a cause, none follows from the one before */
    ent_has = false; /* of an older epoch: never FRESH, never compared */
    inv_s = 0
}

inline disconnect()
{
    state = DOWN; proof = false; subscribed = false; chain = false; resumed = false;
    generation++;
    hb = 0; rs = 0;
    if
    :: rd == 1 -> rd = 0
    :: else
    fi;
    do
    :: sub?_, _, _, _, _
    :: empty(sub) -> break
    od
}

inline gap()
{
    proof = false; resumed = false;
    if
    :: state == LIVE -> state = RESUMING
    :: else
    fi;
    if
    :: rs == 0 -> rs_last = last; rs = 1
    :: else
    fi
}

/* A's subscriber thread: link, messages, proof. */
active proctype Subscriber()
{
    byte s, p;
    bool after, q;
end:
    do
    /* R8, R9: connect to the primary of now, subscribe, open the chain by an own heartbeat */
    :: atomic { state == DOWN && generation < 6 ->
        conn = primary; subscribed = true; state = SYNCING;
        resumed = false; rs = 0; rs_last = last }
    /* own heartbeats, one under way at a time */
    :: atomic { state != DOWN && hb == 0 && !chain && !(sub ? [BEAT]) ->
        hb_bound = max(acked, 0); hb_after = false; hb_quiet = false; hb = 1 }
    :: atomic { chain && resumed && hb == 0 && !proof && len(sub) < 5 ->
        hb_bound = acked; hb_after = true; hb_quiet = quiet; hb = 1 }
#if LEASES == 0
    /* the next proof, while the last one counts */
    :: atomic { proof && hb == 0 && len(sub) == 0 && (hb_bound != acked || hb_quiet != quiet) ->
        hb_bound = acked; hb_after = true; hb_quiet = quiet; hb = 1 }
#endif
    /* a heartbeat that was refused: not the primary any more */
    :: atomic { hb == 2 -> disconnect() }
    /* R6 */
    :: atomic { sub ? [MSG] ->
        sub?MSG, s, p, after, _;
        if
        :: !after -> observe(s)
        :: else -> seen = max(seen, s)
        fi;
        after = false;
        if
        :: chain && p == c1 -> c1 = s
        :: else -> c0 = p; c1 = s; chain = true
        fi;
        if
        :: p == last -> last = s
        :: p != last && s <= last -> skip
        :: else -> gap()
        fi }
    /* R1; the drops above are stored before the proof */
    :: atomic { sub ? [BEAT] ->
        sub?BEAT, s, p, after, q;
        seen = max(seen, s);
        if
        :: !chain ->
            c0 = s; c1 = s; chain = true;
#ifdef M_LAST_BY_FIRST_BEAT
            last = s; resumed = true; known = true; known_run = srv[conn].server_run;
            known_inc = srv[conn].inc; state = RESUMING
#else
            if
            :: rs == 0 -> rs_last = last; rs = 1
            :: else
            fi
#endif
        :: else
        fi;
        if
        :: s > last && resumed -> gap()
        :: s > last && !resumed -> skip
        :: s == last && after && resumed -> proof_bound = p; proof_quiet = q; proof = true; state = LIVE
        :: else
        fi }
    /* R8: the answer of RESUME */
    :: atomic { rs == 2 ->
        rs = 0;
        if
        :: !chain -> skip
#if PARTS > 0
        /* Another one is asked for from there on: keys of one call share a version, so those with
         * the newest may stand in the next part. */
        :: chain && rs_top != 0 ->
            if
            :: !known || rs_run != known_run || rs_inc != known_inc || last < rs_floor ||
               rs_s < last || rs_top <= last + 1 ->
                new_epoch(); last = rs_s
            :: else ->
                if
                :: rs_key != 0 -> observe(rs_key)
                :: else
                fi;
#ifndef M_PART_TO_TOP
                last = rs_top - 1
#else
                last = rs_top
#endif
            fi;
            known = true; known_run = rs_run; known_inc = rs_inc;
            rs_top = 0; rs_last = last; rs = 1
#endif
#ifndef M_RESUME_BELOW_C0
        :: chain && rs_s < c0 && WHOLE -> rs_last = last; rs = 1
#endif
        :: else ->
            if
            :: (!known
#ifndef M_NO_RUN_TEST
                || rs_run != known_run
#endif
#ifndef M_NO_INCARNATION
                || rs_inc != known_inc
#endif
#ifndef M_NO_FLOOR_TEST
                || last < rs_floor
#endif
                || rs_s < last) ->
#ifndef M_NO_EPOCH
                new_epoch();
#endif
#ifndef M_FORGET_TO_C1
                last = max(rs_s, c1)
#else
                last = c1
#endif
            :: else ->
#ifndef M_RESUME_NOT_OBSERVED
                if
                :: rs_key != 0 -> observe(rs_key)
                :: else
                fi;
#endif
                last = max(rs_s, c1)
            fi;
            known = true; known_run = rs_run; known_inc = rs_inc;
            resumed = true;
#ifdef M_REPLAY_ON_RECONNECT
            replay_due = j_has && j_late;
#endif
            if
            :: state == SYNCING -> state = RESUMING
            :: else
            fi
        fi }
    od
}

/* A's callers: gets. R2 and R3. */
active proctype Reader()
{
    byte left = READS;
    bool hit_proof, hit_quiet, hit_has, hit_waits;
    byte hit_bound, hit_ver, hit_val, hit_epoch, hit_own;
end:
    do
    /* a fill: ticket first */
    :: atomic { rd == 0 && left > 0 && state != DOWN && !j_has ->
        left--; rd_void = false; rd_generation = generation; rd_epoch = epoch; rd = 1 }
    :: atomic { rd == 2 ->
        rd = 0;
        if
#ifndef M_NO_TICKET
        :: rd_generation == generation && rd_epoch == epoch && inv_s <= rd_s &&
#else
        :: true &&
#endif
           !rd_void && !(ent_has && ent_ver > rd_s) ->
            ent_has = true; ent_ver = rd_s; ent_val = rd_val
        :: else
        fi }
#if LOADS > 0
    :: atomic { rd == 2 && rd_val == 0 && to_load > 0 && ld == 0 ->
        ld_s = rd_s; rd = 0; ld = 2; to_load--; writes_open++ }
    :: atomic { ld == 3 -> ld = 0 }
#endif
    /* a hit: proof and epoch before the bucket */
    :: proof && ent_has ->
#ifndef M_ENTRY_BEFORE_PROOF
        atomic { hit_proof = proof; hit_bound = proof_bound; hit_quiet = proof_quiet && quiet;
            hit_epoch = epoch; hit_own = own_acked; hit_waits = j_has }
        atomic { hit_has = ent_has; hit_ver = ent_ver; hit_val = ent_val }
#else
        atomic { hit_has = ent_has; hit_ver = ent_ver; hit_val = ent_val; hit_epoch = epoch }
        atomic { hit_proof = proof; hit_bound = proof_bound; hit_quiet = proof_quiet && quiet;
            hit_own = 0 }
#endif
        atomic {
            if
            :: hit_proof && hit_has && hit_epoch == epoch ->
                assert(hit_ver >= hit_bound);                       /* bound */
                assert(hit_ver >= hit_own);                         /* bound: own writes */
                assert(!hit_waits);                                 /* own */
                assert(!hit_quiet || hit_val == srv[primary].val)   /* quiet */
            :: else
            fi;
            hit_proof = false; hit_bound = 0; hit_quiet = false; hit_has = false; hit_ver = 0;
            hit_val = 0; hit_epoch = 0; hit_own = 0; hit_waits = false }
    od
}

/* B: acknowledged writes of another process. */
active proctype WriterB()
{
end:
    do
    :: atomic { bw == 0 && to_write_b > 0 ->
        bw_id = next_id; next_id++; writes_open++; bw = 1; to_write_b-- }
    :: atomic { bw == 2 ->
        if
        :: srv[primary].has && bw_s <= srv[primary].s && srv[primary].w >= bw_s ->
            acked = max(acked, bw_s);
            if
            :: zombie -> z_acked = true
            :: else
            fi
        :: else /* Redis lost it */
        fi;
        bw = 0 }
    od
}

#if WRITES_A > 0
/* A write goes to the journal: nothing older is kept here from now on. */
inline take_new(id_)
{
    j_has = true; j_id = id_; j_late = true; j_seen = seen; j_known = own_acked;
    T++; j_time = T;
    ent_has = false;
#ifndef M_NO_SUPERSEDE
    rd_void = true;
#endif
    skip
}

/* A's writes: R4, R11, R12. */
active proctype WriterA()
{
    byte timeouts = TIMEOUTS;
#if HASTY > 0
    byte hasty = HASTY, lost = LOST, wr_until = 0;
#endif
end:
    do
    :: atomic { wr == 0 && to_write_a > 0 && state != DOWN && !j_has && !zombie ->
        to_write_a--;
        ent_has = false;
        wr_id = next_id; own[wr_id] = true; next_id++; wr_epoch = epoch; wr_late = false;
        writes_open++; wr = 1 }
    /* not_after passes */
    :: atomic { wr == 1 && !wr_late && timeouts > 0 -> timeouts--;
#if HASTY > 0
        wr_until = T;
#endif
        wr_late = true }
#if HASTY > 0
    /* one that was asked for later waits for it, and no longer */
    :: atomic { hasty > 0 && (wr == 1 || wr == 2) && !j_has ->
        hasty--;
        hasty_id = next_id; own[next_id] = true; take_new(next_id); next_id++ }
    /* the older one's answer is lost, and its not_after passes */
    :: atomic { wr == 2 && wr_s != 0 && is_hasty && lost > 0 ->
        lost--; wr = 0;
#ifndef M_NO_DOUBT
        j_doubt = wr_id; j_until = T;
#endif
        skip }
#endif
    :: atomic { wr == 1 &&
#ifndef M_GIVE_UP_EARLY
        wr_late ->
#else
        timeouts > 0 -> timeouts = 0;
#endif
        /* given up: LOCAL, into the journal, where a newer one stands for both */
        zombie = true; z_id = wr_id; z_late = wr_late; z_acked = false; wr = 0;
#if HASTY > 0
        if
        :: is_hasty -> j_doubt = wr_id; j_until = wr_until
        :: else -> own[next_id] = true; take_new(next_id); next_id++
        fi
#else
        own[next_id] = true; take_new(next_id); next_id++
#endif
        }
    :: atomic { wr == 2 && wr_s == 0 -> /* LATE: nothing was applied */
        wr = 0;
        if
        :: is_hasty -> skip
        :: else -> take_new(wr_id)
        fi }
    :: atomic { wr == 2 && wr_s != 0 ->
        wr = 0;
        if
        :: srv[primary].w >= wr_s -> acked = max(acked, wr_s); own_acked = max(own_acked, wr_s)
        :: else
        fi;
#ifndef M_NO_OBSERVE_ON_ACK
        observe(wr_s);
#endif
        if
        :: is_hasty ->
#ifdef M_FORGET_NEWER
            j_has = false
#else
#ifndef M_NO_FOLLOW
            j_seen = max(j_seen, wr_s)
#else
            skip
#endif
#endif
        :: !is_hasty && wr_epoch == epoch && inv_s <= wr_s && !(ent_has && ent_ver > wr_s) ->
            ent_has = true; ent_ver = wr_s; ent_val = wr_id
        :: else
        fi }
    /* a write while the link is down is LOCAL at once */
    :: atomic { wr == 0 && to_write_a > 0 && state == DOWN && !j_has ->
        to_write_a--;
        own[next_id] = true; take_new(next_id); next_id++ }
#if HASTY > 0
    /* taken: what waits is there until its end is known */
    :: atomic { hasty_id != 0 && !j_has && !rp_sent -> assert(false) }
#endif
    /* R12: whenever LIVE; the clock's offset may be too low by what a round trip hides */
#ifdef M_REPLAY_ON_RECONNECT
#define may_replay replay_due
#else
#define may_replay true
#endif
    :: atomic { j_has && j_late && !rp_sent && wr == 0 && state == LIVE && may_replay ->
        rp_id = j_id; rp_sent = true; rp_answer = 0;
#ifndef M_STAMP_WITHOUT_SEEN
        if
        :: rp_stamp = max(j_time, j_seen)
        :: rp_stamp = max(j_time - 2, j_seen)
        fi
#else
        if
        :: rp_stamp = j_time
        :: rp_stamp = j_time - 2
        fi
#endif
        }
    :: atomic { rp_answer != 0 ->
        observe(rp_version);
        if
        :: rp_answer == 1 -> acked = max(acked, rp_version); own_acked = max(own_acked, rp_version)
        :: else
        fi;
#if HASTY > 0
        j_doubt = 0; j_until = 0;
        if
        :: rp_id == hasty_id -> hasty_id = 0
        :: else
        fi;
#endif
        rp_answer = 0; rp_sent = false; j_has = false; replay_due = false }
    /* a link that went while the replay was under way: it is asked again */
    :: atomic { rp_sent && rp_answer == 0 && state == DOWN -> rp_sent = false }
#ifdef M_REPLAY_ON_RECONNECT
    :: atomic { j_has && state == LIVE && !replay_due && to_write_a == 0 && to_write_b == 0 &&
        writes_open == 0 && faults == 0 -> assert(false) } /* replayed */
#endif
    od
}
#endif

/* What goes wrong. */
active proctype Environment()
{
    byte cuts = CUTS, drops = DROPS, flushes = FLUSHES, evict_w = EVICT_W, evict_s = EVICT_S,
         restarts = RESTARTS, promotes = PROMOTES, leases = LEASES;
end:
    do
    :: atomic { cuts > 0 && state != DOWN -> cuts--; faults--; disconnect() }
    :: atomic { cuts > 0 -> cuts--; faults-- }
    :: atomic { drops > 0 && nempty(sub) -> drops--; faults--; sub?_, _, _, _, _ }
    :: atomic { drops > 0 -> drops--; faults-- }
    :: atomic { flushes > 0 ->
        flushes--; faults--;
        srv[primary].has = false; srv[primary].val = 0; srv[primary].w = 0; srv[primary].e = false;
        srv[primary].s = 0; srv[primary].floor = 0; srv[primary].inc = 0;
        acked = 0; own_acked = 0 }
    :: atomic { evict_w > 0 -> evict_w--; faults--; srv[primary].e = false; srv[primary].w = 0 }
    :: atomic { evict_s > 0 ->
        evict_s--; faults--; srv[primary].has = false; srv[primary].s = 0 }
    /* kill -9 and a restart that lost the newest write */
    :: atomic { restarts > 0 && srv[primary].has ->
        restarts--; faults--;
        if
        :: srv[primary].w != old_w && old_s != 0 ->
            srv[primary].val = old_val; srv[primary].s = old_s; srv[primary].w = old_w;
            acked = old_w; own_acked = 0
        :: true
        fi;
        T++; srv[primary].server_run++;
        if
        :: state != DOWN && conn == primary -> disconnect()
        :: else
        fi }
    /* a replica becomes the primary; the old one stays as a replica, its subscribers with it */
    :: atomic { promotes > 0 && primary == 0 && srv[0].has ->
        promotes--; faults--;
        srv[1].val = srv[0].val; srv[1].has = srv[0].has; srv[1].s = srv[0].s;
        srv[1].floor = srv[0].floor; srv[1].inc = srv[0].inc; srv[1].e = srv[0].e;
        srv[1].w = srv[0].w; srv[1].server_run = 7;
        srv[0].readonly = true; primary = 1 }
    :: atomic { promotes > 0 -> promotes--; faults-- }
    :: atomic { leases > 0 && proof -> leases--; proof = false }
    od
}

#ifdef LIVENESS
ltl heals { [] ((faults == 0) -> <> (state == LIVE)) }
#endif
