"""A fake of EC2's instance metadata service, version 2, which requires a token."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-token-of-the-service"


@dataclass
class MetadataService:
    """The entries of the service by their path below /latest/meta-data; others are a 404."""

    entries: dict[str, str] = field(default_factory=dict)
    url: str = ""
    requested: list[str] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    """The HTTP status of requests that fail, by method."""


@contextmanager
def serve_metadata(**entries: str) -> Iterator[MetadataService]:
    """Serve entries on this machine; they can be changed while it runs."""
    service = MetadataService(
        {name.replace("__", "/").replace("_", "-"): text for name, text in entries.items()}
    )

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            if "PUT" in service.failures:
                self._answer(service.failures["PUT"])
            elif self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]:
                self._answer(200, TOKEN)
            else:
                self._answer(400)

        def do_GET(self) -> None:
            name = self.path.removeprefix("/latest/meta-data/")
            service.requested.append(name)
            if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self._answer(401)
            elif "GET" in service.failures:
                self._answer(service.failures["GET"])
            elif name in service.entries:
                self._answer(200, service.entries[name])
            else:
                self._answer(404)

        def _answer(self, code: int, text: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
