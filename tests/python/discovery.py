"""A BanyanBase component that is told no address and looks for the backplane itself.

Arguments: subscriber port, publisher port, then the ids of the processes among which it looks. It would look at all of
the machine: then anybody's `grep backplane` would do, and anybody's zombie would end it.
"""
import sys

import local  # noqa: F401
import psutil
from python_banyan.banyan_base import BanyanBase

psutil.pids = lambda: [int(pid) for pid in sys.argv[3:]]


class Finder(BanyanBase):
    def ask(self):
        self.publish_payload({"found": True}, "found")

    def incoming_message_processing(self, topic, payload):
        print("FOUND", topic, payload, flush=True)
        sys.exit(0)


try:
    finder = Finder(subscriber_port=sys.argv[1], publisher_port=sys.argv[2], process_name="finder", loop_time=0.02)
except RuntimeError as error:
    print("REFUSED", error, flush=True)
    sys.exit(3)
finder.receive_loop_idle_addition = finder.ask
finder.set_subscriber_topic("found")
finder.receive_loop()
