"""What goes wrong. Each fault is a function of the scenario and a seeded random source that returns
when the fault has ended. What it returns tells the checker more about it:

    who        the processes that it concerns (default all); the others must notice nothing
    stops      those processes were stopped themselves
    drops      messages were lost: noticed within two heartbeats
    rtt_ms     round trips took so long
    evicts     keys may have been missing while it lasted
    refuses    the index was lost, so replays may be refused although nothing newer stands
    backward   the server's wall clock went back
    isolated   a process alone with an old primary: nothing that it was told then is judged
    missed     entries read again after a reconnect, and how many had changed (I12)
    journal    bytes that the journals held, and their bound (I10)
"""
import signal
import time
from collections import namedtuple

from resp import Redis
from server import free_port, set_clock, wait_until
from workload import LASTING

Fault = namedtuple("Fault", "run modes clock replica options sentinel")
FAULTS = {}
BOTH = ("pubsub", "tracking")


def fault(name, modes=BOTH, clock=None, replica=False, options=(), sentinel=False):
    def add(function):
        FAULTS[name] = Fault(function, modes, clock, replica, list(options), sentinel)
        return function
    return add


ALL = [0, 1, 2]


def some(rng):
    """One process, or all but one."""
    who = list(ALL)
    rng.shuffle(who)
    return sorted(who[:rng.choice([1, 1, 2])])


@fault("none")
def nothing(run, rng):
    time.sleep(0.5)


# ---- the network ----

@fault("cut")
def cut(run, rng):
    who = some(rng)
    run.proxy.mode(who, "cut")
    time.sleep(rng.uniform(0.1, 2.5))
    run.proxy.mode(who, "pass")
    return {"who": who}


@fault("missed-keys", modes=("pubsub",))
def missed_keys(run, rng):
    """While one process is cut off, few keys change: after the reconnect it reads only those."""
    who = rng.choice(ALL)
    changed = rng.sample(LASTING, rng.randrange(1, 4))
    with run.quiet_work():
        for key in LASTING:
            run.drive(who, "set %s kept.%s" % (key, key.strip("k:")))
        for key in LASTING:
            run.drive(who, "get " + key)
        before = run.shells[who].stats()
        run.proxy.mode([who], "cut")
        for key in changed:
            run.drive((who + 1) % 3, "set %s changed.%s" % (key, key.strip("k:")))
        time.sleep(rng.uniform(0.0, 0.5))
        run.proxy.mode([who], "pass")
        wait_until(lambda: run.shells[who].stats().get("link") == "live" and
                   run.shells[who].stats()["redis_connects"] > before["redis_connects"], 10,
                   "the link does not come back")
        for key in LASTING:
            run.drive(who, "get " + key)
        after = run.shells[who].stats()
    return {"who": [who], "missed": {
        "fetched": after["flights"] - before["flights"], "changed": len(changed),
        "epochs": after["epochs"] - before["epochs"]}}


JOURNAL_BYTES = 1000


@fault("journal-full", options=["--journal", str(JOURNAL_BYTES)])
def journal_full(run, rng):
    """More is written off the link than the journal takes."""
    who = some(rng)
    run.proxy.mode(who, "cut")
    time.sleep(rng.uniform(0.8, 2.0))
    with run.quiet_work():
        held = [run.shells[i].stats().get("bytes_journal", 0) for i in who]
    run.proxy.mode(who, "pass")
    return {"who": who, "journal": {"bytes": held, "most": JOURNAL_BYTES}}


@fault("half-open")
def half_open(run, rng):
    who = some(rng)
    run.proxy.mode(who, "freeze")
    time.sleep(rng.uniform(0.3, 3.0))
    run.proxy.mode(who, "pass")
    return {"who": who}


@fault("delay")
def delay(run, rng):
    """Later than any caller waits."""
    who, late_ms = some(rng), rng.randrange(160, 500)
    run.proxy.mode(who, "delay", late_ms)
    time.sleep(rng.uniform(0.5, 2.0))
    run.proxy.mode(who, "pass")
    return {"who": who, "rtt_ms": 2 * late_ms}


@fault("hold")
def hold(run, rng):
    """Requests are held back, their connections end, and what they carried arrives much later,
    among newer writes."""
    who = some(rng)
    run.proxy.mode(who, "hold")
    time.sleep(rng.uniform(0.1, 0.7))
    run.proxy.order("orphan", who=who)
    run.proxy.mode(who, "pass")
    time.sleep(rng.uniform(0.2, 1.2))
    run.proxy.order("release", who=who)
    time.sleep(0.1)
    return {"who": who}


@fault("hiccup")
def hiccup(run, rng):
    """Requests are held back for less than a caller waits."""
    who = some(rng)
    for _ in range(rng.randrange(3, 9)):
        run.proxy.mode(who, "hold")
        time.sleep(rng.uniform(0.03, 0.13))
        run.proxy.order("release", who=who)
        run.proxy.mode(who, "pass")
        time.sleep(rng.uniform(0.02, 0.2))
    return {"who": who, "rtt_ms": 130}


@fault("late-replies")
def late_replies(run, rng):
    """A reply overtaken by the message about a newer write."""
    who = some(rng)
    run.proxy.mode(who, "late-replies", rng.randrange(10, 70))
    time.sleep(rng.uniform(1.5, 3.0))
    run.proxy.mode(who, "pass")
    return {"who": [], "rtt_ms": 70}


@fault("drop", modes=("pubsub",))
def drop(run, rng):
    who = some(rng)
    run.proxy.mode(who, "drop", rng.choice([0.1, 0.5, 1.0]))
    time.sleep(rng.uniform(0.5, 2.0))
    run.proxy.mode(who, "pass")
    return {"who": who, "drops": run.proxy.order("dropped", who=who)}


@fault("slow")
def slow(run, rng):
    who = some(rng)
    run.proxy.mode(who, "slow", rng.randrange(500, 5000))
    time.sleep(rng.uniform(0.5, 2.5))
    run.proxy.mode(who, "pass")
    return {"who": who}


@fault("buffer")
def output_buffer(run, rng):
    """A subscriber that does not read is cut by the server, its last messages lost."""
    redis = Redis(run.primary.port)
    redis.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 200kb 0 0")
    who = some(rng)
    run.proxy.mode(who, "stuck")
    junk = b"x" * 65536
    channels = redis.call("PUBSUB", "CHANNELS", "nc:0:hb:*")
    for _ in range(160):  # the kernel's buffers take the first megabytes
        for channel in channels:
            redis.call("PUBLISH", channel, junk)
        if len(redis.call("PUBSUB", "CHANNELS", "nc:0:hb:*")) <= len(channels) - len(who):
            break
    time.sleep(rng.uniform(0.0, 0.5))
    run.proxy.mode(who, "pass")
    redis.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
    redis.close()


# ---- the server ----

def restart(run):
    """Starts the server again; nobody reaches it before its monitor stands."""
    run.proxy.mode(ALL, "cut")
    run.pause_plain(True)
    run.primary.start()
    attach(run, run.primary)


def attach(run, server):
    """All go to this server from now on; what it holds is noted before anybody reaches it."""
    run.watch(server)
    run.dump(server)
    run.proxy.order("target", port=server.port)
    run.proxy.mode(ALL, "pass")
    run.pause_plain(False)


@fault("kill")
def kill_server(run, rng):
    run.proxy.mode(ALL, "cut")
    run.primary.kill()
    time.sleep(rng.uniform(0.0, 1.5))
    restart(run)


@fault("empty")
def empty_restart(run, rng):
    run.proxy.mode(ALL, "cut")
    run.primary.kill()
    time.sleep(rng.uniform(0.0, 1.5))
    run.primary.forget_data()
    restart(run)
    return {"refuses": run.mode == "tracking"}


@fault("stop")
def stop_server(run, rng):
    run.primary.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 3.0))
    run.primary.signal(signal.SIGCONT)


@fault("flushall")
def flush_all(run, rng):
    for _ in range(rng.choice([1, 2])):
        run.primary.call("FLUSHALL")
        time.sleep(rng.uniform(0.05, 0.4))
    return {"refuses": True}


@fault("swapdb")
def swap_databases(run, _rng):
    run.primary.call("SWAPDB", 0, 1)
    return {"refuses": True}


@fault("script-flush")
def script_flush(run, rng):
    for _ in range(rng.randrange(1, 6)):
        run.primary.call("SCRIPT", "FLUSH")
        time.sleep(rng.uniform(0.02, 0.3))
    return {"who": []}


@fault("kicked")
def kicked(run, rng):
    """CLIENT KILL of all connections that subscribe, or of all others; not of the monitor."""
    with Redis(run.primary.port) as redis:
        for _ in range(rng.randrange(1, 4)):
            subscribers = rng.random() < 0.5
            for client in redis.call("CLIENT", "LIST").splitlines():
                fields = dict(word.split("=", 1) for word in client.split())
                if "O" not in fields["flags"] and (fields["sub"] != "0") == subscribers and \
                        int(fields["id"]) != redis.call("CLIENT", "ID"):
                    redis.call("CLIENT", "KILL", "ID", fields["id"])
            time.sleep(rng.uniform(0.0, 0.4))


@fault("oom")
def out_of_memory(run, rng):
    run.primary.call("CONFIG", "SET", "maxmemory", 1)
    time.sleep(rng.uniform(0.3, 1.5))
    run.primary.call("CONFIG", "SET", "maxmemory", 0)


@fault("evict")
def evict(run, rng):
    """A policy that takes any key, those of the protocol too."""
    with Redis(run.primary.port) as redis:
        redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        redis.call("CONFIG", "SET", "maxmemory", 1)
        time.sleep(rng.uniform(0.1, 1.0))
        redis.call("CONFIG", "SET", "maxmemory", 0)
    with run.quiet_work():
        run.dump(run.primary)
    return {"evicts": True, "refuses": True}


@fault("acl")
def acl(run, rng):
    commands = rng.choice([["publish"], ["evalsha", "eval"], ["set"]])
    run.primary.call("ACL", "SETUSER", "default", *["-" + c for c in commands])
    time.sleep(rng.uniform(0.3, 1.5))
    run.primary.call("ACL", "SETUSER", "default", *["+" + c for c in commands])


@fault("no-replicas")
def no_replicas(run, rng):
    run.primary.call("CONFIG", "SET", "min-replicas-to-write", 1)
    time.sleep(rng.uniform(0.3, 2.0))
    run.primary.call("CONFIG", "SET", "min-replicas-to-write", 0)


# ---- another server ----

def offset(server):
    info = server.call("INFO", "replication")
    return [line for line in info.split("\r\n") if line.startswith("master_repl_offset:")]


def hand_over(run, replica):
    """A switch with care: nothing acknowledged is lost. The old primary keeps its connections and
    becomes a replica."""
    old = run.primary
    run.pause_plain(True)
    old.call("CLIENT", "PAUSE", 2000, "WRITE")
    wait_until(lambda: offset(old) == offset(replica), 5, "the replica is behind")
    replica.call("REPLICAOF", "NO", "ONE")
    run.watch(replica)
    run.dump(replica)
    run.proxy.order("target", port=replica.port)
    old.call("REPLICAOF", "127.0.0.1", replica.port)
    old.call("CLIENT", "UNPAUSE")
    run.pause_plain(False)
    return old


@fault("promote", replica=True)
def promote(run, rng):
    """The primary dies, its replica takes over; what was not replicated is lost."""
    replica = run.replica
    run.proxy.mode(ALL, "cut")
    run.pause_plain(True)
    run.primary.kill()
    time.sleep(rng.uniform(0.0, 1.0))
    replica.call("REPLICAOF", "NO", "ONE")
    attach(run, replica)


@fault("failover-back", replica=True)
def failover_and_back(run, rng):
    old = hand_over(run, run.replica)
    time.sleep(rng.uniform(0.2, 1.5))
    wait_until(old.follows, 20, "the old primary does not follow")
    hand_over(run, old)


@fault("stranded", replica=True)
def stranded(run, rng):
    """The old primary becomes a replica that has lost its primary: it answers, takes PUBLISH, and
    says nothing new for ever. One process only reads, so no write of its own tells it."""
    reader = rng.choice(ALL)
    run.workers[reader].reads_only = True
    old = hand_over(run, run.replica)
    old.call("REPLICAOF", "127.0.0.1", free_port())
    time.sleep(rng.uniform(2.0, 3.0))
    run.workers[reader].reads_only = False


@fault("sudden", replica=True)
def sudden(run, rng):
    """A switch without care: the replica is promoted while the old primary lives, and one process
    stays with the old one, which goes on taking its writes until it is stopped. Those are lost:
    the exception to I1b that only min-replicas-to-write closes."""
    left = rng.choice(ALL)
    others = [i for i in ALL if i != left]
    old, replica = run.primary, run.replica
    run.proxy.mode(others, "cut")
    run.pause_plain(True)
    begin = time.monotonic_ns()
    replica.call("REPLICAOF", "NO", "ONE")
    run.watch(replica)
    run.dump(replica)
    run.proxy.order("target", who=others, port=replica.port)
    run.proxy.mode(others, "pass")
    run.pause_plain(False)
    time.sleep(rng.uniform(0.5, 2.5))
    run.proxy.order("target", who=[left], port=replica.port)
    old.kill()
    return {"isolated": {"p": left, "b": begin, "e": time.monotonic_ns()}}


@fault("sentinel", replica=True, sentinel=True)
def sentinel(run, rng):
    """A Sentinel finds the primary dead and promotes the replica; then the same the other way. The
    processes ask the Sentinel themselves and reach the servers without a proxy."""
    first, second = run.primary, run.replica
    run.watch(second, alone=False)
    for dead, alive in ((first, second), (second, first)):
        run.pause_plain(True)
        dead.kill()
        wait_until(lambda s=alive: not s.follows(), 5, "the replica notices nothing")
        run.dump(alive)
        run.primary = alive
        wait_until(lambda s=alive: run.sentinel.primary_port() == s.port and
                   "role:master" in s.call("INFO", "replication"), 30, "no failover")
        run.pause_plain(False)
        time.sleep(rng.uniform(0.3, 1.0))
        if dead is first:
            first.args += ["--replicaof", "127.0.0.1 %d" % second.port]
            first.start()
            wait_until(first.follows, 30, "the old primary does not follow")
            run.watch(first, alone=False)
            wait_until(lambda: "ok" == run.sentinel.replica_link(), 30,
                       "the Sentinel does not know the old primary as a replica")


# ---- the clients ----

@fault("client-stop")
def stop_client(run, rng):
    who = some(rng)
    for index in who:
        run.shells[index].stop()
    time.sleep(rng.uniform(0.2, 3.0))
    for index in who:
        run.shells[index].go_on()
    return {"who": who, "stops": True}


@fault("client-dies")
def kill_client(run, rng):
    who = some(rng)
    for index in who:
        run.shells[index].kill()
    time.sleep(rng.uniform(0.0, 0.5))
    for index in who:
        run.workers[index].restart.set()
    return {"who": who}


# ---- wall clocks ----

def jumps(rng):
    return [rng.choice([-1, 1]) * rng.choice([0.5, 5, 60, 3600]) for _ in range(rng.choice([1, 2]))]


@fault("clock-server", clock="server")
def server_clock(run, rng):
    backward, now = False, 0
    for jump in jumps(rng):
        set_clock(run.clock, now + jump)
        backward, now = backward or jump < 0, now + jump
        time.sleep(rng.uniform(0.3, 0.8))
    return {"backward": backward}


@fault("clock-client", clock="client")
def client_clock(run, rng):
    for jump in jumps(rng):
        set_clock(run.clock, jump)
        time.sleep(rng.uniform(0.2, 0.6))
    return {"who": []}
