"""A ZMTP peer (RFC 23 and 37) that is neither libzmq nor ours: NULL mechanism, PUB, SUB, XPUB and XSUB, versions 3.0 and 3.1.

Each socket has a thread that keeps its connections; messages and notices of subscriptions come out of queues.
"""
import queue
import socket
import struct
import threading
import time
from collections import Counter

MORE, LONG, COMMAND = 1, 2, 4


def frame(flags, body):
    if len(body) > 255:
        return struct.pack(">BQ", flags | LONG, len(body)) + body
    return struct.pack(">BB", flags, len(body)) + body


def command(name, data):
    return frame(COMMAND, bytes([len(name)]) + name + data)


class Connection:
    def __init__(self, owner, stream):
        self.owner, self.stream = owner, stream
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = stream.makefile("rb", 1 << 16)
        self.lock = threading.Lock()
        self.wanted = Counter()
        self.minor = 0

    def write(self, data):
        with self.lock:
            self.stream.sendall(data)

    def exactly(self, count):
        data = self.input.read(count)
        if len(data) < count:
            raise ConnectionError("closed")
        return data

    def frame(self):
        flags = self.exactly(1)[0]
        assert flags <= MORE | LONG | COMMAND, flags
        (length,) = struct.unpack(">Q", self.exactly(8)) if flags & LONG else self.exactly(1)
        return flags, self.exactly(length)

    def handshake(self):
        kind = self.owner.kind.encode()
        greeting = struct.pack(">B8xBBB20s32x", 0xFF, 0x7F, 3, self.owner.minor, b"NULL")
        self.write(greeting)
        theirs = self.exactly(64)
        assert theirs[0] == 0xFF and theirs[9] == 0x7F and theirs[10] >= 3, theirs
        assert theirs[12:32] == b"NULL".ljust(20, b"\0"), theirs
        self.minor = min(self.owner.minor, theirs[11] if theirs[10] == 3 else 1)
        self.write(command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind))
        flags, body = self.frame()
        assert flags & COMMAND and body.startswith(b"\x05READY"), body
        fits = {"PUB": (b"SUB", b"XSUB"), "SUB": (b"PUB", b"XPUB")}[self.owner.kind.lstrip("X")]
        assert any(b"Socket-Type" + struct.pack(">I", len(other)) + other in body for other in fits), body

    def tell(self, subscribe, topic):
        if self.minor >= 1:
            self.write(command(b"SUBSCRIBE" if subscribe else b"CANCEL", topic))
        else:
            self.write(frame(0, bytes([subscribe]) + topic))

    def heard(self, subscribe, topic):
        self.wanted[topic] += 1 if subscribe else -1
        self.owner.notices.put((subscribe, topic))

    def serve(self):
        self.handshake()
        self.owner.join(self)
        frames = []
        while True:
            flags, body = self.frame()
            if flags & COMMAND:
                assert not frames and not flags & MORE, "a command inside of a message"
                name, data = body[1 : 1 + body[0]], body[1 + body[0] :]
                if name in (b"SUBSCRIBE", b"CANCEL"):
                    assert self.minor >= 1, "a command of 3.1 for a peer of 3.0"
                    self.heard(name == b"SUBSCRIBE", data)
                elif name == b"PING":
                    assert self.minor >= 1, "a command of 3.1 for a peer of 3.0"
                    self.write(command(b"PONG", data[2:]))
                continue
            frames.append(body)
            if not flags & MORE:
                message, frames = frames, []
                if self.owner.kind in ("SUB", "XSUB"):
                    self.owner.inbox.put(message)
                elif message[0][:1] in (b"\0", b"\1"):
                    self.heard(message[0][0] == 1, message[0][1:])


class Socket:
    def __init__(self, kind, minor, bound, port):
        self.kind, self.minor = kind, minor
        self.inbox, self.notices = queue.Queue(), queue.Queue()
        self.connections, self.wanted = [], Counter()
        self.lock, self.closed, self.failure, self.listener = threading.RLock(), False, None, None
        address = ("127.0.0.1", port)
        if bound:
            self.listener = socket.create_server(address)
            threading.Thread(target=self.accept, daemon=True).start()
        else:
            threading.Thread(target=self.connect, args=(address,), daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.run, args=(stream,), daemon=True).start()

    def connect(self, address):
        while not self.closed:
            try:
                stream = socket.create_connection(address)
            except OSError:
                time.sleep(0.02)  # The back-off of a client.
                continue
            self.run(stream)

    def run(self, stream):
        connection = Connection(self, stream)
        try:
            connection.serve()
        except OSError:
            pass
        except AssertionError as error:
            self.failure = repr(error)
        with self.lock:
            if connection in self.connections:
                self.connections.remove(connection)
        stream.close()

    def join(self, connection):
        with self.lock:
            self.connections.append(connection)
            for topic, count in self.wanted.items():
                for _ in range(count):
                    connection.tell(True, topic)

    def tell(self, subscribe, topic):
        with self.lock:
            self.wanted[topic] += 1 if subscribe else -1
            for connection in self.connections:
                connection.tell(subscribe, topic)

    def send(self, frames):
        last = len(frames) - 1
        data = b"".join(frame(MORE if n < last else 0, body) for n, body in enumerate(frames))
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            if any(count > 0 and frames[0].startswith(topic) for topic, count in list(connection.wanted.items())):
                try:
                    connection.write(data)
                except OSError:
                    pass  # As any PUB: who is gone gets nothing.

    def close(self):
        with self.lock:
            self.closed = True
            if self.listener:
                self.listener.shutdown(socket.SHUT_RDWR)  # Wakes `accept`, which would hold the port.
                self.listener.close()
            for connection in self.connections:
                connection.stream.shutdown(socket.SHUT_RDWR)
