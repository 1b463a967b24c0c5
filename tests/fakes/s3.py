"""A faulty S3: a proxy in front of moto's server that fails, cuts connections, or refuses requests.

It can also be an older server, which knows neither checksums at the end of an upload nor CRC-64.
"""

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

FAULTS: Mapping[str, float] = {
    "slow down": 0.04,
    "internal error": 0.03,
    "cut before": 0.01,
    "cut after": 0.01,
    "cut inside": 0.01,
    "delay": 0.01,
}
"""Rates of the faults: a tenth of the requests fail, some after they were carried out."""
DELAY_S = 1.0
BUCKET = "faulty"
KEYS = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
_ERRORS = {
    "slow down": (503, "SlowDown"),
    "internal error": (500, "InternalError"),
    "AccessDenied": (403, "AccessDenied"),
    "ExpiredToken": (400, "ExpiredToken"),
    "NoSuchUpload": (404, "NoSuchUpload"),
    "MissingContentLength": (411, "MissingContentLength"),
    "MissingContentMD5": (400, "MissingContentMD5"),
}
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "expect"}


class FaultyS3(ThreadingHTTPServer):
    """The proxy; `counts` are the numbers of requests by fault, or `passed`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: tuple[str, int], rates: Mapping[str, float], seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.rates = target, rates
        self.refused: Mapping[str, str] = {}
        """The error of each refused method: AccessDenied or ExpiredToken."""
        self.is_old = False
        """Uploads must have a length, and DeleteObjects an MD5, as with Ceph before 2024 and others."""
        self.counts: Counter[str] = Counter()
        self._random, self._lock = random.Random(seed), threading.Lock()

    def draw(self, method: str, path: str) -> str:
        """Return the fault of the next request, or `passed`."""
        with self._lock:
            faults = [*self.rates, "passed"]
            weights = [*self.rates.values(), 1 - sum(self.rates.values())]
            fault = self.refused.get(method) or self._random.choices(faults, weights)[0]
            self.counts[fault] += 1
            return fault

    def refuse(self, code: str, methods: str = "GET HEAD PUT POST DELETE") -> None:
        """Refuse all requests of some methods with an error, from now on."""
        self.refused = dict.fromkeys(methods.split(), code)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyS3

    def handle_request(self) -> None:
        body = self._read_body()
        fault = self._refuse_new() or self.server.draw(self.command, self.path)
        time.sleep(DELAY_S if fault == "delay" else 0.0)
        if fault in _ERRORS:
            self._answer(*_ERRORS[fault])
        elif fault == "cut before":
            self._cut()
        else:
            self._forward(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _refuse_new(self) -> str:
        """Return the error of an older server, which is counted, or nothing."""
        fault, headers = "", self.headers
        if self.server.is_old and self.command in ("PUT", "POST"):
            if "Content-Length" not in headers or "aws-chunked" in headers.get("Content-Encoding", ""):
                fault = "MissingContentLength"
            elif self.path.partition("?")[2].startswith("delete") and "Content-MD5" not in headers:
                fault = "MissingContentMD5"
        self.server.counts.update([fault] if fault else [])
        return fault

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

    def _forward(self, body: bytes, fault: str) -> None:
        """Forward the request with its whole body, and send the response back."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        with closing(http.client.HTTPConnection(*self.server.target)) as target:
            target.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = target.getresponse()
            content = answer.read()
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        if fault != "cut after":
            cut_at = len(content) // 2 if fault == "cut inside" else None
            self._send(answer.status, answer.getheaders(), content[:cut_at], length or str(len(content)))
        if fault.startswith("cut"):
            self._cut()

    def _answer(self, status: int, code: str) -> None:
        host_id = "x" * 200  # as long as responses of S3
        message = f"<Error><Code>{code}</Code><Message>{code}</Message><HostId>{host_id}</HostId></Error>"
        content = b"" if self.command == "HEAD" else message.encode()
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
def faulty_s3(rates: Mapping[str, float] = FAULTS, *, seed: int = 1) -> Iterator[FaultyS3]:
    """Run moto's server and the proxy, with the endpoint and keys of the proxy in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = FaultyS3(server.get_host_and_port(), rates, seed)
    target_url = "http://{}:{}".format(*server.get_host_and_port())
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
        boto3.client("s3", endpoint_url=target_url).create_bucket(Bucket=BUCKET)
        yield proxy
    proxy.shutdown()
    server.stop()
