"""A BanyanBase component: prints what it hears, publishes what it is told to.

Arguments: subscriber port, publisher port, topics to hear. A line of input is a topic and a payload in JSON.
"""
import json
import queue
import sys
import threading

from python_banyan.banyan_base import BanyanBase

lines = queue.Queue()


class Component(BanyanBase):
    def __init__(self, subscriber_port, publisher_port, *topics):
        super().__init__(
            back_plane_ip_address="127.0.0.1",
            subscriber_port=subscriber_port,
            publisher_port=publisher_port,
            process_name="component",
            loop_time=0.01,
            receive_loop_idle_addition=self.publish_all,
        )
        for topic in topics:
            self.set_subscriber_topic(topic)
        print("READY", flush=True)
        self.receive_loop()

    def publish_all(self):
        while not lines.empty():
            topic, payload = lines.get().split(maxsplit=1)
            self.publish_payload(json.loads(payload), topic)

    def incoming_message_processing(self, topic, payload):
        print("HEARD", topic, json.dumps(payload), flush=True)


def read():
    for line in sys.stdin:
        lines.put(line)


threading.Thread(target=read, daemon=True).start()
Component(*sys.argv[1:])
