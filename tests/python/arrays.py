"""A BanyanBaseMulti component with NumPy. Argument: its routing specification.

For each `array` from BP1 it prints what it got and publishes on BP2 what Python makes of it, under `answer`.
"""
import sys

import numpy as np
from python_banyan.banyan_base_multi import BanyanBaseMulti


class Arrays(BanyanBaseMulti):
    def __init__(self, spec):
        super().__init__(back_plane_csv_file=spec, process_name="arrays", loop_time=0.001, numpy=True)
        self.out = self.find_socket("BP2", self.PUB_SOCK)
        print("READY", flush=True)
        self.receive_loop()

    def incoming_message_processing(self, topic, payload):
        array = payload["array"]
        print("ARRAY", array.dtype.str, list(array.shape), array.tolist(), flush=True)
        answer = {
            "turned": np.asfortranarray(array.T),
            "halves": array.astype("<f4") / 2,
            "big": array.astype(">i2"),
            "count": np.int64(array.size),
        }
        self.publish_payload(answer, self.out, "answer")


Arrays(sys.argv[1])
