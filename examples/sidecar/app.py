#!/usr/bin/env python3
"""An application with a WebSocket gateway beside it, in nothing but Python's standard library.

    python3 app.py --port 9000

It runs in the gateway's own pod, so it listens on localhost alone: no key, no Service, no network in between. It decides
who may connect and answers what clients say. docs/hooks.md says what goes over the wire.
"""

import argparse
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def connect(client):
    if client["user"] == "mallory":
        return {"action": "deny", "reason": "we have met"}
    return {"action": "allow"}


def message(client, asked):
    if asked["type"] != "shout":
        return {"action": "pass"}
    loud = str(asked.get("content", "")).upper()
    return {"action": "answer", "answer": {"type": "echo", "content": f"{client['user']}: {loud}"}}


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        decide = {"connect": lambda: connect(asked["client"]), "message": lambda: message(asked["client"], asked["message"])}
        body = json.dumps(decide[asked["kind"]]()).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=9000)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.parse_args().port), Application)
    # The first process of a container hears of nothing that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
