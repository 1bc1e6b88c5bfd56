"""The recorded history of a run: JSON lines, all times from one monotonic clock in ns.

    run     what was run: mode, fault, seed, deadlines
    op      one call of a process: begin, end, answer
    apply   what a server executed for one key, in its order (from MONITOR)
    conn    a connection to a server, and the process behind it
    found   what a key was when a server took over
    wipe    a server's keys went away or were replaced as a whole
    fault   begin and end of a fault and the processes it concerns
    stall   time that the threads of a run were ready and did not run (the machine's noise)
    end     what each process and Redis say when all is quiet, and the counters
"""
import json
import threading


class History:
    """Thread-safe."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="ascii")
        self.lock = threading.Lock()

    def put(self, what, /, **fields):
        line = json.dumps(dict(fields, t=what)) + "\n"
        with self.lock:
            if not self.file.closed:
                self.file.write(line)

    def close(self):
        with self.lock:
            self.file.close()


def read(path):
    with open(path, encoding="ascii") as lines:
        return [json.loads(line) for line in lines]
