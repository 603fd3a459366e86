"""A WebSocket client that does what it is told, a line at a time; prints what comes.

Arguments: the URL; after it `origin=...` and `ca=FILE` if they are wanted. Lines of input:
  text ...            send the rest as text
  pack ...            send the JSON behind it as MessagePack, in a binary frame
  hex ...             send these bytes in a binary frame
  raw ...             write these bytes behind the frames, as they are
  send TOPIC N M      publish {"n": N} to {"n": M - 1}; TOPIC is - for a Banyan client
  pack-send TOPIC N M the same as MessagePack
  hear KEY N M        wait for messages whose payload has KEY = N to M - 1, in order, and print HEARD ALL
  deaf                read nothing from now on
"""
import asyncio
import json
import os
import ssl
import sys

import msgpack
import websockets


def unpacked(message):
    return json.loads(message) if isinstance(message, str) else msgpack.unpackb(message, strict_map_key=False)


def numbered(topic, n):
    payload = {"n": n}
    return payload if topic == "-" else {"op": "publish", "topic": topic, "payload": payload}


async def hear(socket, key, first, last):
    while first < last:
        message = unpacked(await socket.recv())
        payload = message["payload"] if message.get("op") == "message" else message
        if not isinstance(payload, dict) or key not in payload:
            continue
        if payload[key] != first:
            print(f"WRONG {payload[key]} instead of {first}", flush=True)
            return
        first += 1
    print("HEARD ALL", flush=True)


async def show(socket):
    async for message in socket:
        print("HEARD", json.dumps(unpacked(message), default=repr), flush=True)


async def obey(socket, lines):
    shown = asyncio.create_task(show(socket))
    while True:
        line = await lines.get()
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "text":
            await socket.send(rest)
        elif word == "pack":
            await socket.send(msgpack.packb(json.loads(rest)))
        elif word == "hex":
            await socket.send(bytes.fromhex(rest))
        elif word == "raw":
            socket.transport.write(bytes.fromhex(rest))
        elif word in ("send", "pack-send"):
            topic, first, last = rest.split()
            form = json.dumps if word == "send" else msgpack.packb
            for n in range(int(first), int(last)):
                await socket.send(form(numbered(topic, n)))
        elif word in ("hear", "deaf"):
            shown.cancel()
            try:
                await shown
            except asyncio.CancelledError:
                pass
            if word == "deaf":
                socket.transport.pause_reading()
                print("DEAF", flush=True)
                continue
            key, first, last = rest.split()
            await hear(socket, key, int(first), int(last))
            shown = asyncio.create_task(show(socket))


def read(lines, buffer):
    buffer += os.read(sys.stdin.fileno(), 1 << 20)
    while b"\n" in buffer:
        line, _, rest = buffer.partition(b"\n")
        lines.put_nowait(line.decode())
        buffer[:] = rest


async def main(url, *options):
    options = dict(option.split("=", 1) for option in options)
    arguments = {"compression": None, "max_size": None, "max_queue": None, "open_timeout": 50, "close_timeout": 2}
    if "origin" in options:
        arguments["origin"] = options["origin"]
    if "ca" in options:
        arguments["ssl"] = ssl.create_default_context(cafile=options["ca"])
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()
    loop.add_reader(sys.stdin, read, lines, bytearray())
    try:
        async with websockets.connect(url, **arguments) as socket:
            print("OPEN", flush=True)
            told = asyncio.create_task(obey(socket, lines))
            await socket.wait_closed()
            told.cancel()
            print("CLOSED", socket.close_code, socket.close_reason, flush=True)
    except Exception as error:
        print("REFUSED", getattr(error, "status_code", ""), type(error).__name__, flush=True)


asyncio.run(main(*sys.argv[1:]))
