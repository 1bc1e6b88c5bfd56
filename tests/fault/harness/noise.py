"""How long the threads of a run were ready and did not run: a busy machine delays everything, and
what it delayed is not judged. The kernel counts it for each thread (/proc/PID/task/TID/schedstat).
"""
import os
import threading
import time

PERIOD_S = 0.025


class Noise(threading.Thread):
    """Records a `stall` for each period in which the threads waited for more than a moment."""

    def __init__(self, history, groups):
        super().__init__(daemon=True)
        # A function, because processes change: {"driver": pids, "server": pids, "0": pids, ...}
        self.history, self.groups = history, groups
        self.ended = threading.Event()
        self.known = {}
        self.start()

    def waited_ns(self, pids):
        total = 0
        for pid in pids:
            folder = "/proc/%d/task" % pid
            try:
                threads = os.listdir(folder)
            except OSError:
                continue
            for thread in threads:
                try:
                    with open("%s/%s/schedstat" % (folder, thread), "rb") as file:
                        waited = int(file.read().split()[1])
                except (OSError, IndexError, ValueError):
                    continue
                total += waited - self.known.get(thread, waited)
                self.known[thread] = waited
        return total

    def run(self):
        begin = time.monotonic_ns()
        for pids in self.groups().values():
            self.waited_ns(pids)
        while not self.ended.wait(PERIOD_S):
            end = time.monotonic_ns()
            waited = {name: self.waited_ns(pids) for name, pids in self.groups().items()}
            if sum(waited.values()) > 1_000_000:
                self.history.put("stall", b=begin, e=end, ns=waited)
            begin = end

    def close(self):
        self.ended.set()
        self.join(2)
