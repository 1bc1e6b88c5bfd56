"""TCP proxies of the clients under test, one listener for each, in a process of their own.

Commands are JSON lines on standard input, one answer line each. A client's traffic is in one mode:

    pass            forwarded
    cut             connections are closed, new ones too
    freeze          nothing moves and nobody is told (half-open)
    delay MS        both directions late by MS
    hold            what the client sends waits for `release`, even when the client has gone
    drop SHARE      that share of the invalidation messages is lost
    slow BYTES      at most that many bytes a second reach the client
    late-replies MS replies are late, but a subscriber's messages are not
    stuck           nothing is read from the server for a subscriber

`orphan` ends the client's side of connections whose bytes are held; `release` lets those go.

`target` moves new connections to another server. Every connection that is made to a server is
told as {"conn": client, "port": P}: MONITOR shows that port.
"""
import heapq
import json
import os
import random
import selectors
import socket
import sys
import time

CHUNK = 65536


def frame_end(data, at):
    """Where the RESP value that begins at `at` ends, or None while it is not complete."""
    eol = data.find(b"\r\n", at)
    if eol < 0:
        return None
    kind, number = data[at:at + 1], data[at + 1:eol]
    end = eol + 2
    if kind == b"$":
        end += int(number) + 2 if int(number) >= 0 else 0
        return end if end <= len(data) else None
    if kind == b"*":
        for _ in range(max(0, int(number))):
            end = frame_end(data, end)
            if end is None:
                return None
    return end


class Side:
    """One socket of a pair: what waits to be written to it, and the socket that it is read into."""

    def __init__(self, sock, pair):
        self.sock, self.pair, self.peer = sock, pair, None
        self.out = bytearray()
        self.open = True
        self.events = 0


class Pair:
    def __init__(self, client, down, up):
        self.client = client
        self.down, self.up = Side(down, self), Side(up, self)
        self.down.peer, self.up.peer = self.up, self.down
        self.held = bytearray()  # client's bytes that wait for `release`
        self.frames = bytearray()
        self.subscriber = False
        self.late = [0, 0]  # chunks under way by delay, to keep their order


class Client:
    def __init__(self, index, target):
        self.index, self.target = index, target
        self.mode, self.value = "pass", 0
        self.random = random.Random(index)
        self.dropped = 0
        self.credit_at, self.credit = 0.0, 0.0
        self.pairs = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)


class Proxy:
    def __init__(self, count, target):
        self.selector = selectors.DefaultSelector()
        self.clients = [Client(i, target) for i in range(count)]
        self.delayed = []  # heap of (due, number, side, data); data None: close
        self.number = 0
        self.input = b""
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, self.commands)
        for client in self.clients:
            self.selector.register(client.listener, selectors.EVENT_READ,
                                   lambda mask, c=client: self.accept(c))

    def say(self, **fields):
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    # ---- connections ----

    def accept(self, client):
        try:
            down, _ = client.listener.accept()
        except OSError:
            return
        if client.mode == "cut":
            down.close()
            return
        try:
            up = socket.create_connection(("127.0.0.1", client.target), 1.0)
        except OSError:
            down.close()
            return
        self.say(conn=client.index, port=up.getsockname()[1], server=client.target)
        pair = Pair(client, down, up)
        client.pairs.add(pair)
        for side in (pair.down, pair.up):
            side.sock.setblocking(False)
            side.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.watch(side)

    def watch(self, side):
        """Reads unless frozen or short of credit; writes while something waits."""
        client = side.pair.client
        wanted = 0
        if side.open:
            from_server = side is side.pair.up
            stopped = client.mode == "freeze" or (
                from_server and (client.mode == "slow" and client.credit <= 0 or
                                 client.mode == "stuck" and side.pair.subscriber))
            if not stopped and side.peer.open and len(side.peer.out) < 1 << 20:
                wanted |= selectors.EVENT_READ
            elif not stopped and not side.peer.open:
                wanted |= selectors.EVENT_READ
            if side.out and client.mode != "freeze":
                wanted |= selectors.EVENT_WRITE
        if wanted == side.events:
            return
        if side.events and wanted:
            self.selector.modify(side.sock, wanted, lambda mask, s=side: self.serve(s, mask))
        elif wanted:
            self.selector.register(side.sock, wanted, lambda mask, s=side: self.serve(s, mask))
        else:
            self.selector.unregister(side.sock)
        side.events = wanted

    def shut(self, side):
        if not side.open:
            return
        side.open = False
        self.watch(side)
        side.sock.close()

    def shut_pair(self, pair):
        self.shut(pair.down)
        self.shut(pair.up)
        pair.client.pairs.discard(pair)

    def serve(self, side, mask):
        if mask & selectors.EVENT_WRITE and side.open:
            self.flush(side)
        if mask & selectors.EVENT_READ and side.open:
            try:
                data = side.sock.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.arrived(side, data)

    def arrived(self, side, data):
        pair, client = side.pair, side.pair.client
        from_client = side is pair.down
        if from_client and b"SUBSCRIBE" in data:
            pair.subscriber = True
        holds = client.mode == "hold" and not pair.subscriber
        if from_client and (holds or pair.held):
            pair.held += data
            if not data:
                self.shut(side)  # the client has gone, its bytes have not
            return
        if client.mode == "slow" and not from_client:
            client.credit -= len(data)
        if data and pair.subscriber and not from_client:
            data = self.filter(pair, data)
            if not data:
                return
        late = pair.late[from_client]
        delays = client.mode == "delay" or (
            client.mode == "late-replies" and not from_client and not pair.subscriber)
        if delays or late:
            due = time.monotonic() + (client.value / 1000 if delays else 0)
            self.number += 1
            pair.late[from_client] += 1
            heapq.heappush(self.delayed, (max(due, self.newest(side)), self.number, side, data))
            side.newest_due = max(due, self.newest(side))
        else:
            self.forward(side, data)

    @staticmethod
    def newest(side):
        return getattr(side, "newest_due", 0.0)

    def filter(self, pair, data):
        """Takes invalidation messages out of a subscriber's stream."""
        client = pair.client
        pair.frames += data
        out, at = bytearray(), 0
        while at < len(pair.frames):
            end = frame_end(pair.frames, at)
            if end is None:
                break
            frame = pair.frames[at:end]
            at = end
            lost = (client.mode == "drop" and frame.startswith(b"*3\r\n$7\r\nmessage\r\n")
                    and b":inv\r\n" in frame[:80] and client.random.random() < client.value)
            client.dropped += lost
            if not lost:
                out += frame
        del pair.frames[:at]
        return bytes(out)

    def forward(self, side, data):
        if not data:
            self.shut_pair(side.pair)
            return
        if side.peer.open:
            side.peer.out += data
            self.flush(side.peer)

    def flush(self, side):
        try:
            while side.out:
                sent = side.sock.send(side.out)
                del side.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.shut_pair(side.pair)
            return
        self.watch(side)
        self.watch(side.peer)

    # ---- orders ----

    def commands(self, _mask):
        data = os.read(0, CHUNK)
        if not data:
            sys.exit(0)
        self.input += data
        while b"\n" in self.input:
            line, self.input = self.input.split(b"\n", 1)
            self.say(done=self.obey(json.loads(line)))

    def obey(self, order):
        what = order["do"]
        if what == "ports":
            return [c.listener.getsockname()[1] for c in self.clients]
        answer = 0
        for index in order.get("who", range(len(self.clients))):
            client = self.clients[index]
            if what == "mode":
                self.set_mode(client, order["mode"], order.get("value", 0))
            elif what == "release":
                answer += self.release(client)
            elif what == "target":
                client.target = order["port"]
            elif what == "close":
                for pair in list(client.pairs):
                    self.shut_pair(pair)
            elif what == "orphan":
                for pair in client.pairs:
                    if pair.held:
                        self.shut(pair.down)
            elif what == "dropped":
                answer += client.dropped
        return answer

    def set_mode(self, client, mode, value):
        held = [p for p in client.pairs if p.held] if mode != "hold" else []
        client.mode, client.value = mode, value
        client.credit, client.credit_at = 0.0, time.monotonic()
        for pair in list(client.pairs):
            if mode == "cut":
                self.shut_pair(pair)
            elif pair not in held:
                self.watch(pair.down)
                self.watch(pair.up)

    def release(self, client):
        """What was held back arrives now, whether its sender still lives or not."""
        count = 0
        for pair in list(client.pairs):
            if pair.held and pair.up.open:
                count += 1
                pair.up.out += pair.held
                pair.held.clear()
                self.flush(pair.up)
        return count

    def tick(self):
        now = time.monotonic()
        while self.delayed and self.delayed[0][0] <= now:
            _, _, side, data = heapq.heappop(self.delayed)
            side.pair.late[side is side.pair.down] -= 1
            if side.open or data:
                self.forward(side, data)
        for client in self.clients:
            if client.mode == "slow":
                was = client.credit
                client.credit = min(client.value, client.credit
                                    + (now - client.credit_at) * client.value)
                client.credit_at = now
                if was <= 0 < client.credit:
                    for pair in list(client.pairs):
                        self.watch(pair.up)

    def run(self):
        while True:
            wait = 0.02 if any(c.mode == "slow" for c in self.clients) else 1.0
            if self.delayed:
                wait = max(0.0, min(wait, self.delayed[0][0] - time.monotonic()))
            for key, mask in self.selector.select(wait):
                key.data(mask)
            self.tick()


if __name__ == "__main__":
    Proxy(int(sys.argv[1]), int(sys.argv[2])).run()
