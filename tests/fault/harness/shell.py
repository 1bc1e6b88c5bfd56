"""A process under test: `nearcache shell` behind its own proxy, driven one line at a time."""
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time

from server import clock_environment

LIMIT_S = 20  # no answer for so long: the process hangs


class Hang(Exception):
    """A call that does not come back at all."""


class Shell:
    """One thread at a time, but for kill, stop and go on."""

    def __init__(self, program, where, options, log_path, clock_file=None):
        self.command = [program, "shell"] + where + options
        self.log_path = log_path
        self.environment = dict(os.environ)
        if clock_file:
            self.environment.update(clock_environment(clock_file))
        self.process = None
        self.start()

    def start(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, bufsize=0,
                                        env=self.environment)
        log.close()
        self.buffer = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def ask(self, line):
        """Returns (answer, begin_ns, end_ns); the answer is None when the process has ended."""
        begin = time.monotonic_ns()
        try:
            self.process.stdin.write(line.encode() + b"\n")
            while b"\n" not in self.buffer:
                if not self.selector.select(LIMIT_S):
                    raise Hang(line)
                data = os.read(self.process.stdout.fileno(), 65536)
                if not data:
                    return None, begin, time.monotonic_ns()
                self.buffer += data
        except OSError:
            return None, begin, time.monotonic_ns()
        end = time.monotonic_ns()
        answer, self.buffer = self.buffer.split(b"\n", 1)
        return answer.decode("latin-1"), begin, end

    def stats(self):
        answer, _, _ = self.ask("stats")
        if not answer or not answer.startswith("STATS "):
            return {}
        pairs = (word.split("=", 1) for word in answer.split()[1:])
        return {k: int(v) if v.isdigit() else v for k, v in pairs}

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


class ProxyProcess:
    """proxy.py as a child. Thread-safe."""

    def __init__(self, count, target, on_connection):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "proxy.py")
        self.process = subprocess.Popen([sys.executable, path, str(count), str(target)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.on_connection = on_connection
        self.answers = queue.Queue()
        self.lock = threading.Lock()
        threading.Thread(target=self.listen, daemon=True).start()
        self.ports = self.order("ports")

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "done" in said:
                self.answers.put(said["done"])
            else:
                self.on_connection(said["server"], said["port"], said["conn"])

    def order(self, what, **fields):
        with self.lock:
            self.process.stdin.write(json.dumps(dict(fields, do=what)).encode() + b"\n")
            return self.answers.get(timeout=10)

    def mode(self, who, mode, value=0):
        return self.order("mode", who=who, mode=mode, value=value)

    def close(self):
        self.process.kill()
        self.process.wait()
