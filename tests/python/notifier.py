"""A BanyanBase component that prints each `notice`. Arguments: subscriber port, publisher port.

READY when it hears itself: then its subscription is in force.
"""
import sys

from python_banyan.banyan_base import BanyanBase


class Notifier(BanyanBase):
    def __init__(self, subscriber_port, publisher_port):
        super().__init__(
            back_plane_ip_address="127.0.0.1",
            subscriber_port=subscriber_port,
            publisher_port=publisher_port,
            process_name="notifier",
            loop_time=0.02,
            receive_loop_idle_addition=self.ask,
        )
        self.ready = False
        self.set_subscriber_topic("notice")
        self.receive_loop()

    def ask(self):
        if not self.ready:
            self.publish_payload({}, "notice-heard")

    def incoming_message_processing(self, topic, payload):
        if topic == "notice":
            print("NOTICE", sorted(payload.items()), flush=True)
        elif not self.ready:
            self.ready = True
            print("READY", flush=True)


Notifier(*sys.argv[1:])
