"""The smallest application that has a version, a health and a secret."""

import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        bad = os.environ.get("FAULT") == "not_ready" and self.path == "/ready"
        secret = hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest()
        body = json.dumps({"release": os.environ["RELEASE"], "secret": secret}).encode()
        self.send_response(503 if bad else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("", 8000), Handler).serve_forever()
