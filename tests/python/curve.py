"""Sockets of pyzmq with CURVE that do what they are told: an order per line, as JSON, each answered with DONE and a result.

`certificate` makes a pair of keys as pyzmq does; keys of ours come as the path of a file, which `zmq.auth` reads.
"""
import json
import sys

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

PATIENCE = 60
context = zmq.Context()
sockets = {}
monitors = {}


def certificate(folder, name):
    return zmq.auth.create_certificates(folder, name)[1]


def secure(socket, keys, server):
    public, secret = zmq.auth.load_certificate(keys)
    socket.curve_publickey, socket.curve_secretkey = public, secret
    if server is None:
        socket.curve_server = True
    else:
        socket.curve_serverkey = server.encode()


def guard(folder):
    """From now on servers let only those in whose keys lie there."""
    authenticator = sockets["authenticator"] = ThreadAuthenticator(context)
    authenticator.daemon = True
    authenticator.start()
    authenticator.configure_curve(domain="*", location=folder)


def make(name, kind, keys, server, port):
    """A server where there is no port yet, otherwise a client; without keys by NULL."""
    socket = sockets[name] = context.socket(getattr(zmq, kind))
    socket.linger, socket.rcvhwm, socket.sndhwm, socket.reconnect_ivl = 0, 0, 0, 20
    monitors[name] = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
    if keys:
        secure(socket, keys, server)
    if port == 0:
        socket.zap_domain = b"multiplane"
        return socket.bind_to_random_port("tcp://127.0.0.1")
    socket.connect(f"tcp://127.0.0.1:{port}")
    return port


def fails(name):
    """Waits until the socket itself has refused a peer by what it said."""
    return monitors[name].poll(PATIENCE * 1000) != 0


def subscribe(name, topic):
    sockets[name].subscribe(topic.encode())
    # A socket finds out here who has connected.
    sockets[name].poll(0)


def send(name, topic, lengths):
    for n, length in enumerate(lengths):
        sockets[name].send_multipart([topic.encode(), bytes([n % 256]) * length])


def want(name, topic):
    """Subscribes as an XSUB does."""
    sockets[name].send(b"\x01" + topic.encode())


def hear(name):
    """The next subscription that comes to an XPUB."""
    socket = sockets[name]
    return list(socket.recv()) if socket.poll(PATIENCE * 1000) else None


def recv(name, count):
    """The topic and length of so many messages, each of one byte over and over."""
    heard = []
    for _ in range(count):
        if not sockets[name].poll(PATIENCE * 1000):
            break
        topic, payload = sockets[name].recv_multipart()
        assert len(set(payload)) <= 1
        heard.append([topic.decode(), len(payload)])
    return heard


assert zmq.has("curve"), "this pyzmq has no CURVE"
print("READY", flush=True)
for line in sys.stdin:
    order, *arguments = json.loads(line)
    print("DONE", json.dumps(globals()[order](*arguments)), flush=True)
