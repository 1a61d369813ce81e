"""l2proxy: a TCP proxy before a real broker that loses, delays or alters chosen answers: faults that a healthy
broker does not give, at moments that a test names. The broker advertises the proxy's address, so all clients pass here.

    proxy = Proxy(broker_port, listen_port)
    proxy.on(END_TXN, drop_request, times=1)     # the next one
    proxy.slow(0.05)                             # every request takes so much longer, until slow(0)
    proxy.cut()                                  # every connection there is breaks
"""

import socket
import struct
import threading
import time

LIST_OFFSETS = 2
OFFSET_FETCH = 9
END_TXN = 26
ADD_OFFSETS_TO_TXN = 25


class Rule:
    def __init__(self, api, action, times):
        self.api, self.action, self.left = api, action, times
        self.hits = 0


def pass_on(link, frame):
    """Nothing happens: what follows on this rule is about a later one."""
    return frame


def drop_request(link, frame):
    """The broker never sees it."""
    return None


def drop_answer(link, frame):
    """The broker does it, the client never hears of it."""
    link.lost.add(correlation(frame))
    return frame


def delay_request(seconds):
    """It arrives late, long after the client gave up; what follows on this connection waits behind it."""

    def action(link, frame):
        time.sleep(seconds)
        return frame

    return action


def cut_after_request(link, frame):
    """The broker does it, the connection breaks before the answer."""
    link.lost.add(correlation(frame))
    link.cut = True
    return frame


def fail_with(code):
    """The broker does not see it; the answer is the error, for answers of {throttle, error}."""

    def action(link, frame):
        link.answer(struct.pack(">iih", correlation(frame), 0, code))
        return None

    return action


def correlation(frame):
    return struct.unpack_from(">i", frame, 4)[0]


def read_frame(sock):
    head = read_exactly(sock, 4)
    return None if head is None else read_exactly(sock, struct.unpack(">i", head)[0])


def read_exactly(sock, n):
    data = bytearray()
    while len(data) < n:
        try:
            part = sock.recv(min(n - len(data), 1 << 20))
        except OSError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


class Link:
    """One client connection and its twin to the broker."""

    def __init__(self, proxy, client, broker):
        self.proxy, self.client, self.broker = proxy, client, broker
        self.lost = set()
        self.cut = False
        with proxy.lock:
            proxy.links.add(self)
        self.lock = threading.Lock()
        self.halves = 2
        for target in (self.up, self.down):
            threading.Thread(target=target, daemon=True).start()

    def close(self):
        """Each direction ends with this; the last one gives the sockets back."""
        with self.lock:
            self.halves -= 1
            last = self.halves == 0
        if last:
            with self.proxy.lock:
                self.proxy.links.discard(self)
        for sock in (self.client, self.broker):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if last:
                sock.close()

    def answer(self, body):
        with self.lock:
            self.client.sendall(struct.pack(">i", len(body)) + body)

    def up(self):
        while (frame := read_frame(self.client)) is not None:
            if self.proxy.latency_s > 0:
                time.sleep(self.proxy.latency_s)
            frame = self.proxy.judge(self, frame)
            if frame is not None:
                try:
                    self.broker.sendall(struct.pack(">i", len(frame)) + frame)
                except OSError:
                    break
        self.close()

    def down(self):
        while (frame := read_frame(self.broker)) is not None:
            number = struct.unpack_from(">i", frame)[0]
            if number in self.lost:
                self.lost.discard(number)
                if self.cut:
                    break
                continue
            try:
                self.answer(frame)
            except OSError:
                break
        self.close()


class Proxy:
    def __init__(self, broker_port, port):
        self.broker_port = broker_port
        self.rules = []
        self.links = set()
        self.latency_s = 0
        self.seen = {}
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self.broker_port))
            except OSError:
                client.close()
                continue
            for sock in (client, broker):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Link(self, client, broker)

    def on(self, api, action, times=1):
        rule = Rule(api, action, times)
        with self.lock:
            self.rules.append(rule)
        return rule

    def judge(self, link, frame):
        api = struct.unpack_from(">h", frame)[0]
        with self.lock:
            self.seen[api] = self.seen.get(api, 0) + 1
            rule = next((r for r in self.rules if r.api == api and r.left > 0), None)
            if rule is None:
                return frame
            rule.left -= 1
            rule.hits += 1
        return rule.action(link, frame)

    def slow(self, seconds):
        """What a client sends arrives so much later, one after another on each connection."""
        self.latency_s = seconds

    def cut(self):
        """Breaks every connection there is; new ones are let through."""
        with self.lock:
            links = list(self.links)
        for link in links:
            for sock in (link.client, link.broker):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.server.close()
