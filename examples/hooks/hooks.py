#!/usr/bin/env python3
"""A chat's rules as a hook of the WebSocket gateway, in nothing but Python's standard library.

    HOOK_KEY=... python3 hooks.py --port 9000

It authenticates requests by their signature, keeps one user out, gives agents their type, filters a word, answers a
command, and prints the events it is told of. docs/hooks.md says what goes over the wire.
"""

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = os.environ.get("HOOK_KEY", "")
MAX_AGE = 300  # seconds; an older request is somebody's copy
MAX_BODY = 4 * 1024 * 1024


def is_signed(headers, body):
    """Whether one of the request's signatures is ours and not old."""
    timestamp = headers.get("wsc-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > MAX_AGE:
        return False
    wanted = hmac.new(KEY.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    given = headers.get("wsc-signature", "").split(",")
    return any(hmac.compare_digest(one, "v1=" + wanted) for one in given)


def connect(client):
    if client["user"] == "mallory":
        return {"action": "deny", "reason": "we have met"}
    return {"action": "allow", "attributes": {"greeted": "yes"}}


def message(client, asked):
    content = asked.get("content")
    if asked["type"] == "whoami":
        note = client.get("attributes", {}).get("greeted", "no")
        return {"action": "answer", "answer": {"type": "you", "content": client["user"], "data": {"greeted": note}}}
    if isinstance(content, str) and "secret" in content:
        return {"action": "refuse", "reason": "do not send secrets"}
    if isinstance(content, str) and "damn" in content:
        return {"action": "change", "content": content.replace("damn", "****")}
    return {"action": "pass"}


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > MAX_BODY:
            return self.answer(413, None)
        body = self.rfile.read(length)
        if KEY and not is_signed(self.headers, body):
            return self.answer(401, None)
        request = json.loads(body)
        content = self.headers.get("content-type", "")
        if content.startswith("application/cloudevents"):
            events = request if isinstance(request, list) else [request]
            for event in events:
                # An event may come twice: its id says so.
                print("event", event["type"], event.get("subject", ""), event["id"], flush=True)
            return self.answer(204, None)
        if request["kind"] == "connect":
            return self.answer(200, connect(request["client"]))
        if request["kind"] == "message":
            return self.answer(200, message(request["client"], request["message"]))
        return self.answer(204, None)

    def answer(self, status, reply):
        body = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=9000)
    given = arguments.parse_args()
    server = ThreadingHTTPServer((given.host, given.port), Hook)
    print("listening", server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
