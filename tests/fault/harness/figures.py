"""Tables of what the runs of the harness measured, as Markdown.

    figures.py FILE...      FILE: what run.py --figures wrote
"""
import json
import sys


def percentile(sorted_values, share):
    if not sorted_values:
        return 0
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


class Row:
    """All runs of one fault in one mode."""

    def __init__(self):
        self.runs = self.failed = self.fresh = 0
        self.stale, self.recovery = [], []
        self.answers, self.counters = {}, {}

    def add(self, run):
        self.runs += 1
        self.failed += run["found"] > 0
        self.fresh += run.get("fresh", 0)
        self.stale += run.get("stale_ms", [])
        self.recovery.append(max(run.get("recovery_ms", {}).values(), default=0))
        for into, given in ((self.answers, run.get("answers", {})),
                            (self.counters, run.get("counters", {}))):
            for name, count in given.items():
                into[name] = into.get(name, 0) + count


def main():
    rows = {}
    for path in sys.argv[1:]:
        with open(path, encoding="ascii") as lines:
            for line in lines:
                run = json.loads(line)
                rows.setdefault((run["mode"], run["fault"]), Row()).add(run)
    for mode in ("pubsub", "tracking"):
        print("\n### %s\n" % ("Pub/sub mode" if mode == "pubsub" else "Tracking mode"))
        print("| fault | runs | FRESH answers | superseded | p50 | p99 | max | recovery p50 | max |"
              " OK | LOCAL | replayed | refused | errors |")
        print("|---|" + "---:|" * 13)
        total = [0] * 8
        for (_, fault), row in sorted(r for r in rows.items() if r[0][0] == mode):
            ages, recovery = sorted(row.stale), sorted(row.recovery)
            counts = [row.runs, row.fresh, len(row.stale), row.answers.get("write OK", 0),
                      row.answers.get("write LOCAL", 0), row.counters.get("journal_replayed", 0),
                      row.counters.get("journal_refused", 0)
                      + row.counters.get("journal_dropped", 0), row.answers.get("write ERR", 0)]
            total = [a + b for a, b in zip(total, counts)]
            print("| %s | %d%s | %d | %d | %.0f | %.0f | %.0f | %.0f | %.0f | %d | %d | %d | %d | "
                  "%d |" % (fault, row.runs, " (%d failed)" % row.failed if row.failed else "",
                            row.fresh, len(row.stale), percentile(ages, 0.5),
                            percentile(ages, 0.99), ages[-1] if ages else 0,
                            percentile(recovery, 0.5), recovery[-1], *counts[3:]))
        print("| all | %d | %d | %d | | | | | | %d | %d | %d | %d | %d |" % tuple(total))


if __name__ == "__main__":
    main()
