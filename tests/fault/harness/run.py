"""Runs the fault harness: every fault that applies, by mode and seed.

    run.py [--program PATH] [--faults a,b] [--modes pubsub,tracking] [--seeds N | --seed S]
           [--short | --mutants] [--jobs N] [--keep FOLDER] [--figures FILE]

Each run prints one line with its seed; the same fault, mode and seed make the same plan of
operations and of the fault. Exit status 1: an invariant does not hold somewhere.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import checker  # noqa: E402
import history  # noqa: E402
from faults import BOTH, FAULTS  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="./nearcache")
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--modes", default=",".join(BOTH))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="what make check runs")
    parser.add_argument("--keep", help="keep the histories in this folder")
    parser.add_argument("--figures", help="write what was measured there, JSON lines")
    parser.add_argument("--mutants", action="store_true",
                        help="each rule that is switched off must be noticed")
    parser.add_argument("--one", nargs=4, metavar=("FAULT", "MODE", "SEED", "HISTORY"),
                        help=argparse.SUPPRESS)
    return parser.parse_args()


def one(options):
    """A single run, in a process of its own."""
    from scenario import Scenario
    sys.setswitchinterval(0.0005)
    fault, mode, seed, path = options.one
    Scenario(options.program, mode, fault, int(seed), path).run()


SHORT = (("cut", "pubsub"), ("cut", "tracking"), ("kill", "pubsub"), ("stop", "tracking"),
         ("hold", "pubsub"), ("drop", "pubsub"), ("missed-keys", "pubsub"), ("kicked", "tracking"))


# What switches off a rule, and the faults in which that shows.
MUTANTS = (
    ("no_ticket", "late-replies", "pubsub"),
    ("no_ticket", "late-replies", "tracking"),
    ("no_not_after", "hold", "pubsub"),
    ("no_not_after", "hold", "tracking"),
    ("early_give_up", "hiccup", "pubsub"),
    ("no_lease", "half-open", "pubsub"),
    ("no_lease", "half-open", "tracking"),
    ("no_gap_check", "drop", "pubsub"),
    ("idle_heartbeat", "stranded", "pubsub"),
    ("idle_heartbeat", "stranded", "tracking"),
    ("late_stamp", "cut", "pubsub"),
    ("unindexed_delete", "cut", "pubsub"),
    ("resume_unobserved", "cut", "pubsub"),
)


def plans(options):
    if options.short:
        for fault, mode in SHORT:
            yield fault, mode, options.first
        return
    seeds = [options.seed] if options.seed is not None else \
        range(options.first, options.first + options.seeds)
    for seed in seeds:
        for fault in options.faults.split(","):
            for mode in options.modes.split(","):
                if mode in FAULTS[fault].modes:
                    yield fault, mode, seed


def start(options, folder, plan, mutant=""):
    fault, mode, seed = plan
    path = os.path.join(folder, "%s%s-%s-%d.jsonl" % (mutant and mutant + "-", fault, mode, seed))
    with open(path + ".log", "wb") as log:
        process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--program",
                                    options.program, "--one", fault, mode, str(seed), path],
                                   stdout=log, stderr=log,
                                   env=dict(os.environ, NEARCACHE_MUTANT=mutant))
    return process, plan, path, time.monotonic()


def judge_mutants(options, folder):
    """Each mutant runs with one seed after the other until it is noticed."""
    waiting = [(m, options.first) for m in MUTANTS]
    running, missed = [], 0
    while waiting or running:
        while waiting and len(running) < options.jobs:
            mutant, seed = waiting.pop(0)
            running.append((mutant, seed, start(options, folder, mutant[1:] + (seed,), mutant[0])))
        for entry in [r for r in running if r[2][0].poll() is not None]:
            running.remove(entry)
            (name, fault, mode), seed, (process, _, path, _) = entry
            found = checker.check(history.read(path))[0] if process.returncode == 0 else []
            if found:
                print("caught  %-18s %-12s %-8s seed %d: %d, the first: %s" % (
                    name, fault, mode, seed, len(found), found[0]))
            elif seed + 1 < options.first + options.seeds:
                waiting.append((entry[0], seed + 1))
            else:
                print("MISSED  %-18s %-12s %-8s in %d seeds" % (name, fault, mode, options.seeds))
                missed += 1
            sys.stdout.flush()
        time.sleep(0.02)
    print("%d of %d mutants were missed" % (missed, len(MUTANTS)))
    return 1 if missed else 0


def finish(job, figures):
    """Judges a run that has ended. Returns how many things were found wrong."""
    process, (fault, mode, seed), path, began = job
    if process.returncode != 0:
        with open(path + ".log", encoding="utf-8", errors="replace") as log:
            found, measured = ["the run failed: " + (log.read().strip() or "?")[-600:]], {}
    else:
        found, measured = checker.check(history.read(path))
    measured.update(fault=fault, mode=mode, seed=seed, found=len(found))
    if figures:
        figures.write(json.dumps(measured) + "\n")
        figures.flush()
    print("%s %-12s %-8s seed %-4d %4.1f s  %s" % (
        "FAIL" if found else "ok  ", fault, mode, seed, time.monotonic() - began,
        checker.summary(measured)))
    for text in found[:8]:
        print("     " + text)
    if len(found) > 8:
        print("     and %d more" % (len(found) - 8))
    sys.stdout.flush()
    return len(found)


def main():
    options = arguments()
    if options.one:
        one(options)
        return 0
    folder = options.keep or tempfile.mkdtemp(prefix="nearcache-fault-history.")
    os.makedirs(folder, exist_ok=True)
    if options.mutants:
        return judge_mutants(options, folder)
    figures = open(options.figures, "a", encoding="ascii") if options.figures else None
    waiting, running, wrong, runs = list(plans(options)), [], 0, 0
    while waiting or running:
        while waiting and len(running) < options.jobs:
            running.append(start(options, folder, waiting.pop(0)))
        for job in [j for j in running if j[0].poll() is not None]:
            running.remove(job)
            runs += 1
            bad = finish(job, figures) > 0
            wrong += bad
            if not bad and not options.keep:
                os.unlink(job[2])
                os.unlink(job[2] + ".log")
        time.sleep(0.02)
    if wrong:
        print("%d of %d runs failed; their histories are in %s" % (wrong, runs, folder))
        return 1
    if not options.keep:
        os.rmdir(folder)
    print("%d runs, nothing wrong" % runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
