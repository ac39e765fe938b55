"""A plugin for the stories: lets everything pass, and writes down what it was asked about.

    review.py NAME VERSION FILE        (NATS_URL says where NATS is)

Each line on standard input sets how many seconds an answer takes. SIGTERM: it finishes what it has and leaves.
"""

import asyncio
import json
import os
import signal
import sys

import nats
from nats.micro import add_service
from nats.micro.service import EndpointConfig, ServiceConfig

name, version, file = sys.argv[1:]
delay = 0.0
seen = open(file, "a", buffering=1)


async def review(request):
    asked = json.loads(request.data)
    for notification in asked["notifications"]:
        seen.write(notification["id"] + "\n")
    if delay:
        await asyncio.sleep(delay)  # the story's own slowness
    await request.respond(json.dumps({"v": 1, "request": asked["request"], "verdicts": [], "others": "pass"}).encode())


async def main():
    global delay
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    client = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    service = await add_service(client, config=ServiceConfig(name=name, version=version, metadata={"quick-notify": "1"}))
    await service.add_endpoint(EndpointConfig(name="review", subject=f"notify.hook.{name}.review", handler=review))
    print("READY", flush=True)

    def heard():
        global delay
        line = sys.stdin.readline()
        if line.strip():
            delay = float(line)
            print("SET", flush=True)
        elif not line:
            loop.remove_reader(sys.stdin)

    loop.add_reader(sys.stdin, heard)
    await end.wait()
    await service.stop()
    await client.drain()


asyncio.run(main())
