"""A hub with one model, for whoever has the token: half of the weights come when /open was asked for."""

import http.server
import json
import os
import threading

MODEL = "/models"
COMMIT = "5f1c2ab05f1c2ab05f1c2ab05f1c2ab05f1c2ab0"
opened = threading.Event()


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/open":
            opened.set()
            self.answer(b"")
        elif self.headers.get("Authorization") != "Bearer " + os.environ["TOKEN"]:
            self.send_error(401)
        elif path == "/api/models/acme/triage/revision/main":
            files = [{"rfilename": name, "size": os.path.getsize(f"{MODEL}/{name}")} for name in os.listdir(MODEL)]
            self.answer(json.dumps({"sha": COMMIT, "siblings": files}).encode())
        elif path.startswith(f"/acme/triage/resolve/{COMMIT}/"):
            with open(f"{MODEL}/{path.rsplit('/', 1)[1]}", "rb") as file:
                self.answer(file.read())
        else:
            self.send_error(404)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if self.path.endswith(".safetensors"):
            opened.wait()
        self.wfile.write(body[len(body) // 2 :])

    def log_message(self, format, *words):
        print(self.path, flush=True)


http.server.ThreadingHTTPServer(("", 8080), Hub).serve_forever()
