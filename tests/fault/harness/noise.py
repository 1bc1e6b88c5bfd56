"""How long the threads of a run were ready and did not run: a busy machine delays everything, and
what it delayed is not judged. The kernel counts it for each thread (/proc/PID/task/TID/schedstat).
"""
import os
import threading
import time

PERIOD_S = 0.025


class Noise(threading.Thread):
    """Records a `stall` for each period in which the threads waited for more than a moment."""

    def __init__(self, history, pids):
        super().__init__(daemon=True)
        self.history, self.pids = history, pids  # pids: a function, the processes change
        self.ended = threading.Event()
        self.known = {}
        self.start()

    def waited_ns(self):
        total = 0
        for pid in self.pids():
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
        self.waited_ns()
        while not self.ended.wait(PERIOD_S):
            end = time.monotonic_ns()
            late = max(0, end - begin - int(PERIOD_S * 1e9))
            waited = self.waited_ns() + late
            if waited > 1_000_000:
                self.history.put("stall", b=begin, e=end, ns=waited)
            begin = end

    def close(self):
        self.ended.set()
        self.join(2)
