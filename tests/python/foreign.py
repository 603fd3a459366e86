"""Foreign sockets that do what they are told: an order per line, as JSON, each answered with DONE and a result.

Bytes are lists of [byte, how many]. A message whose first frame begins with `probe` is skipped where others are awaited.
"""
import json
import queue
import sys
import time

import zmq

import zmtp

PATIENCE = 60
context = zmq.Context()


class Libzmq:
    """A socket of pyzmq."""

    def __init__(self, kind, bound, port):
        self.socket = context.socket(getattr(zmq, kind))
        for option in (zmq.LINGER, zmq.RCVHWM, zmq.SNDHWM):
            self.socket.setsockopt(option, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.failure = None
        endpoint = f"tcp://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE
        while bound:
            try:
                self.socket.bind(endpoint)
                break
            except zmq.ZMQError:  # libzmq closes the one before in the background.
                if time.monotonic() > deadline:
                    raise
        if not bound:
            self.socket.connect(endpoint)

    def tell(self, subscribe, topic):
        if self.socket.type == zmq.SUB:
            self.socket.setsockopt(zmq.SUBSCRIBE if subscribe else zmq.UNSUBSCRIBE, topic)
        else:
            self.socket.send(bytes([subscribe]) + topic)

    def work(self):
        self.socket.getsockopt(zmq.EVENTS)

    def send(self, frames):
        self.socket.send_multipart(frames)

    def recv(self, patience):
        return self.socket.recv_multipart() if self.socket.poll(patience * 1000) else None

    def hear(self):
        notice = self.socket.recv() if self.socket.poll(PATIENCE * 1000) else None
        return notice and (notice[0] == 1, notice[1:])

    def close(self):
        self.socket.close()


class Pure(zmtp.Socket):
    """A socket of our own making."""

    def work(self):
        pass

    def recv(self, patience):
        try:
            return self.inbox.get(timeout=patience)
        except queue.Empty:
            return None

    def hear(self):
        try:
            return self.notices.get(timeout=PATIENCE)
        except queue.Empty:
            return None


def expand(runs):
    return b"".join(bytes([byte]) * count for byte, count in runs)


def show(frames):
    return frames and [(bytes(frame[:20]).hex(), len(frame)) for frame in frames]


def expect(each, wanted):
    wanted = [frame if frame is None else expand(frame) for frame in wanted]
    while True:
        got = each.recv(PATIENCE)
        if got is None or not got[0].startswith(b"probe"):
            break
    same = got is not None and len(got) == len(wanted)
    same = same and all(b is None or a == b for a, b in zip(got, wanted))
    return None if same else f"{show(got)} {each.failure or ''}"


def await_notice(each, subscribe, topic):
    while True:
        notice = each.hear()
        if notice is None:
            return f"not heard {each.failure or ''}"
        if notice == (subscribe, topic):
            return None


sockets = {}
print("READY", flush=True)
for line in sys.stdin:
    order, number, *rest = json.loads(line)
    result = None
    if order == "open":
        implementation, kind, bound, port = rest
        if implementation == "pyzmq":
            sockets[number] = Libzmq(kind, bound, port)
        else:
            sockets[number] = Pure(kind, implementation, bound, port)
    elif order == "tell":
        sockets[number].tell(rest[0], expand(rest[1]))
    elif order == "work":
        sockets[number].work()
    elif order == "send":
        sockets[number].send([expand(frame) for frame in rest[0]])
    elif order == "expect":
        result = expect(sockets[number], rest[0])
    elif order == "saw":
        got = sockets[number].recv(0.01)
        result = got is not None and got[0] == expand(rest[0])
    elif order == "hear":
        result = await_notice(sockets[number], rest[0], expand(rest[1]))
    elif order == "close":
        sockets.pop(number).close()
    print("DONE", json.dumps(result), flush=True)
