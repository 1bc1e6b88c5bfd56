"""What goes wrong. Each fault is a function of the scenario and a seeded random source that returns
when the fault has ended; what it returns says whom it concerned (`who`, default all) and what else
the checker has to know."""
import signal
import time
from collections import namedtuple

Fault = namedtuple("Fault", "run modes clock")
FAULTS = {}
BOTH = ("pubsub", "tracking")


def fault(name, modes=BOTH, clock=None):
    def add(function):
        FAULTS[name] = Fault(function, modes, clock)
        return function
    return add


def some(rng, processes=3):
    """One process, or all but one."""
    who = list(range(processes))
    rng.shuffle(who)
    return sorted(who[:rng.choice([1, 1, 2])])


@fault("none")
def nothing(run, rng):
    time.sleep(0.5)


# ---- the network ----

@fault("cut")
def cut(run, rng):
    who = some(rng)
    run.proxy.mode(who, "cut")
    time.sleep(rng.uniform(0.1, 2.5))
    run.proxy.mode(who, "pass")
    return {"who": who}


@fault("half-open")
def half_open(run, rng):
    who = some(rng)
    run.proxy.mode(who, "freeze")
    time.sleep(rng.uniform(0.3, 3.0))
    run.proxy.mode(who, "pass")
    return {"who": who}


# ---- the server ----

@fault("kill")
def kill_server(run, rng):
    everybody = [0, 1, 2]
    run.proxy.mode(everybody, "cut")
    run.primary.kill()
    time.sleep(rng.uniform(0.0, 1.5))
    restart(run)


def restart(run):
    """Starts the server again; nobody reaches it before its monitor stands."""
    run.proxy.mode([0, 1, 2], "cut")
    if run.plain:
        run.plain.paused.set()
    run.primary.start()
    run.proxy.order("target", port=run.primary.port)
    run.watch(run.primary)
    run.dump(run.primary)
    run.proxy.mode([0, 1, 2], "pass")
    if run.plain:
        run.plain.paused.clear()


@fault("stop")
def stop_server(run, rng):
    run.primary.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 3.0))
    run.primary.signal(signal.SIGCONT)
