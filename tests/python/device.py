"""A device that speaks MessagePack with a length in front, as a microcontroller on Banyan's TCP gateway does.

Arguments: port, bytes of the length, and `connect` for a device that is the client. Takes an order per line:
  probe            sends {"probe": 1}
  send FROM TO     sends {"pico_data": n} for each n, many in a segment
  raw HEX          sends these bytes
  hear KEY FROM TO waits for {KEY: n} for each n, in order, then says HEARD
  any              waits for a payload, then says HEARD and its representation
  hang_up          ends the connection; the next one that comes is taken
It says READY when it listens, CONNECTED for each connection and GONE when one has ended.
"""
import queue
import socket
import struct
import sys
import threading

import msgpack

port, width = int(sys.argv[1]), int(sys.argv[2])
LENGTH = {1: ">B", 2: ">H", 4: ">I"}[width]
frames = queue.Queue()
connection = None


def say(*words):
    print(*words, flush=True)


def exactly(peer, count):
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def read(peer):
    try:
        while True:
            (length,) = struct.unpack(LENGTH, exactly(peer, width))
            frames.put(exactly(peer, length))
    except (EOFError, OSError):
        say("GONE")


def serve(peer):
    global connection
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = peer
    say("CONNECTED")
    read(peer)


def accept():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    say("READY")
    while True:
        serve(listener.accept()[0])


def connect():
    serve(socket.create_connection(("127.0.0.1", port)))


threading.Thread(target=connect if "connect" in sys.argv else accept, daemon=True).start()


def frame(value):
    payload = msgpack.packb(value)
    return struct.pack(LENGTH, len(payload)) + payload


for line in sys.stdin:
    order, *words = line.split()
    if order == "probe":
        connection.sendall(frame({"probe": 1}))
    elif order == "send":
        connection.sendall(b"".join(frame({"pico_data": n}) for n in range(int(words[0]), int(words[1]))))
        say("SENT")
    elif order == "raw":
        connection.sendall(bytes.fromhex(words[0]))
        say("SENT")
    elif order == "hear":
        for n in range(int(words[1]), int(words[2])):
            heard = msgpack.unpackb(frames.get())
            assert heard == {words[0]: n}, f"{heard} instead of {n}"
        say("HEARD")
    elif order == "any":
        say("HEARD", msgpack.unpackb(frames.get()))
    elif order == "hang_up":
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
