"""Python Banyan's gateways, at ports of one's choice: their command lines ignore or break on some.

Arguments: mqtt, tcp or websocket; a port that is listened at when it begins; publisher and subscriber port of the backplane; the
port of the broker or of the device. Web clients come to 9000, whatever is said. Processor time of loading what it needs is spent before it begins.
"""

import socket
import sys

kind, ready, publishers, subscribers, foreign = sys.argv[1:]
backplane = {"back_plane_ip_address": "127.0.0.1", "publisher_port": publishers, "subscriber_port": subscribers}
if kind == "mqtt":
    from python_banyan.utils.mqtt_gateway.mqtt_gateway import MqttGateway
elif kind == "tcp":
    from python_banyan.utils.tcp_gateway.tcp_gateway import TcpGateWay
else:
    import asyncio

    from projects.OneGPIO.shared.ws_gateway import WsGateway
if kind != "websocket":
    listening = socket.create_server(("127.0.0.1", int(ready)))
if kind == "mqtt":
    MqttGateway(**backplane, mqtt_addr="127.0.0.1", mqtt_port=int(foreign), mqtt_sub_topics="mqtt_network")
elif kind == "tcp":
    TcpGateWay(**backplane, tcp_server_ip_address="127.0.0.1", tcp_server_ip_port=int(foreign),
               subscriber_list="figura", banyan_pub_topic="from_pico")
else:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    WsGateway(**backplane, event_loop=loop)
