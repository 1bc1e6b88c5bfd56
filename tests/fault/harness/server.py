"""redis-server processes of a run: private ports and folders, ended by process id."""
import os
import random
import signal
import socket
import struct
import subprocess
import time

from resp import Redis, RedisError

def free_port():
    """A port of this machine that nobody listens on; below the ephemeral ones, so that no outgoing
    connection takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(12000, 30000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, RedisError, ConnectionError):
            pass
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.005)


class Server:
    """One redis-server with an append-only file, so that being killed loses nothing."""

    def __init__(self, folder, name, clock_file=None):
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder)
        self.port = free_port()
        self.process = None
        self.args = []
        self.environment = dict(os.environ)
        if clock_file:
            self.environment.update(clock_environment(clock_file))

    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "no",
                "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"] + self.args

    def start(self):
        log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log,
                                        stdin=subprocess.DEVNULL, env=self.environment)
        log.close()
        wait_until(self.answers, 20, "redis-server does not answer")

    def answers(self):
        if self.process.poll() is not None:
            self.port = free_port()  # somebody else was faster
            self.start()
        with Redis(self.port) as redis:
            return redis.call("PING") == "PONG"

    def call(self, *args):
        with Redis(self.port) as redis:
            return redis.call(*args)

    def follows(self):
        return "master_link_status:up" in self.call("INFO", "replication")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def forget_data(self):
        folder = os.path.join(self.folder, "appendonlydir")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            os.unlink(os.path.join(folder, name))


class Sentinel(Server):
    """Watches a primary; one of them is a majority."""

    def __init__(self, folder, primary):
        super().__init__(folder, "sentinel")
        self.file = os.path.join(self.folder, "sentinel.conf")
        with open(self.file, "w", encoding="ascii") as out:
            out.write("sentinel monitor main 127.0.0.1 %d 1\n"
                      "sentinel down-after-milliseconds main 400\n"
                      "sentinel failover-timeout main 3000\n" % primary.port)

    def command(self):
        return ["redis-server", self.file, "--sentinel", "--port", str(self.port), "--bind",
                "127.0.0.1", "--dir", self.folder]

    def replica_link(self):
        """What it thinks of the link between primary and replica."""
        for replica in self.call("SENTINEL", "REPLICAS", "main"):
            fields = dict(zip(replica[::2], replica[1::2]))
            if "down" not in fields["flags"] and "disconnected" not in fields["flags"]:
                return fields["master-link-status"]
        return None

    def primary_port(self):
        address = self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
        return int(address[1]) if address else 0


def build_clock(folder):
    """The library that makes wall clocks jump; see clock.c."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock.c")
    library = os.path.join(folder, "clock.so")
    subprocess.run([os.environ.get("CC", "cc").split()[0], "-O2", "-shared", "-fPIC", "-o", library,
                    source], check=True)
    set_clock(os.path.join(folder, "clock"), 0)


def clock_environment(path):
    """For a process whose wall clock follows the file at `path`."""
    return {"LD_PRELOAD": os.path.join(os.path.dirname(path), "clock.so"),
            "NEARCACHE_FAULT_CLOCK": path}


def set_clock(path, seconds):
    """In place: the processes have mapped the file."""
    with open(path, "r+b" if os.path.exists(path) else "wb", buffering=0) as out:
        out.write(struct.pack("=q", int(seconds * 1e9)))
