"""Channels over HTTP with Python's `httpx` and `httpx-sse`, as their documentation has it.

    http_client.py URL [KEY]

URL is that of the channel. The program publishes, reads in pages, and follows the events, once from the beginning and
once behind the last id that it has seen. It prints `ok` if all was as it should be.
"""

import sys
import threading

import httpx
from httpx_sse import connect_sse

COUNT = 40


def publish(client, url):
    """Publishes over one connection; each message twice, as after an answer that was lost."""
    receipts = []
    for n in range(COUNT):
        headers = {"Content-Type": "text/plain", "Idempotency-Key": f"key {n}"}
        for attempt in range(2):
            answer = client.post(f"{url}/messages", content=f"message {n}", headers=headers)
            answer.raise_for_status()
            receipt = answer.json()
            if attempt == 0:
                receipts.append(receipt)
            assert receipt == receipts[n], (receipt, receipts[n])
    assert [receipt["offset"] for receipt in receipts] == list(range(1, COUNT + 1))
    return receipts


def read(client, url):
    """Reads page by page, as long as there is something."""
    messages, since = [], None
    while True:
        params = {"limit": 7} | ({"since": since} if since else {})
        page = client.get(f"{url}/messages", params=params).raise_for_status().json()
        assert page["recovered"] is True, page
        if not page["messages"]:
            return messages
        messages += page["messages"]
        since = page["next"]


def follow(client, url, until, last_id=None):
    """Follows the events until one has this text. Returns the ids and the texts."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    seen = []
    with connect_sse(client, "GET", f"{url}/events", headers=headers) as source:
        for event in source.iter_sse():
            if event.event == "message":
                seen.append((event.id, event.json()["text"]))
                if seen[-1][1] == until:
                    return seen
    raise AssertionError(f"the stream has ended after {seen}")


def main(url, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(headers=headers, timeout=60) as client:
        refused = client.get(f"{url}/messages", params={"since": "no position"})
        assert refused.status_code == 400, refused
        assert refused.headers["content-type"] == "application/problem+json", refused.headers
        receipts = publish(client, url)
        texts = [f"message {n}" for n in range(COUNT)]
        assert [message["text"] for message in read(client, url)] == texts
        early = []
        follower = threading.Thread(
            target=lambda: early.extend(follow(client, url, "one more"))
        )
        follower.start()
        client.post(f"{url}/messages", content="one more", headers={"Content-Type": "text/plain"}).raise_for_status()
        follower.join()
        ids = [receipt["position"] for receipt in receipts]
        assert [id for id, _ in early[:-1]] == ids, early
        assert [text for _, text in early] == texts + ["one more"], early
        middle = COUNT // 2
        rest = follow(client, url, "one more", last_id=ids[middle])
        assert rest == early[middle + 1 :], rest
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
