"""A BanyanBase component: counts 9..0 on `echo`, each after the `reply` to the one before.

Arguments: subscriber port, publisher port. Before the count it asks until somebody replies, because nothing else tells
a Banyan component that the others are there; those questions have numbers from 1000.
"""
import sys

from python_banyan.banyan_base import BanyanBase


class EchoClient(BanyanBase):
    def __init__(self, subscriber_port, publisher_port):
        super().__init__(
            back_plane_ip_address="127.0.0.1",
            subscriber_port=subscriber_port,
            publisher_port=publisher_port,
            process_name="echo_client",
            loop_time=0.02,
            receive_loop_idle_addition=self.ask,
        )
        self.asked = 1000
        self.counting = False
        self.set_subscriber_topic("reply")
        self.receive_loop()

    def ask(self):
        if not self.counting:
            self.asked += 1
            self.publish_payload({"message_number": self.asked}, "echo")

    def incoming_message_processing(self, topic, payload):
        number = payload["message_number"]
        if number < 1000:
            print("REPLY", topic, number, flush=True)
            if number > 0:
                self.publish_payload({"message_number": number - 1}, "echo")
        elif not self.counting:
            self.counting = True
            self.publish_payload({"message_number": 9}, "echo")


EchoClient(*sys.argv[1:])
