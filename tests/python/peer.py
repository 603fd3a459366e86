"""A pyzmq peer: takes an order per line, as JSON, and answers each with DONE and a result.

Arguments: subscriber port, publisher port. Bytes are lists of [byte, how many].
The publishing socket is XPUB, on the wire the same as PUB, because it also says what it was asked for.
"""
import itertools
import json
import sys

import zmq

context = zmq.Context()
sub = context.socket(zmq.SUB)
pub = context.socket(zmq.XPUB)
for each in (sub, pub):
    each.setsockopt(zmq.LINGER, 0)
    each.setsockopt(zmq.RCVHWM, 0)
    each.setsockopt(zmq.SNDHWM, 0)
sub.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
pub.connect(f"tcp://127.0.0.1:{sys.argv[2]}")
wanted = set()


def expand(runs):
    return b"".join(bytes([byte]) * count for byte, count in runs)


def runs(data):
    return [[byte, len(list(group))] for byte, group in itertools.groupby(data)]


def hear(until):
    while not until():
        notice = pub.recv()
        (wanted.add if notice[0] else wanted.discard)(notice[1:])


print("READY", flush=True)
for line in sys.stdin:
    order, *arguments = json.loads(line)
    result = None
    if order == "send":
        pub.send_multipart([expand(frame) for frame in arguments[0]])
    elif order == "recv":
        result = [runs(frame) for frame in sub.recv_multipart()]
    else:
        topic = expand(arguments[0])
        if order == "subscribe":
            sub.setsockopt(zmq.SUBSCRIBE, topic)
        elif order == "unsubscribe":
            sub.setsockopt(zmq.UNSUBSCRIBE, topic)
        elif order == "await_wanted":
            hear(lambda: topic in wanted)
        elif order == "await_unwanted":
            hear(lambda: topic not in wanted)
    print("DONE", json.dumps(result), flush=True)
