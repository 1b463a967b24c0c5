"""An S3 that misbehaves: a proxy before moto's server that answers badly, cuts connections, or refuses."""

import http.client
import logging
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

BAD: Mapping[str, float] = {
    "slow down": 0.04,
    "internal error": 0.03,
    "cut before": 0.01,
    "cut after": 0.01,
    "cut inside": 0.01,
    "delay": 0.01,
}
"""Shares of the requests by what happens to them: a tenth fail, whether or not they were carried out."""
DELAY_S = 1.0
BUCKET = "weather"
KEYS = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
_ERRORS = {
    "slow down": (503, "SlowDown"),
    "internal error": (500, "InternalError"),
    "AccessDenied": (403, "AccessDenied"),
    "ExpiredToken": (400, "ExpiredToken"),
    "NoSuchUpload": (404, "NoSuchUpload"),
}
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "expect"}


class BadS3(ThreadingHTTPServer):
    """The proxy; `done` counts the requests by what happened to them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, behind: tuple[str, int], shares: Mapping[str, float], seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.shares = behind, shares
        self.refused: Mapping[str, str] = {}
        """What is answered by method: AccessDenied or ExpiredToken."""
        self.done: Counter[str] = Counter()
        self._random, self._lock = random.Random(seed), threading.Lock()

    def draw(self, method: str, path: str) -> str:
        """Return what happens to the next request."""
        with self._lock:
            kinds = [*self.shares, "passed"]
            weights = [*self.shares.values(), 1 - sum(self.shares.values())]
            kind = self.refused.get(method) or self._random.choices(kinds, weights)[0]
            self.done[kind] += 1
            return kind

    def refuse(self, code: str, methods: str = "GET HEAD PUT POST DELETE") -> None:
        """Answer requests of some methods with an error alone, from now on."""
        self.refused = dict.fromkeys(methods.split(), code)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: BadS3

    def handle_request(self) -> None:
        body = self._read_body()
        kind = self.server.draw(self.command, self.path)
        time.sleep(DELAY_S if kind == "delay" else 0.0)
        if kind in _ERRORS:
            self._answer(*_ERRORS[kind])
        elif kind == "cut before":
            self._cut()
        else:
            self._forward(body, kind)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(pieces)

    def _forward(self, body: bytes, kind: str) -> None:
        """Hand the request on with its body whole, and the answer back."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        with closing(http.client.HTTPConnection(*self.server.behind)) as behind:
            behind.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = behind.getresponse()
            content = answer.read()
        told = answer.getheader("Content-Length") if self.command == "HEAD" else None
        if kind != "cut after":
            cut_at = len(content) // 2 if kind == "cut inside" else None
            self._send(answer.status, answer.getheaders(), content[:cut_at], told or str(len(content)))
        if kind.startswith("cut"):
            self._cut()

    def _answer(self, status: int, code: str) -> None:
        host_id = "x" * 200  # the answers of S3 are as long
        told = f"<Error><Code>{code}</Code><Message>{code}</Message><HostId>{host_id}</HostId></Error>"
        content = b"" if self.command == "HEAD" else told.encode()
        self._send(status, [("Content-Type", "application/xml")], content, str(len(content)))

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, length: str) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def bad_s3(shares: Mapping[str, float] = BAD, *, seed: int = 1) -> Iterator[BadS3]:
    """Run moto's server and the proxy before it; its place and keys are in the environment meanwhile."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = BadS3(server.get_host_and_port(), shares, seed)
    behind = "http://{}:{}".format(*server.get_host_and_port())
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
        boto3.client("s3", endpoint_url=behind).create_bucket(Bucket=BUCKET)
        yield proxy
    proxy.shutdown()
    server.stop()
