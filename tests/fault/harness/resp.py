"""A small Redis client for the harness: blocking calls, and MONITOR as a record of what was done.

Redis' own MONITOR is the judge's view of a run: it tells every command in the order in which the
server executed it, those inside scripts included, so the checker needs to infer nothing.
"""
import re
import socket
import threading
import time


class RedisError(Exception):
    """An error reply."""


class Redis:
    """One blocking connection. One thread."""

    def __init__(self, port, timeout=2.0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, *args):
        parts = [b"*%d\r\n" % len(args)]
        for arg in args:
            data = arg if isinstance(arg, bytes) else str(arg).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.sock.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) != size + 2:
                raise ConnectionError("the connection ended")
            return data[:-2].decode("latin-1")
        return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]


WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
LINE = re.compile(rb"^\+([0-9.]+) \[(\d+) ([^\]]+)\] (.*)$")
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")


def unescape(match):
    code = match.group(1)
    if code[0] == "x":
        return chr(int(code[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b"}.get(code, code)


def words_of(text):
    words = (m.group(1).decode("latin-1") for m in WORD.finditer(text))
    return [ESCAPE.sub(unescape, w) if "\\" in w else w for w in words]


class Monitor(threading.Thread):
    """Calls on_line(at_ns, db, source, words) for each command that the server executed."""

    def __init__(self, port, on_line, true_clock):
        super().__init__(daemon=True)
        # The server's own time of a line is better than when it got here, if its clock is ours.
        self.ahead = time.time_ns() - time.monotonic_ns() if true_clock else None
        self.port, self.on_line, self.closed = port, on_line, False
        self.failure = None
        self.connect()
        self.start()

    def connect(self):
        self.redis = Redis(self.port, 5.0)
        if self.redis.call("MONITOR") != "OK":
            raise RedisError("no MONITOR")
        self.redis.sock.settimeout(None)

    def run(self):
        try:
            self.listen()
            while not self.closed:
                self.connect()  # a Sentinel that promotes a server ends its connections
                self.listen()
        except OSError:
            pass  # the server has gone
        except Exception as error:  # the run as a whole fails
            self.failure = "monitor: %s: %s" % (type(error).__name__, error)

    def listen(self):
        try:
            for line in self.redis.file:
                self.line(line)
        except OSError:
            pass

    def line(self, line):
        at = time.monotonic_ns()
        match = LINE.match(line.rstrip(b"\r\n"))
        if match and self.ahead is not None:
            at = min(at, int(float(match.group(1)) * 1e6) * 1000 - self.ahead)
        if match:
            self.on_line(at, int(match.group(2)), match.group(3).decode(),
                         words_of(match.group(4)))

    def close(self):
        """What has been sent is still read; then the thread ends."""
        self.closed = True
        try:
            self.redis.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.join(5)
