"""stomp.py over WebSocket, as its documentation shows it: a listener, `ack="client-individual"`, and `conn.ack(id)`.

    python stomppy.py http://127.0.0.1:2025 test1

The same story as in story.mjs, with the same lines on stdin and stdout.
"""

import json
import os
import sys
import threading
import time
import traceback
import urllib.request

import stomp

PATIENCE = 20
FIELDS = ["ack_last_sent", "ack_retry_count", "created", "data", "id", "receiver", "type", "viewed"]


class Failed(Exception):
    pass


def equal(what, found, expected):
    if found != expected:
        raise Failed(f"{what} is {found!r}, expected {expected!r}")


def say(line):
    print(line, flush=True)


def ask(question, word):
    say(question)
    answer = sys.stdin.readline()
    if not answer.startswith(word):
        raise Failed(f"{question} was answered with {answer!r}, not {word}")


class Api:
    """A back end, and a user's REST calls."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def publish(self, draft):
        return self._call(202, "POST", "/api/notify", draft)

    def history(self):
        created = int(time.time() * 1000) + 60_000
        return self._mine("GET", f"/api/notify/history?created={created}&page_num=0&page_size=100")

    def lists(self, ids):
        """Waits until the inbox lists them: accepted is not yet stored."""
        deadline = time.monotonic() + PATIENCE
        while not set(ids) <= {row["id"] for row in self.history()}:
            if time.monotonic() > deadline:
                raise Failed(f"the inbox never listed {ids}")
            time.sleep(0.02)

    def unread(self):
        return self._mine("GET", "/api/notify/unread")["unread"]

    def viewed(self, ids):
        return self._mine("POST", "/api/notify/viewed", ids)

    def delete(self, ids):
        return self._mine("DELETE", "/api/notify/delete", ids)

    def _mine(self, method, path, body=None):
        answer = self._call(200, method, path, body)
        equal(f"the code of {path}", answer["code"], 200)
        return answer["data"]

    def _call(self, status, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": self.token}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            equal(f"the status of {path}", response.status, status)
            return json.load(response)


class Session(stomp.ConnectionListener):
    """One session: every MESSAGE is held against the contract as it comes."""

    SUBSCRIPTION = "inbox"

    def __init__(self, user, stored, confirmed, seqs):
        self.user, self.stored, self.confirmed, self.seqs = user, stored, confirmed, seqs
        self.published = None  # once the subscription stands: what is published later is new
        self.got = []
        self.receipts = set()
        self.connected = None
        self.over = False
        self.changed = threading.Condition()

    def on_connected(self, frame):
        self._note(lambda: setattr(self, "connected", frame.headers))

    def on_receipt(self, frame):
        self._note(lambda: self.receipts.add(frame.headers["receipt-id"]))

    def on_disconnected(self):
        self._note(lambda: setattr(self, "over", True))

    def on_error(self, frame):
        give_up(Failed(f"ERROR {frame.headers.get('message')} {frame.body}"))

    def on_message(self, frame):
        try:
            self._note(lambda: self._check(frame.headers, frame.body))
        except Exception as error:  # stomp.py would only log it
            give_up(error)

    def wait(self, what, wanted):
        with self.changed:
            if not self.changed.wait_for(wanted, PATIENCE):
                raise Failed(f"{what} did not happen within {PATIENCE} s; got {self.got}")
            return wanted()

    def delivery(self, id, attempt=1):
        return self.wait(f"delivery {attempt} of {id}", lambda: self._first(lambda b: (b["id"], b["ack_retry_count"]) == (id, attempt - 1)))

    def of_type(self, kind):
        return self.wait(f"a {kind}", lambda: self._first(lambda body: body["type"] == kind))

    def firsts(self):
        return [body["id"] for body in self.got if body["ack_retry_count"] == 0]

    def _first(self, wanted):
        return next((body for body in self.got if wanted(body)), None)

    def _note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def _check(self, headers, text):
        body = json.loads(text)
        id, created = body["id"], body["created"]
        attempt = 1 + sum(1 for earlier in self.got if earlier["id"] == id)
        say(f"GOT {id} {headers.get('attempt')}")
        what = f"of {id} ({body['data']!r})"
        if id in self.confirmed:
            raise Failed(f"{id} was confirmed, and came again: {text}")

        now = time.time() * 1000 + 1000
        equal(f"the message-id {what}", headers["message-id"], id)
        equal(f"the ack header {what}", headers["ack"], id)
        equal(f"the destination {what}", headers["destination"], "/user/queue/msg")
        equal(f"the subscription {what}", headers["subscription"], self.SUBSCRIPTION)
        equal(f"the content-type {what}", headers["content-type"], "application/json")
        equal(f"the attempt {what}", headers["attempt"], str(attempt))
        equal(f"the fields {what}", sorted(body), FIELDS)
        equal(f"the receiver {what}", body["receiver"], self.user)
        equal(f"viewed {what}", body["viewed"], False)
        equal(f"ack_retry_count {what}", body["ack_retry_count"], attempt - 1)
        if not started <= created <= now:
            raise Failed(f"created {what} is {created}, not epoch ms of now")
        if attempt == 1:
            equal(f"ack_last_sent {what}", body["ack_last_sent"], created)
        elif not created <= body["ack_last_sent"] <= now:
            raise Failed(f"ack_last_sent {what} is {body['ack_last_sent']}")

        if body["type"] == "STRING_MSG":
            seq, replayed = int(headers["seq"]), headers.get("replayed")
            equal(f"the seq {what}, compared with before,", seq, self.seqs.setdefault(id, seq))
            if attempt == 1 and seq <= self.stored:
                equal(f"replayed {what}, stored before the session began,", replayed, "true")
            if attempt == 1 and self.published is not None and seq > self.published:
                equal(f"replayed {what}, published while the session was there,", replayed, None)
        else:
            equal(f"the seq {what}", headers.get("seq"), None)  # told, not kept
        self.got.append(body)


class Client:
    """What a user of stomp.py writes."""

    def __init__(self, url, token):
        host, port = url.removeprefix("http://").split(":")
        self.address, self.token = (host, int(port)), token
        self.receipts = 0

    def connect(self, session):
        self.conn = stomp.WSStompConnection([self.address], ws_path="/stomp-ws", heartbeats=(10_000, 10_000), timeout=PATIENCE)
        self.conn.set_listener("session", session)
        self.session = session
        self.conn.connect(wait=True, headers={"Authorization": f"Bearer {self.token}"})
        self._with_receipt(lambda receipt: self.conn.subscribe("/user/queue/msg", id=session.SUBSCRIPTION, ack="client-individual", headers={"receipt": receipt}))

    def confirm(self, id):
        self.conn.ack(id)

    def confirm_stored(self, id):
        self._with_receipt(lambda receipt: self.conn.ack(id, receipt=receipt))

    def disconnect(self):
        self.conn.disconnect(receipt="bye")
        self.session.wait("the end of the session", lambda: self.session.over)

    def _with_receipt(self, send):
        self.receipts += 1
        receipt = f"r-{self.receipts}"
        send(receipt)
        self.session.wait(f"the receipt {receipt}", lambda: receipt in self.session.receipts)


def tell(url, token):
    user = token
    api, client = Api(url, token), Client(url, token)
    confirmed, seqs, ids = set(), {}, []

    def publish(data):
        receipt = api.publish({"receiver": user, "type": "STRING_MSG", "data": data})
        equal("the receipt", (receipt["state"], receipt["durability"]), ("accepted", "fsynced"))
        ids.append(receipt["id"])
        return receipt["id"]

    def connect(stored=None):
        session = Session(user, len(ids) if stored is None else stored, confirmed, seqs)
        client.connect(session)
        equal("user-name of CONNECTED", session.connected["user-name"], user)
        equal("heart-beat of CONNECTED", session.connected["heart-beat"], "10000,10000")
        equal("version of CONNECTED", session.connected["version"], "1.2")
        session.published = len(ids)
        return session

    def confirm(delivery):
        client.confirm_stored(delivery["id"])
        confirmed.add(delivery["id"])

    def only_now(session, data, before=()):
        """Whatever should not have come would have come before this."""
        id = publish(data)
        confirm(session.delivery(id))
        equal("what this session got", session.firsts(), [*before, id])

    # It takes a notification, and confirms it.
    session = connect()
    say("READY")
    one = session.delivery(publish('one: ünï😀\n"quoted" <b>'))
    equal("its data", one["data"], 'one: ünï😀\n"quoted" <b>')
    equal("its type", one["type"], "STRING_MSG")
    client.confirm(one["id"])

    # What it does not confirm comes again, and says which attempt it is; what it confirmed does not.
    two = publish("two")
    session.delivery(two)
    confirmed.add(one["id"])
    equal("ack_retry_count of the second attempt", session.delivery(two, 2)["ack_retry_count"], 1)
    confirm(session.delivery(two, 3))

    # It is away; what it missed comes once, and is told from what is new.
    client.disconnect()
    missed = [publish("three"), publish("four")]
    api.lists(missed)
    session = connect()
    for id in missed:
        confirm(session.delivery(id))
    only_now(session, "five", missed)

    # What it confirmed never comes again.
    client.disconnect()
    only_now(connect(), "six")

    # The server dies: what was confirmed stays so, and what was accepted comes.
    seven = client.session.delivery(publish("seven"))
    eight = publish("eight")
    ask("KILL", "KILLED")
    client.session.wait("the loss of the connection", lambda: client.session.over)
    ask("RESTART", "RESTARTED")
    session = connect(stored=seqs[seven["id"]])
    for id in [seven["id"], eight]:
        confirm(session.delivery(id))
    only_now(session, "nine", [seven["id"], eight])

    # All of it is in the inbox, once; the user reads and deletes, and the session is told.
    equal("the history", [row["id"] for row in api.history()], ids[::-1])
    equal("the seqs", [seqs[id] for id in ids], list(range(1, len(ids) + 1)))
    equal("unread", api.unread(), len(ids))
    equal("the answer to viewed", api.viewed([one["id"], two]), {"ids": [one["id"], two]})
    viewed = session.of_type("NOTIFY_VIEWED")
    equal("the data of NOTIFY_VIEWED", viewed["data"], {"ids": [one["id"], two]})
    confirm(viewed)
    equal("unread after viewed", api.unread(), len(ids) - 2)
    equal("the answer to delete", api.delete([one["id"]]), {"ids": [one["id"]]})
    deleted = session.of_type("NOTIFY_DELETED")
    equal("the data of NOTIFY_DELETED", deleted["data"], {"ids": [one["id"]]})
    confirm(deleted)
    equal("the history after delete", [(row["id"], row["viewed"]) for row in api.history()], [(id, id == two) for id in ids[:0:-1]])

    # A last look: nothing is left over.
    client.disconnect()
    only_now(connect(), "ten")
    client.disconnect()


def give_up(error):
    traceback.print_exception(error)
    print(f"FAILED: {error}", file=sys.stderr, flush=True)
    os._exit(1)


started = time.time() * 1000 - 1000
if __name__ == "__main__":
    try:
        tell(*sys.argv[1:])
    except Exception as error:
        give_up(error)
    say("OK")
    os._exit(0)  # stomp.py's threads may still wait for their next heart-beat
