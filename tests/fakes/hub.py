"""The endpoints of the Hugging Face hub that an upload of small files uses, kept in memory."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_this_test"


@dataclass
class Hub:
    """What was created and uploaded."""

    url: str = ""
    repositories: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """By kind, repository and path."""
    validated: list[str] = field(default_factory=list)
    """The cards that the hub was asked to check."""


@contextmanager
def run_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"name": "me", "type": "user", "orgs": []})  # whoami

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/commit/main"):
                place = self.path.removeprefix("/api/").removesuffix("/commit/main")
                for line in map(json.loads, content.splitlines()):
                    if line["key"] == "file":
                        hub.files[f"{place}/{line['value']['path']}"] = base64.b64decode(
                            line["value"]["content"]
                        )
                self.answer({"commitUrl": f"{hub.url}/{place}/commit/1", "commitOid": "1", "success": True})
            elif self.path.endswith("/preupload/main"):
                modes = {"uploadMode": "regular", "shouldIgnore": False}
                self.answer({"files": [{**file, **modes} for file in json.loads(content)["files"]]})
            elif self.path == "/api/validate-yaml":
                hub.validated.append(json.loads(content)["content"])
                self.answer({"errors": [], "warnings": []})
            else:
                hub.repositories.append(json.loads(content))
                made = hub.repositories[-1]
                self.answer({"url": f"{hub.url}/{made['type']}s/{made['organization']}/{made['name']}"})

        def answer(self, value: Any) -> None:
            is_known = self.headers["Authorization"] == f"Bearer {TOKEN}" or "validate" in self.path
            content = json.dumps(value if is_known else {"error": "Invalid token"}).encode()
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
