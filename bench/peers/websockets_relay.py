"""Sends what one web client says to all others, with the `websockets` library. Argument: the port to listen at."""

import asyncio
import sys

import websockets

clients = set()


async def relay(client, _path=None):
    clients.add(client)
    try:
        await client.recv()  # its id
        async for message in client:
            for other in clients - {client}:
                await other.send(message)
    finally:
        clients.discard(client)


async def main():
    async with websockets.serve(relay, "127.0.0.1", int(sys.argv[1]), compression=None):
        await asyncio.Future()


asyncio.run(main())
