"""Routes what is sent to `group:NAME` to the members that a file lists.

    pip install -r examples/requirements.txt
    python examples/plugins/groups/groups.py examples/plugins/groups/groups.toml

It attaches to NATS at NATS_URL, as NATS_USER with NATS_PASSWORD, and may run many times over: its instances share the work.
"""

import asyncio
import json
import os
import signal
import sys
import tomllib

import nats
import nats.micro
from nats.micro.request import ServiceError

PREFIX = os.environ.get("NATS_PREFIX", "notify")  # nats.prefix of the server
PAGE = 1000  # members of a page; further ones are asked for
# All pages of an answer together: far below what NATS takes as one message (max_payload, 1 MiB unless said) and the server as an answer.
OCTETS = 200_000
METADATA = {"quick-notify": "1", "receivers": "group:*", "on-failure": "retry", "max-batch": "20"}


class Groups:
    """The file, read again when it has changed. What is no longer readable leaves the groups as they were."""

    def __init__(self, path):
        self.path, self.read, self.groups = path, None, {}
        self.look()

    def look(self):
        status = os.stat(self.path)
        if (now := (status.st_mtime_ns, status.st_size, status.st_ino)) == self.read:
            return self.groups
        with open(self.path, "rb") as file:
            groups = tomllib.load(file)
        for name, members in groups.items():
            if not isinstance(members, list) or not all(isinstance(member, str) and member for member in members):
                raise ValueError(f"{name}: say a list of receivers")
        # Each once, in the order of the file, so that pages stay the same.
        self.groups = {name: list(dict.fromkeys(members)) for name, members in groups.items()}
        self.read = now
        print("groups:", ", ".join(f"{name} ({len(members)})" for name, members in self.groups.items()), flush=True)
        return self.groups

    def now(self):
        try:
            return self.look()
        except (OSError, ValueError) as error:
            print(f"{self.path}: {error}", file=sys.stderr, flush=True)
            return self.groups


def page(members, begin, octets):
    """Members from there on, in so many octets, and where the next page begins."""
    end = begin
    for member in members[begin : begin + PAGE]:
        octets -= len(json.dumps(member)) + 2
        if octets < 0 and end > begin:
            break
        end += 1
    return {"receivers": members[begin:end], **({"next": str(end)} if end < len(members) else {})}


def name_of(notification):
    """The group that it is for; None: it is none of ours."""
    receiver = notification["to"].get("user", "")
    return receiver.removeprefix("group:") if receiver.startswith("group:") else None


def verdict(notification, groups, octets):
    name = name_of(notification)
    if name is None:
        return {"id": notification["id"], "verdict": "pass"}
    if name not in groups:
        return {"id": notification["id"], "verdict": "reject", "reason": f"there is no group {name}"}
    return {"id": notification["id"], "verdict": "route", **page(groups[name], 0, octets)}


def answer(question, groups):
    """What `review` is answered: a page of a group, or a verdict for each notification."""
    if question["v"] != 1:
        raise ServiceError("400", f"this plugin speaks version 1, not {question['v']}")
    if further := question.get("page"):
        members = groups.get(name_of(further["notification"]), [])
        body = page(members, int(further["next"]), OCTETS)
    else:
        notifications = question["notifications"]
        share = OCTETS // max(len(notifications), 1)
        body = {"verdicts": [verdict(notification, groups, share) for notification in notifications]}
    return {"v": 1, "request": question["request"], **body}


async def main(path):
    groups = Groups(path)

    async def review(request):
        try:
            reply = answer(json.loads(request.data), groups.now())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError("400", f"no question as the schema has it: {error!r}") from error
        await request.respond(json.dumps(reply).encode())

    client = await nats.connect(
        os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
        user=os.environ.get("NATS_USER"),
        password=os.environ.get("NATS_PASSWORD"),
        max_reconnect_attempts=-1,
    )
    service = await nats.micro.add_service(client, name="groups", version="1.0.0", metadata=METADATA)
    await service.add_endpoint(name="review", subject=f"{PREFIX}.hook.groups.review", handler=review)

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("attached", flush=True)
    await stop.wait()
    # What was asked already is answered; new questions go to the other instances.
    await client.drain()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say the file of the groups")
    asyncio.run(main(sys.argv[1]))
