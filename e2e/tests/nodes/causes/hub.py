"""A hub whose models are each wrong in their own way, for whoever has the token; by TLS too, where nobody trusts it."""

import http.server
import json
import os
import ssl
import threading

COMMIT = "5f1c2ab05f1c2ab05f1c2ab05f1c2ab05f1c2ab0"
CONFIG = json.dumps({"architectures": ["StrangeForCausalLM"], "model_type": "strange"}).encode()
FILES = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": b"not what it says"}
SEVERAL = {"one.gguf": b"", "two.gguf": b""}
MODELS = {"kept": FILES, "lying": FILES, "strange": FILES, "vast": FILES, "several": SEVERAL}


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        files = MODELS.get(parts[3] if parts[0] == "api" else parts[1])
        if self.headers.get("Authorization") != "Bearer " + os.environ["TOKEN"]:
            self.send_error(401)
        elif files is None:
            self.send_error(404)
        elif parts[0] == "api":
            listed = [self.listed(parts[3], name, body) for name, body in files.items()]
            self.answer(json.dumps({"sha": COMMIT, "siblings": listed}).encode())
        else:
            self.answer(files[parts[-1]])

    def listed(self, model, name, body):
        told = {"rfilename": name, "size": len(body)}
        if name == "model.safetensors" and model == "lying":
            told["lfs"] = {"sha256": "0" * 64, "size": len(body)}
        if name == "model.safetensors" and model == "vast":
            told["size"] = 1 << 50
        return told

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *words):
        print(self.path, format % words, flush=True)


plain = http.server.ThreadingHTTPServer(("", 8080), Hub)
secured = http.server.ThreadingHTTPServer(("", 8443), Hub)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/tls/certificate.pem", "/tls/key.pem")
secured.socket = context.wrap_socket(secured.socket, server_side=True)
threading.Thread(target=secured.serve_forever, daemon=True).start()
plain.serve_forever()
