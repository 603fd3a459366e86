"""An MQTT client that does what it is told: paho-mqtt.

Arguments: port, version (3 or 5). Takes an order per line:
  subscribe FILTER QOS             says SUBSCRIBED when the broker has it
  send TOPIC QOS KEY FROM TO       publishes {KEY: n} for each n, waits until they are out, says SENT
  publish TOPIC QOS RETAIN HEX     publishes these bytes, says SENT
  hear KEY FROM TO                 waits for {KEY: n} for each n, in order, then says HEARD
  until KEY N                      waits for {KEY: N}, passing over smaller numbers in order or repeated, then says HEARD
  any                              waits for a message, then says HEARD, its topic, whether it is retained, and the bytes in hex
It says CONNECTED for each connection; subscriptions are made again on each.
"""
import json
import queue
import sys

import paho.mqtt.client as mqtt

port, version = int(sys.argv[1]), sys.argv[2]
messages = queue.Queue()
filters = {}


def say(*words):
    print(*words, flush=True)


def connected(client, _data, _flags, reason, _properties):
    for filter, qos in filters.items():
        client.subscribe(filter, qos)
    say("CONNECTED" if not reason.is_failure else f"REFUSED {reason}")


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311,
)
client.max_queued_messages_set(0)
client.max_inflight_messages_set(100)
client.reconnect_delay_set(1, 1)
client.on_connect = connected
client.on_subscribe = lambda *_: say("SUBSCRIBED")
client.on_message = lambda _client, _data, message: messages.put(message)
client.connect("127.0.0.1", port)
client.loop_start()

for line in sys.stdin:
    order, *words = line.split()
    if order == "subscribe":
        filters[words[0]] = int(words[1])
        client.subscribe(words[0], int(words[1]))
    elif order == "send":
        topic, qos, key = words[0], int(words[1]), words[2]
        for n in range(int(words[3]), int(words[4])):
            sent = client.publish(topic, json.dumps({key: n}), qos)
        sent.wait_for_publish()
        say("SENT")
    elif order == "publish":
        body = bytes.fromhex(words[3]) if len(words) > 3 else b""
        client.publish(words[0], body, int(words[1]), words[2] == "retain").wait_for_publish()
        say("SENT")
    elif order == "hear":
        for n in range(int(words[1]), int(words[2])):
            heard = json.loads(messages.get().payload)
            assert heard == {words[0]: n}, f"{heard} instead of {n}"
        say("HEARD")
    elif order == "until":
        number = -1
        while number != int(words[1]):
            number = json.loads(messages.get().payload)[words[0]]
        say("HEARD")
    elif order == "any":
        message = messages.get()
        say("HEARD", message.topic, message.retain, message.payload.hex())
