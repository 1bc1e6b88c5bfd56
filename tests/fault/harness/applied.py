"""From the lines of MONITOR to `apply` records: which value each key had, in the server's order,
and on whose connection it was made so."""

WRITERS = {"set", "mset", "del", "pexpire", "unlink", "getdel"}


class Applied:
    """One server. Used by its monitor's thread."""

    def __init__(self, history, port, prefix, servers=()):
        self.history, self.port, self.prefix = history, port, prefix
        self.servers = servers  # ports of those whose stream this one may follow as a replica
        self.script = None
        self.on = True

    def line(self, at, db, source, words):
        command = words[0].lower()
        if ":" in source:
            port = int(source.rsplit(":", 1)[1])
            if port in self.servers:
                return
        if command in ("evalsha", "eval"):
            self.script = (source, words)
            return
        if command in ("flushall", "swapdb", "flushdb"):
            if self.on:
                self.history.put("wipe", at=at, what=command)
            return
        if db != 0 or command not in WRITERS or not self.on or len(words) < 2:
            return
        if source == "lua":
            if self.script:
                self.effect(at, command, words, *self.script)
        elif words[1].startswith(self.prefix):
            self.record(at, command, words, self.via(source), "plain", {})

    def via(self, source):
        """The connection: a `conn` record says whose it is."""
        return [self.port, int(source.rsplit(":", 1)[1]) if ":" in source else 0]

    def effect(self, at, command, words, source, script):
        if not words[1].startswith(self.prefix):
            return
        if command == "mset":
            for at_word in range(1, len(words), 2):
                self.effect(at, "set", ["set"] + words[at_word:at_word + 2], source, script)
            return
        count = int(script[2])
        keys, args = script[3:3 + count], script[3 + count:]
        kind, more = "write", {}
        if count == 3 and len(args) >= 7 and args[2] in "sd" and args[6] in "pt":
            kind, more = "replay", {"stamp": int(args[5]), "deadline": int(args[4])}
        elif words[1] in keys:
            # The smallest deadline of the call and, if they differ, that of each key.
            first = 3 if keys[0].endswith(":s") else 0
            each = args[first + 1].split() if len(args) > first + 1 else []
            number = keys.index(words[1]) - (2 if first else 0)
            limit = each[number] if 0 <= number < len(each) else args[first] if args else ""
            more = {"not_after": int(limit)} if limit.isdigit() else {}
        self.record(at, command, words, self.via(source), kind, more)

    def record(self, at, command, words, via, kind, more):
        lower = [w.lower() for w in words]
        ttl = int(words[lower.index("px") + 1]) if "px" in lower[3:] else 0
        keys = words[1:] if command in ("del", "unlink") else words[1:2]
        for key in keys:
            self.history.put("apply", at=at, k=key, v=words[2] if command == "set" else None,
                             ttl=ttl, via=via, kind=kind, **more)
