"""A webhook receiver with the standard library: WEBHOOK_SECRET=… PORT=8080 python3 server.py"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from verify import verify_signature

SECRET = os.environ.get("WEBHOOK_SECRET", "")
MAX_BODY = 1 << 20

# Events may come more than once. A real receiver keeps the ids of the last
# days in its database.
seen = set()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "-1"))
        if length < 0 or length > MAX_BODY:
            self.close_connection = True
            self.answer(413, {"error": "body missing or too large"})
            return
        body = self.rfile.read(length)
        if not verify_signature(body, self.headers.get("X-PromptReports-Signature", ""), SECRET):
            self.answer(401, {"error": "invalid signature"})
            return
        event = json.loads(body)
        duplicate = event["id"] in seen
        seen.add(event["id"])
        if not duplicate:
            print(event["type"], event["id"], flush=True)
        self.answer(200, {"received": True, "duplicate": duplicate})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    if not SECRET:
        sys.exit("WEBHOOK_SECRET is not set")
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
