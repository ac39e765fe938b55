"""A producer on NATS, both ways: a request, whose reply is the receipt, and a plain JetStream publish, whose PubAck is the receipt.

    pip install -r examples/requirements.txt
    python examples/publish_nats.py nats://127.0.0.1:4222 alice 'Hello'

The first needs nodes with `ingest.nats = true`, the second `queue.adapter = "jetstream"`.
"""

import asyncio
import json
import sys
import uuid

import nats
from nats.errors import NoRespondersError, TimeoutError

PREFIX = "notify"  # nats.prefix of the nodes


async def request(client, receiver, text, key):
    """The door checks the notification while the producer waits, and says what is wrong with it."""
    draft = json.dumps({"receiver": receiver, "data": text}).encode()
    for left in (2, 1, 0):
        try:
            reply = await client.request(f"{PREFIX}.publish", draft, timeout=10, headers={"Idempotency-Key": key})
        except (NoRespondersError, TimeoutError):
            # A node may have taken it before it died: the key makes the next try harmless.
            if not left:
                raise
        else:
            code = (reply.headers or {}).get("Nats-Service-Error-Code")
            if code is None:
                return print("receipt", reply.data.decode())
            # 503 says that nothing is wrong with it, only not now.
            if code != "503" or not left:
                sys.exit(f"{code}: {reply.data.decode()}")
        await asyncio.sleep(1)


async def publish(client, receiver, text, id):
    """Straight into the stream, also while every node is away. What turns out to be wrong becomes a dead letter, and nobody tells the producer."""
    # The body is for the very receiver that the subject names.
    subject = f"{PREFIX}.in.user.{token(receiver)}"
    draft = json.dumps({"receiver": receiver, "data": text, "id": id}).encode()
    ack = await client.jetstream().publish(subject, draft, headers={"Nats-Msg-Id": id})
    print(f"stored in {ack.stream} as {ack.seq}, {id}")


def token(name):
    """Letters, digits, - and _ stand for themselves, every other octet is = and two hex digits: a.b is a=2Eb."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return "".join(chr(octet) if octet in plain else f"={octet:02X}" for octet in name.encode())


async def main(url, receiver, text):
    client = await nats.connect(url)
    # Names of one's own, such as an order's number, let a retry be known as one.
    run = uuid.uuid4().hex
    await request(client, receiver, text, f"request-{run}")
    await publish(client, receiver, text, f"publish-{run}")
    await client.drain()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("say a NATS server, a receiver and a text")
    asyncio.run(main(*sys.argv[1:]))
