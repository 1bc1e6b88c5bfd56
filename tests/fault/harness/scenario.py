"""One run: servers, proxies, processes, work, one fault, recovery, quiet, and what is left."""
import contextlib
import os
import random
import shutil
import tempfile
import threading
import time

from applied import Applied
from faults import FAULTS
from history import History
from noise import Noise
from resp import Monitor, Redis
from server import Sentinel, Server, build_clock, wait_until
from shell import ProxyProcess, Shell
from workload import KEYS, LASTING, PREFIX, PlainWriter, Worker

PROCESSES = 3
OP_TIMEOUT_MS, HEARTBEAT_MS, LEASE_MS = 150, 100, 1000
RECOVER_S, X_S = 2.5, 0.1


class Scenario:
    """Owns everything that a run starts."""

    def __init__(self, program, mode, fault, seed, history_path):
        self.mode, self.fault_name, self.seed = mode, fault, seed
        self.rng = random.Random("%s/%s/%s" % (fault, mode, seed))
        self.folder = tempfile.mkdtemp(prefix="nearcache-fault.")
        self.history = History(history_path)
        self.program = program
        self.monitors, self.servers, self.shells, self.workers = [], [], [], []
        self.applied = self.replica = self.sentinel = None
        self.proxy = self.noise = self.plain = None
        self.extra = 0
        self.ended = threading.Event()

    # ---- parts ----

    def connected(self, server_port, port, client):
        self.history.put("conn", via=[server_port, port], p=client, at=time.monotonic_ns())

    def add_server(self, name, clock_file=None, args=()):
        server = Server(self.folder, name, clock_file)
        server.args += list(args)
        server.start()
        self.servers.append(server)
        return server

    def watch(self, server, alone=True):
        """Its commands count from now on; those of the server before it do not any more, unless
        both are watched and only one of them is written to."""
        if self.applied and alone:
            self.applied.on = False
        self.applied = Applied(self.history, server.port, PREFIX,
                               [s.port for s in self.servers])
        self.monitors.append(Monitor(server.port, self.applied.line,
                                     FAULTS[self.fault_name].clock != "server"))
        if alone:
            self.primary = server

    def start_sentinel(self):
        """Returns what makes a process ask it for the primary."""
        self.sentinel = Sentinel(self.folder, self.primary)
        self.sentinel.start()
        self.servers.append(self.sentinel)
        wait_until(lambda: len(self.sentinel.call("SENTINEL", "REPLICAS", "main")) == 1, 20,
                   "the Sentinel knows no replica")
        path = os.path.join(self.folder, "nearcache.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write("sentinels = 127.0.0.1:%d\nsentinel_primary = main\n" % self.sentinel.port)
        return ["--config", path]

    def dump(self, server):
        """What the keys are, where a monitor may have missed the last of a killed server."""
        with Redis(server.port) as redis:
            for key in self.keys:
                self.history.put("found", at=time.monotonic_ns(), k=key, v=redis.call("GET", key),
                                 pttl=redis.call("PTTL", key))

    def pause_plain(self, paused):
        if self.plain and paused:
            self.plain.paused.set()
            with self.plain.busy:
                pass
        elif self.plain:
            self.plain.paused.clear()

    @contextlib.contextmanager
    def quiet_work(self):
        """No process asks for anything meanwhile."""
        for worker in self.workers:
            worker.busy.acquire()
        self.pause_plain(True)
        time.sleep(0.05)
        try:
            yield
        finally:
            self.pause_plain(False)
            for worker in self.workers:
                worker.busy.release()

    def begin(self):
        clock = os.path.join(self.folder, "clock")
        fault = FAULTS[self.fault_name]
        self.clock = clock
        if fault.clock:
            build_clock(self.folder)
        self.primary = self.add_server("primary", clock if fault.clock == "server" else None)
        self.watch(self.primary)
        # A server whose wall clock jumps expires keys early or late, and that is no fault of ours.
        self.keys = LASTING if fault.clock == "server" else KEYS
        if fault.replica:
            self.replica = self.add_server("replica")
            self.replica.call("REPLICAOF", "127.0.0.1", self.primary.port)
            wait_until(self.replica.follows, 20, "the replica does not follow")
        self.proxy = ProxyProcess(PROCESSES, self.primary.port, self.connected)
        options = ["--coherence", self.mode, "--prefix", PREFIX, "--op-timeout",
                   str(OP_TIMEOUT_MS), "--heartbeat", str(HEARTBEAT_MS), "--lease", str(LEASE_MS),
                   "--off-link", self.rng.choice(["miss", "stale"])] + fault.options
        self.history.put("run", mode=self.mode, fault=self.fault_name, seed=self.seed,
                         op_timeout_ms=OP_TIMEOUT_MS, lease_ms=LEASE_MS, heartbeat_ms=HEARTBEAT_MS,
                         processes=PROCESSES, options=options)
        where = self.start_sentinel() if fault.sentinel else None
        for index in range(PROCESSES):
            url = ["--redis", "redis://127.0.0.1:%d/0" % self.proxy.ports[index]]
            self.shells.append(Shell(self.program, where or url, options,
                                     os.path.join(self.folder, "process%d.log" % index),
                                     clock if fault.clock == "client" else None))
        self.noise = Noise(self.history, self.groups)
        for shell in self.shells:
            wait_until(lambda s=shell: s.stats().get("link") == "live", 15, "a link is not live")

    def groups(self):
        """Whose waiting delays what: the servers and proxies everybody, a process itself."""
        groups = {str(i): [shell.process.pid] for i, shell in enumerate(self.shells)}
        groups["server"] = [s.process.pid for s in self.servers if s.process]
        groups["server"].append(self.proxy.process.pid)
        groups["driver"] = [os.getpid()]
        return groups

    def work(self):
        for index, shell in enumerate(self.shells):
            self.workers.append(Worker(index, shell, self.history, self.seed, self.keys,
                                       self.ended))
        if self.mode == "tracking":
            self.plain = PlainWriter(lambda: Redis(self.primary.port, 1.0), self.history,
                                     self.seed, self.ended)
            self.plain.start()
        for worker in self.workers:
            worker.start()

    def drive(self, index, line):
        """One more call of a process, while its worker rests (quiet_work)."""
        words = line.split()
        fields = {"op": words[0], "k": words[1]}
        if words[0] == "set":
            self.extra += 1
            value = "%s.x%d" % (words[2], self.extra)
            line = "set %s %s 0" % (words[1], value)
            fields.update(v=value, ttl=0)
        return self.workers[index].one(line, [fields])

    # ---- the course of a run ----

    def run(self):
        try:
            self.begin()
            self.work()
            time.sleep(0.4 + 0.3 * self.rng.random())
            begin = time.monotonic_ns()
            concerns = FAULTS[self.fault_name].run(self, self.rng) or {}
            self.history.put("fault", name=self.fault_name, b=begin, e=time.monotonic_ns(),
                             **concerns)
            time.sleep(RECOVER_S + 0.3)
            self.ended.set()
            if self.plain:
                self.plain.join(5)
            for worker in self.workers:
                worker.join(15)
                if worker.is_alive():
                    worker.failure = "process %d hangs" % worker.index
            if not self.monitors[-1].is_alive():
                raise RuntimeError("the monitor has ended")
            failures = [w.failure for w in self.workers + self.monitors if w.failure]
            if failures:
                raise RuntimeError("; ".join(failures))
            self.look()
        finally:
            self.end()

    def settled(self):
        stats = [shell.stats() for shell in self.shells]
        return all(s.get("link") == "live" and s.get("bytes_journal") == 0 for s in stats)

    def look(self):
        """All is quiet: what does everybody say?"""
        begin = time.monotonic_ns()
        try:
            wait_until(self.settled, 10, "not settled")
            self.history.put("settled", b=begin, e=time.monotonic_ns())
        except TimeoutError:
            self.history.put("settled", b=begin, e=None)
        time.sleep(X_S)
        for index, shell in enumerate(self.shells):
            for key in self.keys:
                for attempt in range(4):  # a busy machine lets a deadline pass now and then
                    answer, b, e = shell.ask("get " + key)
                    fresh = answer and (answer == "NIL" or answer.startswith("VAL "))
                    self.history.put("op", p=index, g=self.workers[index].generation, b=b, e=e,
                                     op="get", k=key, r=answer, last=fresh or attempt == 3)
                    if fresh:
                        break
            self.history.put("own", p=index, **self.own_write(index, shell))
            self.history.put("end", p=index, g=self.workers[index].generation,
                             calls=self.workers[index].calls, stats=shell.stats())
        with Redis(self.primary.port) as redis:
            for key in self.keys:
                self.history.put("final", k=key, v=redis.call("GET", key), at=time.monotonic_ns())

    def own_write(self, index, shell):
        """How often a process had to write a key until its next read was local (I11)."""
        for attempt in range(1, 5):
            answer = self.drive(index, "set %sown%d own" % (PREFIX, index))
            before = shell.stats().get("hits_local", 0)
            read = self.drive(index, "get %sown%d" % (PREFIX, index))
            if answer == "OK" and shell.stats().get("hits_local", 0) > before:
                break
        return {"attempts": attempt, "read": read}

    def end(self):
        self.ended.set()
        for shell in self.shells:
            shell.go_on()
            shell.kill()
        if self.noise:
            self.noise.close()
        if self.proxy:
            self.proxy.close()
        for server in self.servers:
            server.kill()
        for monitor in self.monitors:
            monitor.close()
        self.history.close()
        shutil.rmtree(self.folder, ignore_errors=True)
