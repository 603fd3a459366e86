"""A BanyanBaseAIO component that answers `question` with `answer`. Arguments: subscriber port, publisher port."""
import asyncio
import sys

from python_banyan.banyan_base_aio import BanyanBaseAIO


class Answers(BanyanBaseAIO):
    async def incoming_message_processing(self, topic, payload):
        await self.publish_payload({"square": payload["number"] ** 2, "heard": topic}, "answer")


async def main():
    component = Answers(
        back_plane_ip_address="127.0.0.1",
        subscriber_port=sys.argv[1],
        publisher_port=sys.argv[2],
        process_name="aio",
        subscriber_list=["question"],
        event_loop=asyncio.get_running_loop(),
    )
    await component.begin()
    print("READY", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
