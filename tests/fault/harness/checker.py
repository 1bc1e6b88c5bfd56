"""Judges a recorded history by the invariants of docs/coherence.md.

    checker.py HISTORY...      prints what is wrong; exit status 1 when something is

The order in which the server applied the writes of a key comes from its MONITOR, so each value has
a position. A FRESH answer (VAL, NIL) must stand at or behind the newest write that was acknowledged
a bound before; the bound is X while the link is up and L + d in any state. What the machine itself
delayed (`stall`) is added to every bound.
"""
import bisect
import sys

import history as histories

MS = 1_000_000
X, D, SLACK, RECOVER = 100 * MS, 10 * MS, 250 * MS, 2500 * MS
DEGRADED = ("STALE", "ERR", "LOCAL")


class State:
    """What a key was from one moment of the server on."""

    def __init__(self, record, expires, deleted):
        self.at, self.value = record["at"], None if deleted else record.get("v")
        self.kind, self.process = record.get("kind", record["t"]), record.get("p")
        self.expires = expires  # no later than this ...
        self.expires_first = expires and expires - 50 * MS  # ... and no earlier than this
        self.record = record
        self.op = None  # the call that made it, if it is known

    def made_by(self, op):
        """The monitor told of it a little later than it happened; the call bounds the moment."""
        self.op = op
        if op["r"] == "OK" and self.kind in ("write", "plain"):
            late = max(0, self.at - op["e"])
            self.at -= late
            if self.expires is not None:
                self.expires -= late
        if self.expires is not None and op.get("ttl"):
            self.expires_first = op["b"] + op["ttl"] * MS

    def absent_by(self, when):
        return self.value is None or (
            self.expires is not None and self.expires_first <= when)


class Key:
    """The states of one key in the server's order and the calls that concern it."""

    def __init__(self, name):
        self.name = name
        self.states = [State({"at": -1, "t": "begin"}, None, True)]
        self.positions = {}
        self.ops = []
        self.acked_ends, self.acked_most = [], []  # sorted by end; prefix maximum of positions

    def add(self, record, expires, deleted=False):
        self.states.append(State(record, expires, deleted))
        if self.states[-1].value is not None:
            self.positions.setdefault(self.states[-1].value, []).append(len(self.states) - 1)

    def required(self, until):
        """The position of the newest write that was acknowledged by then."""
        at = bisect.bisect_right(self.acked_ends, until)
        return self.acked_most[at - 1] if at else 0


class Check:
    def __init__(self, records):
        self.run = next(r for r in records if r["t"] == "run")
        # By the server's own time: what two monitors told arrived in any order.
        moments = sorted((r for r in records if r["t"] in ("apply", "wipe", "found")),
                         key=lambda r: r["at"])
        self.records = [r for r in records if r["t"] not in ("apply", "wipe", "found")] + moments
        self.faults = [r for r in records if r["t"] == "fault"]
        self.kills = [r["at"] for r in records if r["t"] == "found"]
        self.ops = [r for r in records if r["t"] == "op"]
        self.ends = [r for r in records if r["t"] == "end"]
        self.settled = next((r for r in records if r["t"] == "settled"), None)
        self.found = []
        self.keys = {}
        self.stale_ms, self.superseded = [], 0
        self.tracking = self.run["mode"] == "tracking"
        # The kernel counts a wait when it ends: it began that much earlier.
        self.stalls = [(r["e"], min(r["b"], r["e"] - max(r["ns"].values())), r["ns"])
                       for r in records if r["t"] == "stall"]

    def wrong(self, rule, text, record=None):
        where = ""
        if record:
            where = " [%.3f s, process %s: %s %s -> %s]" % (
                (record["b"] - self.ops[0]["b"]) / 1e9, record["p"], record["op"], record["k"],
                record["r"])
        self.found.append(rule + ": " + text + where)

    def noise(self, begin, end, process=None):
        """Waits that may have delayed what a process knows; without one: everybody's."""
        total = 0
        for at in range(bisect.bisect_left(self.stalls, (begin,)), len(self.stalls)):
            stall_end, stall_begin, waited = self.stalls[at]
            if stall_end > end + 2000 * MS:
                break
            if stall_begin <= end:
                total += sum(waited.values()) if process is None else \
                    waited["server"] + waited.get(str(process), 0)
        return total

    # ---- what the server did ----

    def key(self, name):
        if name not in self.keys:
            self.keys[name] = Key(name)
        return self.keys[name]

    def whose(self):
        """Whose connection each write came on; ports are used again in time."""
        known = {}
        for r in self.records:
            if r["t"] == "conn":
                known.setdefault(tuple(r["via"]), []).append((r["at"], r["p"]))
        # Without a proxy between, the values that came on a connection tell.
        makers = {op["v"]: op["p"] for op in self.ops if op["op"] == "set"}
        for r in self.records:
            if r["t"] == "apply" and tuple(r["via"]) not in known and r["v"] in makers:
                known[tuple(r["via"])] = [(0, makers[r["v"]])]
        for r in self.records:
            if r["t"] == "apply":
                owners = known.get(tuple(r["via"]), [(0, None)])
                earlier = [p for at, p in owners if at <= r["at"]]
                r["p"] = earlier[-1] if earlier else owners[0][1]

    def build(self):
        self.whose()
        for op in self.ops:
            self.key(op["k"]).ops.append(op)
        for r in self.records:
            if r["t"] == "apply":
                ttl = r["ttl"]
                self.key(r["k"]).add(r, r["at"] + ttl * MS if ttl else None, r["v"] is None)
            elif r["t"] == "wipe":
                for key in self.keys.values():
                    key.add(r, None, True)
            elif r["t"] == "found":
                key = self.key(r["k"])
                last = key.states[-1]
                now = None if last.absent_by(r["at"] + 50 * MS) else last.value
                if r["v"] != now and r["v"] != last.value:
                    key.add(r, r["at"] + r["pttl"] * MS if r["pttl"] >= 0 else None,
                            r["v"] is None)
        self.learn_clocks()
        for key in self.keys.values():
            self.attribute(key)

    def attribute(self, key):
        """Which call made which state; where each call's write stands."""
        by_value, deletes = {}, {}
        for op in key.ops:
            op["at"] = None
            if op["op"] == "set":
                by_value[op["v"]] = op
            elif op["op"] == "del":
                deletes.setdefault(op["p"], []).append(op)
        for position, state in enumerate(key.states):
            op = None
            if state.value is not None:
                op = by_value.get(state.value)
            elif state.kind in ("write", "replay"):
                anybody = sorted((o for o in key.ops if o["op"] == "del"), key=lambda o: o["b"])
                op = self.delete_behind(state, deletes.get(state.process, anybody))
            if op:
                state.made_by(op)
            if state.op and (state.op["at"] is None or state.op["r"] != "OK"):
                state.op["at"] = position
        acked = [(op["e"], op["at"]) for op in key.ops
                 if op["op"] != "get" and op["r"] == "OK" and op["at"] is not None]
        # Nobody acknowledges that all keys went away; a lease later everybody has noticed.
        acked += [(state.at + self.run["lease_ms"] * MS, position)
                  for position, state in enumerate(key.states) if state.kind == "wipe"]
        acked.sort()
        most = 0
        for end, at in acked:
            most = max(most, at)
            key.acked_ends.append(end)
            key.acked_most.append(most)

    def learn_clocks(self):
        """How far the server's clock is ahead of ours, seen from the writes with a value of their
        own: not_after is the call's deadline in the server's time."""
        by_value = {op["v"]: op for op in self.ops if op["op"] == "set"}
        self.clocks = {}
        for r in self.records:
            if r["t"] == "apply" and r["v"] in by_value and 0 < r.get("not_after", 0) < 1 << 52:
                op = by_value[r["v"]]
                self.clocks.setdefault(op["p"], []).append(
                    (op["b"], r["not_after"] * 1000 - self.run["op_timeout_ms"] * MS - op["b"]))
        for clocks in self.clocks.values():
            clocks.sort()

    def ahead(self, process, when):
        clocks = self.clocks.get(process)
        if not clocks:
            return None
        at = bisect.bisect_left(clocks, (when, 0))
        return min(clocks[max(0, at - 1):at + 1], key=lambda c: abs(c[0] - when))[1]

    def delete_behind(self, state, deletes):
        """A delete has no value of its own: its call is the one that began when its deadline or
        stamp says."""
        best, least = None, None
        for op in deletes:
            if op["b"] > state.at:
                break
            if op["r"] == "OK" and (state.kind == "replay" or op["at"] is not None):
                continue  # an acknowledged call is applied once, and by itself
            began = state.record.get("stamp", 0) * 1000 if state.kind == "replay" else \
                state.record.get("not_after", 0) * 1000 - self.run["op_timeout_ms"] * MS
            ahead = self.ahead(op["p"], op["b"]) if 0 < began < 1 << 62 else None
            error = abs(began - ahead - op["b"]) if ahead is not None else state.at - op["b"]
            if least is None or error <= least:
                best, least = op, error
        return best

    # ---- what was read ----

    def isolated(self, op):
        """Among those that a primary of their own answered, or whose proof is from then."""
        for isolated in (f["isolated"] for f in self.faults if "isolated" in f):
            end = isolated["e"] + self.run["lease_ms"] * MS + D
            if op["p"] == isolated["p"] and isolated["b"] - X <= op["e"] and \
                    op["b"] <= end + self.noise(isolated["e"], end, op["p"]):
                return True
        return False

    def disturbed(self, process, when):
        return any((process in f.get("who", (0, 1, 2))) and
                   f["b"] - MS <= when <= f["e"] + RECOVER + self.noise(f["e"], when)
                   for f in self.faults)

    def bound(self, op):
        if not self.disturbed(op["p"], op["b"]):
            bound = X
        elif any("drops" in f for f in self.faults):
            bound = 2 * self.run["heartbeat_ms"] * MS + 5 * D
        else:
            bound = self.run["lease_ms"] * MS + D
        return bound + self.noise(op["b"] - bound, op["e"], op["p"])

    def fresh(self, key, op):
        """A FRESH answer and what it may be."""
        if op["r"] == "NIL":
            self.absence(key, op)
        elif op["r"].startswith("VAL "):
            self.value(key, op, op["r"][4:])

    def value(self, key, op, value):
        positions = key.positions.get(value)
        if not positions:
            self.wrong("I1b", "a value that was never in Redis", op)
            return
        best = positions[-1]
        bound = self.bound(op)
        self.note_staleness(key, op, best)
        if best < key.required(op["b"] - bound):
            newer = key.states[key.required(op["b"] - bound)]
            self.wrong("I1" if bound < 2 * X else "I1b",
                       "fresh, but %s was acknowledged %d ms before" % (
                           newer.value, self.age(key, op, best)), op)
        if best < self.own(key, op):
            self.wrong("I1", "older than the own write", op)
        slack = D + self.noise(op["b"] - 50 * MS, op["e"])
        ends = [key.states[p].expires for p in positions]
        if all(end is not None and end + slack < op["b"] for end in ends):
            self.wrong("I7", "fresh %d ms after its deadline" % ((op["b"] - max(ends)) // MS), op)
        self.never_back(key, op, positions)

    def age(self, key, op, position):
        """How long before the read a newer write than this one was acknowledged, in ms."""
        ends = [o["e"] for o in key.ops if o["op"] != "get" and o["r"] == "OK"
                and o["at"] is not None and o["at"] > position and o["e"] < op["b"]]
        return (op["b"] - min(ends)) / MS if ends else 0

    def note_staleness(self, key, op, position):
        age = self.age(key, op, position) if position < key.required(op["b"]) else 0
        self.superseded += age > 0
        self.stale_ms.append(age)

    def absence(self, key, op):
        if any(f.get("evicts") and f["b"] <= op["e"] and op["b"] <= f["e"] + X
               for f in self.faults):
            return
        required = max(key.required(op["b"] - self.bound(op)), self.own(key, op))
        late = op["e"] + D + self.noise(op["b"], op["e"])
        positions = [i for i in range(required, len(key.states))
                     if key.states[i].absent_by(late) and key.states[i].at <= late]
        if not positions:
            self.wrong("I1b", "absent, but %s was acknowledged before" %
                       key.states[required].value, op)
            return
        self.note_staleness(key, op, positions[-1])
        self.never_back(key, op, positions)

    def own(self, key, op):
        known = getattr(key, "own_acked", None)
        if known is None:
            known = key.own_acked = {}
            for o in key.ops:
                if o["op"] != "get" and o["r"] == "OK" and o["at"] is not None:
                    most = known.setdefault((o["p"], o["g"]), [])
                    most.append((o["e"], max(o["at"], most[-1][1] if most else 0)))
        mine = known.get((op["p"], op["g"]), [])
        at = bisect.bisect_right(mine, (op["b"], 1 << 60))
        return mine[at - 1][1] if at else 0

    def never_back(self, key, op, positions):
        seen = self.seen.get((key.name, op["p"], op["g"]), 0)
        forward = [p for p in positions if p >= seen]
        if not forward:
            self.wrong("I2", "went back to an older version than it had served", op)
            return
        self.seen[(key.name, op["p"], op["g"])] = forward[0]

    def reads(self):
        self.seen = {}
        for op in self.ops:
            if op["op"] == "get" and not self.isolated(op):
                self.fresh(self.keys[op["k"]], op)

    # ---- what was written ----

    def order(self):
        """I5, I6: nothing that was over before an acknowledged write began stands behind it."""
        if any(f.get("backward") for f in self.faults):
            return
        for key in self.keys.values():
            newest, newest_at = None, 0
            for position, state in enumerate(key.states):
                op = state.op
                if op and op["p"] == "f" and op["r"] == "GONE":
                    continue  # a plain program's command has no deadline: it may come at any time
                if state.kind in ("found", "wipe"):
                    newest = None  # the server lost what it had
                    continue
                # Plain deletes leave no trace: one absence is like another.
                unknowable = self.tracking and state.kind == "replay" and \
                    key.states[position - 1].absent_by(state.at)
                if op and newest and op is not newest and not unknowable:
                    slack = 0
                    if state.kind == "replay" and op["p"] != newest["p"]:
                        slack = D + self.round_trip() + self.noise(op["b"] - X, op["e"], op["p"])
                    if op["e"] + slack < newest["b"]:
                        rule = "I6" if state.kind == "replay" else "I5"
                        self.wrong(rule, "%s of %s (%s, ended %d ms earlier) replaced %s of "
                                   "position %d" % (state.kind, op.get("v", "a delete"), op["r"],
                                                    (newest["b"] - op["e"]) // MS,
                                                    newest.get("v", "a delete"), newest_at), op)
                if op and op["r"] == "OK" and state.kind != "replay" and \
                        (newest is None or op["b"] > newest["b"]):
                    newest, newest_at = op, position

    def round_trip(self):
        return max([f.get("rtt_ms", 0) for f in self.faults], default=0) * MS

    def lost(self):
        """I3: each OK or LOCAL write is in Redis, unless a newer one is or it was reported."""
        refused = {}
        for key in self.keys.values():
            for number, op in enumerate(key.ops):
                if op["op"] == "get" or op["at"] is not None or op["p"] == "f":
                    continue
                if op["r"] == "OK" and not self.near_kill(op) and not self.isolated(op):
                    self.wrong("I3", "acknowledged, and never applied", op)
                elif op["r"] == "LOCAL" and not self.replaced(key, number, op) and \
                        not self.was_so(key, op):
                    refused.setdefault((op["p"], op["g"]), []).append(op)
        told = {(e["p"], e["g"]): e["stats"].get("journal_refused", 0)
                + e["stats"].get("journal_dropped", 0) for e in self.ends}
        for who, ops in refused.items():
            if who not in told:
                continue  # the process was killed, its journal with it
            for op in ops:
                if not self.has_reason(self.keys[op["k"]], op):
                    self.wrong("I3", "LOCAL, never applied, and nothing newer stands", op)
            if len(ops) > told[who]:
                self.wrong("I3", "process %s: %d LOCAL writes were not applied, %d reported" % (
                    who[0], len(ops), told[who]))

    def near_kill(self, op):
        return any(op["e"] - 100 * MS < at < op["e"] + 5000 * MS for at in self.kills)

    @staticmethod
    def replaced(key, number, op):
        """A later call of the same process took its place in the journal, or the value that a
        replay found was already so."""
        return any(o["op"] != "get" and o["p"] == op["p"] and o["g"] == op["g"]
                   and o["r"] in ("OK", "LOCAL") for o in key.ops[number + 1:])

    @staticmethod
    def was_so(key, op):
        """The replay of a delete found the key gone by a newer delete: nothing to do or to report."""
        return op["op"] == "del" and any(s.at >= op["b"] and s.value is None and
                                         s.kind in ("write", "replay") for s in key.states)

    def has_reason(self, key, op):
        if self.tracking or any(f.get("refuses") for f in self.faults):
            return True  # the value is not what it was, or the index does not know: told by a count
        if op["op"] == "set" and op["ttl"]:
            return True  # its time may have been over before Redis was back: told by a count
        when = op["b"] - 2 * D - self.noise(op["b"] - 50 * MS, op["e"]) - self.round_trip()
        return any(s.at >= when for s in key.states[1:])

    # ---- the rest ----

    def durations(self):
        limit = self.run["op_timeout_ms"] * MS + SLACK
        stopped = [f for f in self.faults if f.get("stops")]
        for op in self.ops:
            if op["p"] == "f" or any(f["b"] - MS < op["e"] and op["b"] < f["e"] and
                                     op["p"] in f["who"] for f in stopped):
                continue
            if op["e"] - op["b"] > limit + self.noise(op["b"], op["e"]):
                self.wrong("I4", "took %d ms" % ((op["e"] - op["b"]) // MS), op)

    def recovery(self):
        """I9; returns the times from a fault's end to each process' last degraded answer."""
        times = {}
        for op in self.ops:
            if op["p"] == "f" or op["r"].split(" ")[0] not in DEGRADED + ("GONE",):
                continue
            after = [f for f in self.faults if op["p"] in f.get("who", (0, 1, 2))
                     and f["b"] <= op["e"]]
            if not after:
                if op["r"] != "GONE" and \
                        self.noise(op["b"] - 50 * MS, op["e"]) < self.run["op_timeout_ms"] * MS / 3:
                    self.wrong("I9", "degraded without a fault", op)
                continue
            late = op["e"] - after[-1]["e"]
            if late > 0:
                times[op["p"]] = late / MS
            if op["b"] - after[-1]["e"] > RECOVER + self.noise(after[-1]["e"], op["e"]) and \
                    self.noise(op["b"] - 50 * MS, op["e"]) < self.run["op_timeout_ms"] * MS / 3:
                self.wrong("I9", "degraded %d ms after the fault ended" % (
                    (op["b"] - after[-1]["e"]) // MS), op)
        if not self.settled or self.settled["e"] is None:
            self.wrong("I9", "no process is settled: %s" % [
                (e["p"], e["stats"].get("link"), e["stats"].get("bytes_journal"))
                for e in self.ends])
        return times

    def agreement(self):
        """I2: when all is quiet everybody says what Redis has."""
        for r in self.records:
            if r["t"] != "final":
                continue
            key = self.key(r["k"])
            last = key.states[-1]
            if last.value != r["v"] and not (r["v"] is None and last.absent_by(r["at"] + D)):
                self.wrong("I2", "Redis has %s for %s, the last write was %s" % (
                    r["v"], r["k"], last.value))
            for op in key.ops:
                if not op.get("last"):
                    continue
                said = op["r"][4:] if op["r"].startswith("VAL ") else None
                if not op["r"].startswith("VAL ") and op["r"] != "NIL":
                    self.wrong("I9", "not fresh when all is quiet", op)
                elif said != r["v"] and not (r["v"] is None and last.expires):
                    self.wrong("I2", "when all is quiet Redis has %s" % r["v"], op)

    def replayed_ttl(self):
        """I7: what is replayed ends no later than it would have."""
        for key in self.keys.values():
            for state in key.states:
                op = state.op
                if state.kind == "replay" and op and op.get("ttl") and state.expires:
                    late = state.expires - (op["e"] + op["ttl"] * MS)
                    if late > 2 * D + self.noise(state.at - 100 * MS, state.at) + self.round_trip():
                        self.wrong("I7", "the replayed TTL grew by %d ms" % (late // MS), op)

    def counts(self):
        """I10: every call is counted as what it was answered."""
        for end in self.ends:
            stats = end["stats"]
            counted = sum(stats.get(n, 0) for n in
                          ("writes", "deletes", "writes_local", "write_errors"))
            calls = end["calls"]["set"] + end["calls"]["del"]
            if counted != calls:
                self.wrong("I10", "process %d: %d writes and deletes called, %d counted" % (
                    end["p"], calls, counted))
            full = sum(op["r"] == "ERR journal full" for op in self.ops
                       if op["p"] == end["p"] and op["g"] == end["g"])
            if stats.get("journal_full", 0) != full:
                self.wrong("I10", "process %d: %d writes refused by a full journal, %d told" % (
                    end["p"], stats["journal_full"], full))
        for fault in self.faults:
            held = fault.get("journal", {"bytes": [], "most": 0})
            if max(held["bytes"], default=0) > held["most"]:
                self.wrong("I10", "a journal of %s bytes, the bound is %d" % (
                    held["bytes"], held["most"]))

    def kept(self):
        """I11 and I12: what need not be dropped stays."""
        for r in self.records:
            if r["t"] == "own" and not self.tracking and r["attempts"] == 4 and \
                    r["read"].startswith("VAL"):
                self.wrong("I11", "process %d does not keep its own writes" % r["p"])
        for fault in self.faults:
            missed = fault.get("missed")
            if missed and (missed["epochs"] or missed["fetched"] > missed["changed"] +
                           self.noise(fault["b"], fault["e"]) // (500 * MS)):
                self.wrong("I12", "%d keys had changed, %d were read again, %d epochs" % (
                    missed["changed"], missed["fetched"], missed["epochs"]))

    def all(self):
        self.build()
        self.reads()
        self.order()
        self.lost()
        self.durations()
        times = self.recovery()
        self.agreement()
        self.replayed_ttl()
        self.counts()
        self.kept()
        return times


def check(records):
    """Returns (what is wrong, what was measured)."""
    judged = Check(records)
    times = judged.all()
    answers = {}
    for op in judged.ops:
        if op["p"] != "f":
            word = (op["op"] if op["op"] == "get" else "write") + " " + op["r"].split(" ")[0]
            answers[word] = answers.get(word, 0) + 1
    kept = ("journal_queued", "journal_replayed", "journal_refused", "journal_dropped", "gaps",
            "repairs", "epochs", "race_discards", "redis_connects", "staleness_max_us")
    counters = {name: sum(e["stats"].get(name, 0) for e in judged.ends) for name in kept}
    return judged.found, {
        "answers": answers, "counters": counters, "recovery_ms": times,
        "stale_ms": [round(age, 2) for age in judged.stale_ms if age > 0],
        "fresh": len(judged.stale_ms),
        "noise_ms": sum(sum(stall[2].values()) for stall in judged.stalls) // MS}


def summary(measured):
    """One line of figures."""
    if "answers" not in measured:
        return ""
    answers, counters = measured["answers"], measured["counters"]
    return "%d fresh (%d superseded, most %.0f ms), writes %d ok %d local %d err, replayed %d " \
        "refused %d, recovery %.0f ms, noise %d ms" % (
            measured["fresh"], len(measured["stale_ms"]), max(measured["stale_ms"], default=0),
            answers.get("write OK", 0), answers.get("write LOCAL", 0), answers.get("write ERR", 0),
            counters["journal_replayed"], counters["journal_refused"],
            max(measured["recovery_ms"].values(), default=0), measured["noise_ms"])


if __name__ == "__main__":
    status = 0
    for path in sys.argv[1:]:
        found, measured = check(histories.read(path))
        print(path + ": " + summary(measured))
        for text in found:
            print("    " + text)
            status = 1
    sys.exit(status)
