"""What each process does: a seeded mix of reads, writes and deletes on few keys, each written value
used once, so that a value tells which write it is."""
import random
import threading
import time

PREFIX = "k:"
HOT = [PREFIX + "c%d" % i for i in range(4)]
COLD = [PREFIX + "d%d" % i for i in range(8)]  # read as often, but seldom written
LASTING = HOT + COLD
ENDING = [PREFIX + "t%d" % i for i in range(3)]  # with a TTL
KEYS = LASTING + ENDING
MEAN_S = 0.006
READS = 0.66
MANY = 0.2  # the share of reads, and of writes, that are batches


def batch_of(rng, key, keys):
    """Some keys of one call: the one and others that end, or last, as it does."""
    alike = [k for k in keys if (k in ENDING) == (key in ENDING)]
    return rng.sample(alike, min(len(alike), rng.randrange(2, 7)))


def plan(rng, name, keys):
    """The endless list of operations of one process: (pause, line, one record's fields for each key
    of it)."""
    count = 0
    written = [k for k in keys if k not in COLD]
    while True:
        pause = rng.expovariate(1 / MEAN_S)
        roll = rng.random()
        many = rng.random() < MANY
        key = rng.choice(keys if roll < READS or rng.random() < 0.1 else written)
        if roll < READS:
            chosen = batch_of(rng, key, keys) if many else [key]
            yield (pause, ("mget " if many else "get ") + " ".join(chosen),
                   [{"op": "get", "k": k} for k in chosen])
        elif roll < 0.92:
            chosen = batch_of(rng, key, written if key in written else keys) if many else [key]
            ttl = rng.randrange(150, 1500) if key in ENDING else 0
            fields = []
            for k in chosen:
                count += 1
                fields.append({"op": "set", "k": k, "v": "%s.%d" % (name, count), "ttl": ttl})
            pairs = " ".join("%s %s" % (f["k"], f["v"]) for f in fields)
            yield (pause, "mset %d %s" % (ttl, pairs) if many else "set %s %d" % (pairs, ttl),
                   fields)
        else:
            yield pause, "del " + key, [{"op": "del", "k": key}]


class Worker(threading.Thread):
    """Drives one process; starts it again when a fault has killed it."""

    def __init__(self, index, shell, history, seed, keys, ended):
        super().__init__(daemon=True)
        self.index, self.shell, self.history = index, shell, history
        self.plan = plan(random.Random("%s/process %d" % (seed, index)), "p%d" % index, keys)
        self.busy = threading.Lock()  # held during a call
        self.ended = ended
        self.restart = threading.Event()
        self.failure = None
        self.reads_only = False
        self.generation = 0
        self.calls = {"get": 0, "set": 0, "del": 0}

    def run(self):
        try:
            while not self.ended.is_set():
                pause, line, fields = next(self.plan)
                time.sleep(pause)
                if self.reads_only and fields[0]["op"] != "get":
                    continue
                with self.busy:
                    self.one(line, fields)
        except Exception as error:  # the run as a whole fails
            self.failure = "process %d: %s: %s" % (self.index, type(error).__name__, error)

    def one(self, line, fields):
        """`fields`: of each key in the line. Returns the answer."""
        answer, begin, end = self.shell.ask(line)
        answers = ["GONE"] * len(fields) if answer is None else \
            answer.split("\t")[1:] if line.startswith("m") else [answer]
        if len(answers) != len(fields):
            raise RuntimeError("%s -> %s" % (line, answer))
        for of_key, said in zip(fields, answers):
            self.history.put("op", p=self.index, g=self.generation, b=begin, e=end, r=said,
                             **of_key)
            if answer is not None:
                self.calls[of_key["op"]] += 1
        if answer is not None:
            return answer
        if not self.ended.is_set():
            if not self.restart.wait(10):
                raise RuntimeError("the process has ended by itself")
            self.restart.clear()
            self.generation += 1
            self.calls = {"get": 0, "set": 0, "del": 0}
            self.shell.start()
        return answer


class PlainWriter(threading.Thread):
    """A program that knows nothing of the library and SETs the same keys (tracking mode)."""

    def __init__(self, redis, history, seed, ended):
        super().__init__(daemon=True)
        self.redis, self.history, self.ended = redis, history, ended  # redis: a function
        self.rng = random.Random("%s/plain" % seed)
        self.paused = threading.Event()
        self.busy = threading.Lock()  # held during a call
        self.count, self.connection = 0, None

    def run(self):
        while not self.ended.is_set():
            time.sleep(self.rng.expovariate(1 / 0.03))
            with self.busy:
                if self.paused.is_set():
                    self.connection = None
                else:
                    self.one()

    def one(self):
        self.count += 1
        key, value = self.rng.choice(LASTING), "f.%d" % self.count
        begin = time.monotonic_ns()
        try:
            self.connection = self.connection or self.redis()
            self.connection.call("SET", key, value)
            answer = "OK"
        except Exception:  # the server is away: neither done nor not done
            self.connection, answer = None, "GONE"
        self.history.put("op", p="f", g=0, b=begin, e=time.monotonic_ns(), op="set", k=key,
                         v=value, ttl=0, r=answer)
