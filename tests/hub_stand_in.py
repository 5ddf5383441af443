"""A hub on the loopback that serves folders as repositories, and can answer wrongly.

Faults are keyed by ``REPO:api`` or ``REPO:FILE``; see :class:`Fault`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fault:
    """How an answer is wrong.

    Attributes:
        status: another status than 200.
        keep: bytes of the body that are sent before the connection closes.
        body: another body, of its own length.
        stall: whether nothing is sent after the request until the hub is stopped.
        headers: headers in place of the right ones; None leaves one out.
        methods: the requests that are answered so.
    """

    status: int = 200
    keep: int | None = None
    body: bytes | None = None
    stall: bool = False
    headers: dict[str, str | None] = field(default_factory=dict)
    methods: tuple[str, ...] = ("GET", "HEAD")


@dataclass
class Hub:
    """The stand-in; ``asked`` holds (method, key, Range header) of every request."""

    repositories: dict[str, Path] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def downloads(self) -> list[str]:
        """Keys of the files whose bytes were asked for, in order."""
        return [key for method, key, _ in self.asked if method == "GET" and ":api" not in key]


@contextmanager
def serve() -> Iterator[tuple[Hub, str]]:
    """A hub and its address."""
    hub = Hub()

    class Handler(_Handler):
        served = hub

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        hub.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        words = self.path.partition("?")[0].strip("/").split("/")
        api = words[:2] == ["api", "models"]
        repo = "/".join(words[2:4] if api else words[:2])
        name = "api" if api else "/".join(words[4:])
        folder = self.served.repositories.get(repo)
        self.served.asked.append((self.command, f"{repo}:{name}", self.headers.get("Range")))
        if folder is None or not (api or (folder / name).is_file()):
            self._send(Fault(status=404), b"", {})
            return
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
        commit = hashlib.sha1(b"".join((folder / file).read_bytes() for file in files)).hexdigest()
        headers = {"X-Repo-Commit": commit}
        if api:
            siblings = [{"rfilename": file} for file in files]
            body = json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        else:
            body = (folder / name).read_bytes()
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        fault = self.served.faults.get(f"{repo}:{name}", Fault())
        self._send(fault if self.command in fault.methods else Fault(), body, headers)

    def _send(self, fault: Fault, body: bytes, headers: dict[str, str]) -> None:
        if fault.stall:
            self.served.stopped.wait(60)
            return
        status, body = fault.status, body if fault.body is None else fault.body
        begin = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        if begin and status == 200:
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            body = body[int(begin) :]
        self.send_response(status)
        merged: dict[str, str | None] = {"Content-Length": str(len(body)), **headers}
        for header, value in {**merged, **fault.headers}.items():
            if value is not None:
                self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: fault.keep])
            self.close_connection = fault.keep is not None
