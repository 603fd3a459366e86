"""Imported first: keeps Python Banyan on the loopback address.

A backplane of Python Banyan, and a component without an address, take the address that a UDP socket gets when it is
connected to a public host. Without such a way out they take 127.0.0.1, so there is none.
"""
import socket


class Socket(socket.socket):
    def connect(self, address):
        if self.type == socket.SOCK_DGRAM and self.family == socket.AF_INET:
            raise OSError("no way out of this test")
        return super().connect(address)


socket.socket = Socket
