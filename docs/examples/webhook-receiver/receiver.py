"""Receives notifications of ended jobs, checks their signature, and prints a line for each; needs only Python.

Run it as `WEBHOOK_SECRET=whsec_… python receiver.py 8000`.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
SEEN = set()  # keep it in a database: a restart forgets this one


def is_genuine(headers, body):
    """Whether a message was signed with our secret, in the last five minutes."""
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not (message_id and timestamp and timestamp.isdigit() and abs(time.time() - int(timestamp)) < 300):
        return False
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    # After `webhook rotate` there are two signatures for a day.
    return any(hmac.compare_digest(expected, one) for one in (headers["webhook-signature"] or "").split(" "))


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_genuine(self.headers, body):
            self.send_response(401)
            self.end_headers()
            return
        event = json.loads(body)
        if event["id"] not in SEEN:  # at least once means: sometimes twice
            SEEN.add(event["id"])
            print(event["type"], event["subject"], event["data"].get("problems", []), flush=True)  # noqa: T201
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
