/*
 * nearcache: an in-process cache in front of Redis, for C services that answer in microseconds.
 *
 *     struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
 *     struct nearcache_config config = NEARCACHE_CONFIG_INIT;
 *     struct nearcache *cache;
 *     struct nearcache_tier *products;
 *     struct nearcache_result hit;
 *
 *     redis.url = "redis://127.0.0.1:6379/0";
 *     config.redis = &redis;                                   (NULL: local-only)
 *     if (nearcache_open(&cache, &config)) return 1;           (never waits for Redis)
 *     nearcache_tier_open_preset(cache, NEARCACHE_PRODUCTS, &products);
 *     nearcache_set(products, "42", 2, "{\"title\":\"shoe\"}", 16, NULL);
 *     if (nearcache_get(products, "42", 2, NULL, &hit) == 0) {
 *         fwrite(hit.data, 1, hit.bytes, stdout);              (zero copy, valid until the release)
 *         nearcache_release(&hit);
 *     }
 *     nearcache_close(cache, 0);
 *
 * Worth knowing before the first call:
 *  - A result that was returned with 0 pins memory: release it exactly once. Values are immutable.
 *  - Every call is thread-safe unless it says otherwise. Nothing here installs signal handlers,
 *    prints, or keeps state outside of the handle.
 *  - No call outlives its deadline (100 ms unless configured). Redis being down is a mode and not
 *    an error: reads follow the tier's off-link policy, writes are journaled or refused by policy.
 *  - After fork() the child's copy answers every call with NEARCACHE_EFORK: open one of its own.
 *    The child holds copies of the parent's descriptors until it ends or executes a program.
 *  - A timeout of 0 is the configured deadline, wherever one is given.
 *  - Options are structs whose first field is their size; start from the matching ..._INIT. Zero
 *    means the default, NEARCACHE_NONE means none or off, a NULL pointer means all defaults.
 *    A larger struct from a newer header is accepted as long as its unknown tail is zero.
 *
 * This header is C99 and C++ clean. The companions: nearcache/async.h (event loops),
 * nearcache/metrics.h (snapshots, Prometheus text), nearcache/queue.h (BullMQ-compatible queues).
 */
#ifndef NEARCACHE_H
#define NEARCACHE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NEARCACHE_VERSION_MAJOR 0
#define NEARCACHE_VERSION_MINOR 1
#define NEARCACHE_VERSION_PATCH 0
#define NEARCACHE_VERSION "0.1.0"

/* None, off, unlimited or never, wherever a field or argument says that it may be. */
#define NEARCACHE_NONE UINT64_MAX

/* The cache and a named group of keys in it. Opaque; see nearcache_open, nearcache_tier_open. */
struct nearcache;
struct nearcache_tier;

/* ---- outcomes ------------------------------------------------------------------------------ */

/*
 * Every function that can fail returns an int: 0 for success, a positive number for a normal other
 * outcome, a negative NEARCACHE_E... for a failure. Outputs are written on success and on the
 * positive outcomes only, unless a function says otherwise.
 */
enum {
    NEARCACHE_OK = 0,
    NEARCACHE_MISS = 1,  /* the key has no value; not an error */
    NEARCACHE_LOCAL = 2, /* a write is kept in the journal and goes to Redis when it is back */

    NEARCACHE_EINVAL = -1,     /* an argument or an option is out of its range */
    NEARCACHE_ENOMEM = -2,     /* no memory; nothing was changed */
    NEARCACHE_ETOOBIG = -3,    /* the key or the value is larger than allowed */
    NEARCACHE_ETIMEOUT = -4,   /* the deadline passed; a write may or may not have happened */
    NEARCACHE_EOFFLINK = -5,   /* Redis is not reachable and the tier's policy offers nothing */
    NEARCACHE_EFULL = -6,      /* the journal is full: the write was not taken */
    NEARCACHE_EREFUSED = -7,   /* the tier refuses writes while Redis is not reachable */
    NEARCACHE_EREMOTE = -8,    /* Redis answered with an error (out of memory, no permission ...) */
    NEARCACHE_EPROTOCOL = -9,  /* Redis answered something that is not valid */
    NEARCACHE_ETYPE = -10,     /* the key holds another type, or a vector of another length */
    NEARCACHE_ECONFIG = -11,   /* the configuration contradicts itself; the log says how */
    NEARCACHE_EFORK = -12,     /* the cache was opened before a fork(), in the parent */
    NEARCACHE_ECLOSED = -13,   /* the cache is closing or closed */
    NEARCACHE_EBUSY = -14,     /* handles are still pinned */
    NEARCACHE_ELOADER = -15,   /* the loader failed and no stale copy could stand in */
    NEARCACHE_ENOTSUP = -16,   /* not built in, or not possible in this mode */
    NEARCACHE_ECANCELED = -17, /* an asynchronous call was cancelled */
    NEARCACHE_EAUTH = -18,     /* Redis refuses the credentials */
    NEARCACHE_EIO = -19        /* the operating system refused (descriptors, threads, files) */
};

/* A short English text for an outcome, "unknown outcome" for any other number. Never NULL, static.
 */
const char *nearcache_strerror(int outcome);

/* The version of the library that is running, as "major.minor.patch". Static. */
const char *nearcache_version(void);

/* Where a result came from. */
enum nearcache_source {
    NEARCACHE_SOURCE_MISS = 0,    /* Redis has no value (or there is no Redis and none is here) */
    NEARCACHE_SOURCE_LOCAL = 1,   /* the local copy, fresh */
    NEARCACHE_SOURCE_REMOTE = 2,  /* read from Redis by this call or one that it waited for */
    NEARCACHE_SOURCE_LOADED = 3,  /* made by the loader */
    NEARCACHE_SOURCE_STALE = 4,   /* a local copy, or absence, that could not be proven fresh */
    NEARCACHE_SOURCE_NEGATIVE = 5 /* remembered to be absent */
};

/* Why an entry left the local store. */
enum nearcache_cause {
    NEARCACHE_CAUSE_EXPIRED = 0,     /* its time was over */
    NEARCACHE_CAUSE_EVICTED = 1,     /* bytes ran short */
    NEARCACHE_CAUSE_REPLACED = 2,    /* a newer value took its place */
    NEARCACHE_CAUSE_INVALIDATED = 3, /* deleted or invalidated, here or by another process */
    NEARCACHE_CAUSE_CLEARED = 4      /* its tier was cleared, or the cache closed */
};

/* ---- configuration ------------------------------------------------------------------------- */

/* The defaults, named once: documentation, code and tests share them. */
#define NEARCACHE_DEFAULT_BUDGET_BYTES ((uint64_t)64 << 20)
#define NEARCACHE_MIN_BUDGET_BYTES ((uint64_t)1 << 20)
#define NEARCACHE_DEFAULT_DEADLINE_US 100000u
#define NEARCACHE_DEFAULT_HEARTBEAT_MS 100u
#define NEARCACHE_DEFAULT_LEASE_MS 1000u
#define NEARCACHE_DEFAULT_MAX_STALE_MS 600000u
#define NEARCACHE_DEFAULT_JOURNAL_BYTES ((uint64_t)8 << 20)
#define NEARCACHE_DEFAULT_JOURNAL_ENTRIES 65536u
#define NEARCACHE_DEFAULT_BREAKER_EXPIRIES 3u
#define NEARCACHE_DEFAULT_NEGATIVE_TTL_MS 5000u
#define NEARCACHE_DEFAULT_JITTER_PERCENT 10u
#define NEARCACHE_MAX_JITTER_MS 10000u
#define NEARCACHE_DEFAULT_TTL_MS 3600000u
#define NEARCACHE_DEFAULT_UNPROVEN_TTL_MS 30000u
#define NEARCACHE_DEFAULT_LARGEST_LOCAL_BYTES ((uint64_t)1 << 20)
#define NEARCACHE_DEFAULT_DIMENSION 512u
#define NEARCACHE_DEFAULT_LOADER_CHUNK 32u
#define NEARCACHE_MAX_KEY_BYTES 65535u
#define NEARCACHE_MAX_TIERS 256u

/*
 * How to reach Redis. Strings are copied by nearcache_open. Either `url` or the single fields;
 * a single field that is given wins over its part of the url.
 * URLs: redis://[user[:password]@]host[:port][/db], rediss://... (TLS), unix:///path[?db=N].
 * User, password and path in a URL are percent-decoded. Secrets never appear in a log or an error.
 */
struct nearcache_redis {
    size_t size;             /* sizeof(struct nearcache_redis) */
    const char *url;         /* NULL: the fields below */
    const char *host;        /* name or address, IPv6 without brackets; default 127.0.0.1 */
    uint32_t port;           /* default 6379 */
    uint32_t database;       /* default 0 */
    const char *unix_path;   /* a unix socket instead of host and port */
    const char *username;    /* ACL user; NULL: the default user */
    const char *password;    /* NULL: none. Like the TLS files it is read at open */
    const char *client_name; /* CLIENT SETNAME; NULL: "nearcache" */
    uint32_t connections;    /* shared connections for single requests; default 8 */
    uint32_t tls;            /* 1: TLS; an error where it is not built in, never plain text */
    const char *tls_ca_file; /* NULL: the system's authorities */
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;  /* NULL: host */
    uint32_t tls_insecure;        /* 1: do not verify the server's certificate */
    const char *sentinels;        /* "host:port,host:port"; NULL: no Sentinel */
    const char *sentinel_primary; /* the name that the Sentinels know the primary by */
    const char *sentinel_password;
    uint32_t cluster;         /* 1: the host is a node of a Redis Cluster, the others are found */
    uint32_t tls_min_version; /* 12 or 13; default TLS 1.2 */
    const char *tls_ca_dir;   /* a folder of authorities as c_rehash makes it; see tls_ca_file */
    /* "host:port,host:port": nodes to ask besides the host or, without one, in its place. */
    const char *cluster_nodes;
    /* 0: plain keys, whose changes are tracked on every primary. Else keys are in so many parts, at
     * most 64, each with connections of its own: the Redis key is PREFIX{NS:P}NAME, with P the XXH3
     * (64 bit, seed 0) of NAME modulo this number, which all programs must agree on. */
    uint32_t cluster_partitions;
    /* How long who waits alone for a reply looks for it before he sleeps, while nobody else wants
     * the processor: being woken may take longer than Redis does. Default 100, at most 1000; 1: as
     * good as not at all, for who would rather save the power. */
    uint32_t spin_us;
};
#define NEARCACHE_REDIS_INIT                                                                       \
    {                                                                                              \
        sizeof(struct nearcache_redis), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   \
            0, 0, 0, 0, 0                                                                          \
    }

/*
 * Fills *redis from REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_PASSWORD and REDIS_DB. The strings
 * belong to the environment: open the cache before it changes.
 * Returns 0; NEARCACHE_MISS when none of them is set (*redis is then untouched);
 * NEARCACHE_EINVAL when a number is not one.
 */
int nearcache_redis_from_env(struct nearcache_redis *redis);

/* What became of the link to Redis. */
enum nearcache_link {
    NEARCACHE_LINK_NONE = 0,       /* no Redis configured: local-only */
    NEARCACHE_LINK_DOWN = 1,       /* not connected; the next try is scheduled */
    NEARCACHE_LINK_CONNECTING = 2, /* connecting, authenticating */
    NEARCACHE_LINK_SYNCING = 3,    /* connected; catching up with what was missed */
    NEARCACHE_LINK_LIVE = 4,       /* proven: local copies are fresh */
    NEARCACHE_LINK_SUSPECT = 5     /* no proof for longer than the lease */
};

enum nearcache_log_level {
    NEARCACHE_LOG_ERROR = 0,
    NEARCACHE_LOG_WARNING = 1,
    NEARCACHE_LOG_INFO = 2,
    NEARCACHE_LOG_DEBUG = 3
};

/* An entry that left the local store. Valid during the callback only. */
struct nearcache_removal {
    struct nearcache_tier *tier;
    const void *name; /* without the tier's prefix */
    size_t name_bytes;
    const void *value; /* NULL for a remembered absence */
    size_t value_bytes;
    enum nearcache_cause cause;
};

/* A write of an outage that Redis did not take when it came back. Valid during the callback. */
struct nearcache_refusal {
    struct nearcache_tier *tier;
    const void *name;
    size_t name_bytes;
    int outcome; /* NEARCACHE_EREFUSED: a newer value stands; NEARCACHE_MISS: its TTL was over;
                  * NEARCACHE_ETOOBIG: larger than the server takes (proto-max-bulk-len) */
};

/*
 * Callbacks run on the thread that caused the event, or on one of the cache's own threads
 * (maintenance: expiry; link: link state, replay): giving one is asking for that. None runs under
 * a lock of the cache, so each may call back into it, nearcache_close excepted. On the link's
 * thread nearcache_wait and nearcache_sync do not wait: what they wait for is its work.
 */
typedef void (*nearcache_log_fn)(void *arg, enum nearcache_log_level level, const char *line);
typedef void (*nearcache_removal_fn)(void *arg, const struct nearcache_removal *removal);
typedef void (*nearcache_link_fn)(void *arg, enum nearcache_link state);
typedef void (*nearcache_refusal_fn)(void *arg, const struct nearcache_refusal *refusal);
/* Nanoseconds that never run backwards; called from any thread, on the hit path and, unlike the
 * others, under locks: it may not call back. */
typedef uint64_t (*nearcache_clock_fn)(void *arg);

struct nearcache_config {
    size_t size; /* sizeof(struct nearcache_config) */

    /* The local store. */
    uint64_t budget_bytes;     /* everything: keys, values, index, bookkeeping, journal; 1 MiB to
                                * 100 GiB, default 64 MiB */
    uint64_t capacity_entries; /* most entries resident at a time; 0: bytes alone decide */
    uint32_t shards;           /* rounded down to a power of two; 0: by size and processors */
    uint64_t hash_seed;        /* 0: random; fixed only for repeatable experiments */

    /* Redis. NULL: local-only. Copied. */
    const struct nearcache_redis *redis;
    const char *name_space;    /* prefix of the cache's own Redis keys and channels; NULL: "nc" */
    uint64_t deadline_us;      /* of a call that gives none; default 100 ms */
    uint64_t heartbeat_ms;     /* default 100 */
    uint64_t lease_ms;         /* how long a proof lasts; default 1000, at least 3 heartbeats */
    uint64_t journal_bytes;    /* default 8 MiB, inside the budget; NEARCACHE_NONE: no journal */
    uint64_t journal_entries;  /* default 65536 */
    uint64_t breaker_expiries; /* expired deadlines in a row that open the breaker; NONE: off */
    uint32_t loader_threads;   /* must be 0: a loader runs on the thread of its caller */

    /* Callbacks; see above. */
    nearcache_log_fn log;
    void *log_arg;
    enum nearcache_log_level log_level; /* default NEARCACHE_LOG_ERROR */
    nearcache_removal_fn on_removal;
    void *on_removal_arg;
    nearcache_link_fn on_link;
    void *on_link_arg;
    nearcache_refusal_fn on_refusal;
    void *on_refusal_arg;
    nearcache_clock_fn clock; /* NULL: CLOCK_MONOTONIC; a replaced clock moves TTLs, not I/O */
    void *clock_arg;

    /* A unix socket on which the process publishes metrics, read-only. NULL: none. Copied. */
    const char *metrics_socket;

    /* Self-audit: the share of hits that are read from Redis again and compared, at most one a
     * heartbeat; a copy that is wrong is counted (metrics) and logged. Default off. */
    uint64_t audit_per_million;
};
#define NEARCACHE_CONFIG_INIT                                                                      \
    {                                                                                              \
        sizeof(struct nearcache_config), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,              \
            NEARCACHE_LOG_ERROR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                      \
    }

/* ---- open and close ------------------------------------------------------------------------ */

/*
 * Opens a cache. Never waits for Redis: connecting goes on in the background and a Redis that is
 * absent is a mode. `config` may be NULL (local-only, all defaults).
 * Threads started: one for maintenance; with Redis one more for the link (a cluster: one for each,
 * and one that learns the map), and up to eight while an event loop's calls have to wait for more
 * than replies.
 * Returns 0 and the cache in *cache (close it with nearcache_close); NEARCACHE_EINVAL,
 * NEARCACHE_ECONFIG (a URL that does not parse, a lease shorter than three heartbeats, a metrics
 * socket in use, ...; the log says which),
 * NEARCACHE_ENOTSUP (TLS not built in), NEARCACHE_ENOMEM, NEARCACHE_EIO.
 */
int nearcache_open(struct nearcache **cache, const struct nearcache_config *config);

/*
 * Closes a cache: writes what the journal still holds, for which it waits for Redis as long as time
 * allows, stops its threads, and frees it; writes that are lost are logged. `timeout_us` 0 is the
 * configured deadline. Always returns in time. NULL is allowed. Calls that begin meanwhile answer
 * NEARCACHE_ECLOSED, but nobody may call once it has returned: join the threads that do first.
 * Returns 0 and everything is freed; NEARCACHE_EBUSY when results are still pinned
 * (nearcache_pinned counts them): the memory stays mapped, releasing them stays legal, and close
 * must be called again afterwards to free the rest; NEARCACHE_EINVAL for a timeout of
 * NEARCACHE_NONE, NEARCACHE_EFORK: nothing was done. One thread.
 */
int nearcache_close(struct nearcache *cache, uint64_t timeout_us);

/* How many results are pinned and not yet released. */
uint64_t nearcache_pinned(struct nearcache *cache);

/* The state of the link to Redis. One load. */
enum nearcache_link nearcache_link_state(const struct nearcache *cache);
/* "none", "down", "connecting", "syncing", "live", "suspect". Static. */
const char *nearcache_link_name(enum nearcache_link state);

/*
 * Waits until the link is LIVE and the journal is replayed. `timeout_us` 0 is the configured
 * deadline.
 * Returns 0 (at once when local-only); NEARCACHE_ETIMEOUT, NEARCACHE_EAUTH (the last attempt was
 * refused for its credentials), NEARCACHE_EFORK, NEARCACHE_ECLOSED.
 */
int nearcache_wait(struct nearcache *cache, uint64_t timeout_us);

/* ---- tiers --------------------------------------------------------------------------------- */

enum nearcache_off_link { NEARCACHE_OFF_LINK_MISS = 0, NEARCACHE_OFF_LINK_STALE = 1 };
enum nearcache_outage_writes { NEARCACHE_OUTAGE_JOURNAL = 0, NEARCACHE_OUTAGE_REFUSE = 1 };
enum nearcache_coherence {
    NEARCACHE_COHERENCE_PUBSUB = 0,   /* writers use this library */
    NEARCACHE_COHERENCE_TRACKING = 1, /* other programs write the keys too */
    NEARCACHE_COHERENCE_NONE = 2      /* local copies live out their TTL */
};
enum nearcache_policy {
    NEARCACHE_POLICY_DEFAULT = 0, /* LRU */
    NEARCACHE_POLICY_LRU = 1,     /* whoever was not used for longest goes first */
    NEARCACHE_POLICY_AS3 = 2      /* stands scans, 5 % fewer misses; 20 bytes an entry more */
};
enum nearcache_kind {
    NEARCACHE_BYTES = 0,
    NEARCACHE_VECTOR_F32 = 1,
    NEARCACHE_VECTOR_F16 = 2,
    NEARCACHE_VECTOR_I8 = 3
};

/*
 * A tier: keys with a common prefix and their policies. The Redis key is the prefix followed by
 * the name, and the value is stored plain: exactly the caller's bytes.
 */
struct nearcache_tier_config {
    size_t size;
    const char *name;      /* for metrics and messages: [a-z][a-z0-9_]*, at most 31, unique */
    const char *prefix;    /* NULL or "": none. At most 255 bytes */
    uint64_t redis_ttl_ms; /* default 1 h; NEARCACHE_NONE: no expiry */
    /* Most that a local copy lives; default the Redis TTL, 30 s for a tier without coherence. In a
     * local-only cache each value has the TTL of its write, and by default no other. */
    uint64_t local_ttl_ms;
    uint64_t negative_ttl_ms; /* how long an absence is remembered; default 5 s; NONE: not at all */
    uint64_t jitter_percent;  /* of the local TTL taken off at random, at most 10 s; default 10 */
    enum nearcache_off_link off_link;
    /* Bound of STALE answers and of fail-safe; default 10 min. With it, or with off_link STALE,
     * values whose time is over are kept so long, where memory allows, to stand in. */
    uint64_t max_stale_ms;
    enum nearcache_outage_writes outage_writes;
    enum nearcache_coherence coherence;
    uint64_t budget_share_percent; /* of the byte budget; 0: shared freely */
    /* Larger values live in Redis only; default 1 MiB. In any case only those are kept here that
     * fit into one shard's part of the budget, a sixteenth with the usual number of shards. */
    uint64_t largest_local_bytes;
    enum nearcache_policy policy;
    uint64_t soft_timeout_us;       /* with a stale copy at hand wait no longer; default off */
    uint64_t eager_refresh_percent; /* of the TTL: a hit in that last part refreshes; default off */
    enum nearcache_kind kind;
    uint32_t dimension; /* of a vector; default 512 */
    /* One get_or_load at a time makes a missing key across processes: a key in Redis of this
     * lifetime says which, the others wait for its value. Longer than a loader takes; default off.
     */
    uint64_t load_lease_ms;
};
#define NEARCACHE_TIER_INIT                                                                        \
    {                                                                                              \
        sizeof(struct nearcache_tier_config), 0, 0, 0, 0, 0, 0, NEARCACHE_OFF_LINK_MISS, 0,        \
            NEARCACHE_OUTAGE_JOURNAL, NEARCACHE_COHERENCE_PUBSUB, 0, 0, NEARCACHE_POLICY_DEFAULT,  \
            0, 0, NEARCACHE_BYTES, 0, 0                                                            \
    }

/* The tiers of the service that this library was first made for. */
enum nearcache_preset {
    NEARCACHE_DEFAULT = 0,    /* "default"      no prefix      1 h   */
    NEARCACHE_PRODUCTS = 1,   /* "products"     product:       6 h   */
    NEARCACHE_PROMPTS = 2,    /* "prompts"      prompt:        24 h  */
    NEARCACHE_AESTHETICS = 3, /* "aesthetics"   aesthetic:     no expiry */
    NEARCACHE_EMBEDDINGS = 4, /* "embeddings"   embedding:     no expiry, f32 x 512 */
    NEARCACHE_SESSIONS = 5,   /* "sessions"     session:       7 d   */
    NEARCACHE_MARKETPLACE =
        6 /* "marketplace"  marketplace:   6 h, names <marketplace>:<category> */
};

/* Fills *config with a preset, to be changed and opened. NEARCACHE_EINVAL for an unknown one. */
int nearcache_tier_preset(enum nearcache_preset preset, struct nearcache_tier_config *config);

/*
 * Opens a tier; it lives as long as the cache, which has at most 256. `config` is copied. Tiers
 * with the same prefix share keys in Redis, and nothing in a local-only cache. One in tracking mode
 * makes the link anew, for all tiers: open such tiers before nearcache_wait. Returns 0;
 * NEARCACHE_EINVAL (a field out of range), NEARCACHE_ECONFIG (the name is taken; 256 tiers;
 * overlapping prefixes of tracking tiers; a coherence mode that cannot work), NEARCACHE_ENOMEM. The
 * log says which.
 */
int nearcache_tier_open(struct nearcache *cache, const struct nearcache_tier_config *config,
                        struct nearcache_tier **tier);
int nearcache_tier_open_preset(struct nearcache *cache, enum nearcache_preset preset,
                               struct nearcache_tier **tier);

/* The tier of that name, or NULL. */
struct nearcache_tier *nearcache_tier_find(struct nearcache *cache, const char *name);
const char *nearcache_tier_name(const struct nearcache_tier *tier);
const char *nearcache_tier_prefix(const struct nearcache_tier *tier);
/* Bytes of one value of a vector tier (dimension x element), 0 for bytes. */
size_t nearcache_tier_row_bytes(const struct nearcache_tier *tier);

/* ---- reading ------------------------------------------------------------------------------- */

/*
 * A result, in memory of the caller's. After a read that returned 0, `data` stays valid and
 * unchanged until nearcache_release, whatever happens to the key, and on whatever thread. Data of
 * 64 bytes or more, and every vector, is aligned to 64 bytes.
 * After NEARCACHE_MISS there is no data and nothing to release (releasing is harmless).
 */
struct nearcache_result {
    const void *data;
    size_t bytes;
    enum nearcache_source source;
    uint64_t age_ms; /* since the value was written here or read from Redis; to 16 ms, and to
                      * 0.2 s where nothing else depends on the time: no expiry, no coherence */
    uint64_t ttl_ms; /* until the local copy expires; NEARCACHE_NONE: never; 0: not cached */
    uintptr_t internal[2];
};

/* How to read. */
struct nearcache_read {
    size_t size;
    uint64_t timeout_us;      /* 0: the cache's deadline */
    uint64_t soft_timeout_us; /* 0: the tier's */
    uint64_t max_stale_ms;    /* 0: the tier's; NEARCACHE_NONE: nothing stale */
    uint32_t refresh;         /* 1: ask Redis even when a fresh copy is here */
};
#define NEARCACHE_READ_INIT                                                                        \
    {                                                                                              \
        sizeof(struct nearcache_read), 0, 0, 0, 0                                                  \
    }

/*
 * Reads a key: a fresh local copy, else Redis, at most one request per key however many threads
 * ask. `name` is any 1 to 65535 bytes together with the tier's prefix. `how` may be NULL.
 * Returns 0: the value, pinned (source LOCAL, REMOTE or STALE).
 *   NEARCACHE_MISS: no value (source MISS or NEGATIVE; STALE when the link is down and the absence
 *   is a remembered one). age_ms and ttl_ms are filled in.
 *   NEARCACHE_EINVAL, ETOOBIG (key), ETIMEOUT, EOFFLINK, EREMOTE, EPROTOCOL, ETYPE, ENOMEM, EFORK,
 *   ECLOSED: result->data is NULL.
 * A hit costs no system call, no allocation and no lock.
 */
int nearcache_get(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                  const struct nearcache_read *how, struct nearcache_result *result);

/*
 * The local copy, fresh or by the off-link policy; never waits, never asks Redis.
 * Returns 0, NEARCACHE_MISS (not here: says nothing about Redis), NEARCACHE_EINVAL, ETOOBIG, EFORK,
 * ECLOSED.
 */
int nearcache_peek(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                   struct nearcache_result *result);

/*
 * Ends the use of a result; exactly once for each read that returned 0. Any thread, also after the
 * thread that read it has ended. A second release of the same struct does nothing.
 */
void nearcache_release(struct nearcache_result *result);

/*
 * 0 if the key has a value (here or in Redis), NEARCACHE_MISS if not; errors as nearcache_get.
 * Reads no value over the network.
 */
int nearcache_exists(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                     const struct nearcache_read *how);

/* What a loader hands back. */
struct nearcache_loaded {
    const void *data;
    size_t bytes;
    uint64_t ttl_ms;           /* as in nearcache_write; what that refuses is NEARCACHE_EINVAL */
    void (*free_data)(void *); /* called with data once it has been copied; may be NULL */
};

/*
 * Makes the value of a key that neither the cache nor Redis has. Runs on the calling thread,
 * under no lock. Returns 0 and fills *loaded; NEARCACHE_MISS: there is no such thing (remembered
 * for the negative TTL); a negative number: it failed.
 */
typedef int (*nearcache_load_fn)(void *arg, const void *name, size_t name_bytes,
                                 struct nearcache_loaded *loaded);

/*
 * As nearcache_get; a key that has no value is made by `load`, once for all threads that wait, and
 * written through. With Redis unreachable the loader still runs, and its value is kept by the
 * tier's outage policy. If the loader fails and a local copy no older than max_stale exists, that
 * is returned (STALE), else NEARCACHE_ELOADER.
 */
int nearcache_get_or_load(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                          const struct nearcache_read *how, nearcache_load_fn load, void *arg,
                          struct nearcache_result *result);

/* ---- writing ------------------------------------------------------------------------------- */

struct nearcache_write {
    size_t size;
    uint64_t timeout_us; /* 0: the cache's deadline */
    uint64_t ttl_ms;     /* of the Redis key. 0: the tier's; NEARCACHE_NONE: no expiry. With Redis
                          * any other is NEARCACHE_EINVAL in a tier whose redis_ttl_ms is NONE, as
                          * readers there do not ask for it: such keys need a tier that expires. */
};
#define NEARCACHE_WRITE_INIT                                                                       \
    {                                                                                              \
        sizeof(struct nearcache_write), 0, 0                                                       \
    }

/*
 * Writes through: to Redis, then here; other processes' copies are dropped. The value is copied.
 * Returns 0: in Redis (local-only: in the cache). NEARCACHE_LOCAL: Redis is not reachable; the
 *   write is here and in the journal and will be replayed unless a newer one stands by then.
 *   NEARCACHE_EFULL, NEARCACHE_EREFUSED, NEARCACHE_EOFFLINK: not written anywhere.
 *   NEARCACHE_ETIMEOUT: in doubt, and not journaled.
 *   NEARCACHE_EREMOTE: Redis refused (out of memory, no permission); not written.
 *   NEARCACHE_ETYPE: the wrong length for a vector tier. NEARCACHE_ETOOBIG: the key; or,
 * local-only, a value above the largest local value. NEARCACHE_EINVAL, ENOMEM, EFORK, ECLOSED.
 */
int nearcache_set(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                  const void *value, size_t value_bytes, const struct nearcache_write *how);

/* Deletes in Redis and everywhere. Returns as nearcache_set; deleting nothing is 0. */
int nearcache_delete(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                     const struct nearcache_write *how);

/*
 * Moves the expiry of an existing key to how->ttl_ms from now, here and in Redis; the value stays.
 * Returns 0, NEARCACHE_MISS (no such key), errors as nearcache_set. Not journaled: with Redis
 * configured and unreachable it is NEARCACHE_EOFFLINK.
 */
int nearcache_touch(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                    const struct nearcache_write *how);

/*
 * Makes the local copy old: the next get asks Redis or the loader, and the copy stands in (STALE)
 * if those fail within max_stale. Redis and other processes are untouched.
 * Returns 0, NEARCACHE_MISS (not here), NEARCACHE_EINVAL, EFORK, ECLOSED.
 */
int nearcache_expire(struct nearcache_tier *tier, const void *name, size_t name_bytes);

/*
 * Drops the copies in all processes; Redis keeps its value. With the link down it drops the copy
 * here and returns NEARCACHE_EOFFLINK. Otherwise 0 (also when nothing was there), NEARCACHE_EINVAL,
 * ETIMEOUT, ENOMEM, EFORK, ECLOSED.
 */
int nearcache_invalidate(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                         const struct nearcache_write *how);

/*
 * Deletes every key of the tier (nearcache_clear) or every key whose name begins with
 * `prefix` (nearcache_delete_prefix), in Redis and everywhere. Redis is scanned in small steps;
 * keys written meanwhile may survive. Without Redis it is local. `timeout_us` bounds the whole
 * call. *deleted (unless NULL) counts keys deleted from Redis, or here when local-only; it is
 * written in every case.
 * Returns 0: complete; NEARCACHE_ETIMEOUT: partly done, call again; NEARCACHE_EOFFLINK: only the
 * copies here were dropped; errors as nearcache_set.
 */
int nearcache_clear(struct nearcache_tier *tier, uint64_t timeout_us, uint64_t *deleted);
int nearcache_delete_prefix(struct nearcache_tier *tier, const void *prefix, size_t prefix_bytes,
                            uint64_t timeout_us, uint64_t *deleted);

/*
 * Read-your-writes across processes: returns 0 once this process has seen everything that Redis
 * had acknowledged when the call began. NEARCACHE_ETIMEOUT, EOFFLINK, EFORK, ECLOSED;
 * NEARCACHE_ENOTSUP when no tier uses pub/sub coherence. Local-only: 0 at once.
 */
int nearcache_sync(struct nearcache *cache, uint64_t timeout_us);

/* ---- batches ------------------------------------------------------------------------------- */

/* A name in a batch: any bytes, not zero-terminated. */
struct nearcache_name {
    const void *data;
    size_t bytes;
};

struct nearcache_item {
    struct nearcache_name name;
    const void *value;
    size_t value_bytes;
    uint64_t ttl_ms; /* as in nearcache_write */
};

/*
 * Reads many keys as one operation: local copies are pinned, the rest goes to Redis in bounded
 * pipelines, joined with other threads' requests for the same keys. results[i] belongs to names[i];
 * statuses[i] is what nearcache_get would have returned for it, and both are always written.
 * Release every result whose status is 0 (nearcache_release_many releases all).
 * Returns 0 when every status is 0 or NEARCACHE_MISS, else the first failure among them;
 * NEARCACHE_EINVAL, ENOMEM, EFORK, ECLOSED for the whole call (then every status is that).
 */
int nearcache_get_many(struct nearcache_tier *tier, const struct nearcache_name *names,
                       size_t count, const struct nearcache_read *how,
                       struct nearcache_result *results, int *statuses);
void nearcache_release_many(struct nearcache_result *results, size_t count);

/*
 * Writes many keys in bounded pipelines; statuses[i] as nearcache_set would return for items[i].
 * how->ttl_ms serves items whose own is 0. Returns 0 when every status is 0, NEARCACHE_LOCAL when
 * all were taken and some only here, else the first failure. Later items of the same name win.
 */
int nearcache_set_many(struct nearcache_tier *tier, const struct nearcache_item *items,
                       size_t count, const struct nearcache_write *how, int *statuses);

/* ---- vectors ------------------------------------------------------------------------------- */

/*
 * Makes the rows that Redis lacks, at most 32 a call (`count` of them): rows[i * stride ...] is
 * the row of names[i]; set statuses[i] to 0, NEARCACHE_MISS or any other number: it failed (all are
 * NEARCACHE_MISS when the call begins). Runs on the calling thread.
 * Returns 0, or any other number: all of them failed. What failed is NEARCACHE_ELOADER.
 */
typedef int (*nearcache_load_vectors_fn)(void *arg, const struct nearcache_name *names,
                                         size_t count, void *rows, size_t row_stride_bytes,
                                         int *statuses);

/*
 * Reads vectors of a vector tier into a row-major matrix of the caller's: row i begins at
 * (char *)matrix + i * row_stride_bytes and takes nearcache_tier_row_bytes bytes (a stride of 0
 * means exactly that). Elements are the raw little-endian bytes that Redis stores. Rows from Redis
 * are decoded straight into the matrix. statuses[i]: 0, NEARCACHE_MISS, NEARCACHE_ETYPE (a value
 * of another length: only that row is spoiled) or as nearcache_get; a row whose status is not 0 is
 * left unspecified. `load` (may be NULL) fills what Redis lacks, and its rows are written through.
 * sources (may be NULL) says where each row came from.
 * Returns 0 when every status is 0 or NEARCACHE_MISS, else the first failure; NEARCACHE_EINVAL when
 * the tier holds no vectors or the stride is smaller than a row.
 */
int nearcache_get_vectors(struct nearcache_tier *tier, const struct nearcache_name *names,
                          size_t count, const struct nearcache_read *how, void *matrix,
                          size_t row_stride_bytes, nearcache_load_vectors_fn load, void *arg,
                          int *statuses, enum nearcache_source *sources);

/* Writes vectors from a row-major matrix; layout and outcomes as above and nearcache_set_many. */
int nearcache_set_vectors(struct nearcache_tier *tier, const struct nearcache_name *names,
                          size_t count, const void *matrix, size_t row_stride_bytes,
                          const struct nearcache_write *how, int *statuses);

/* ---- helpers ------------------------------------------------------------------------------- */

#define NEARCACHE_QUERY_NAME_BYTES 32u

/*
 * A long query as a short name: XXH3 128-bit (seed 0), as 32 lower-case hexadecimal digits and a
 * final zero in `name`. The same everywhere and for ever.
 */
void nearcache_query_name(const void *query, size_t query_bytes,
                          char name[NEARCACHE_QUERY_NAME_BYTES + 1]);

#ifdef __cplusplus
}
#endif

#endif
