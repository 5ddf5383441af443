"""A hub on the loopback that serves folders as repositories, takes uploads, and can answer wrongly.

Faults are keyed by ``REPO:api`` or ``REPO:FILE``, those of uploads by their step (``create``,
``preupload``, ``batch``, ``lfs``, ``commit``); see :class:`Fault`. Files above 1 kB are uploaded as
large files, to addresses that hold a signature.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


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
    root: Path | None = None  # where new repositories go; branches stand beside, as REPO@BRANCH
    private: set[str] = field(default_factory=set)
    large: dict[str, bytes] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def folder(self, repo: str, revision: str) -> Path | None:
        """The files of a revision: a branch, or the commit that one is at."""
        main = self.repositories.get(repo)
        if main is None or revision in ("", "main"):
            return main
        branch = self.repositories.get(f"{repo}@{revision}")
        heads = [f for name, f in self.repositories.items() if name.partition("@")[0] == repo]
        return branch or next((head for head in heads if commit_of(head) == revision), None)

    def downloads(self) -> list[str]:
        """Keys of the files whose bytes were asked for, in order."""
        return [key for method, key, _ in self.asked if method == "GET" and ":api" not in key]


def commit_of(folder: Path) -> str:
    """The commit that holds the files of a folder as they are."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha1(b"".join(file.read_bytes() for file in files)).hexdigest()


def _oid(content: bytes, large: bool) -> str:
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


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


TOKEN = "hf_" + "aSecretOfTheTest" * 2
SIGNATURE = "aSignatureOfTheTest"


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
        revision = unquote("".join(words[5:6]) if api else words[3])
        folder = self.served.folder(repo, revision)
        self.served.asked.append((self.command, f"{repo}:{name}", self.headers.get("Range")))
        if folder is None or not (api or (folder / name).is_file()):
            known = repo in self.served.repositories
            code = "RepoNotFound" if not known else "RevisionNotFound" if api else "EntryNotFound"
            self._send(Fault(status=404), b"", {"X-Error-Code": code})
            return
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
        commit = commit_of(folder)
        headers = {"X-Repo-Commit": commit}
        if api:
            siblings = [{"rfilename": file} for file in files]
            about = {"id": repo, "sha": commit, "private": repo in self.served.private}
            body = json.dumps(about | {"siblings": siblings}).encode()
        else:
            body = (folder / name).read_bytes()
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        fault = self.served.faults.get(f"{repo}:{name}", Fault())
        self._send(fault if self.command in fault.methods else Fault(), body, headers)

    def do_PUT(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        """Make repositories and branches, and take files, from who has the token."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        words = self.path.partition("?")[0].strip("/").split("/")
        key = next(
            w
            for w in ("create", "preupload", "batch", "lfs", "commit", "branch", "validate-yaml")
            if w in words
        )
        self.served.asked.append((self.command, key, self.headers.get("Authorization")))
        if key in self.served.faults:
            self._send(self.served.faults[key], b"{}", {})
            return
        if key != "lfs" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(Fault(status=401), b"{}", {})
            return
        if key == "lfs":
            self.served.large[words[-1]] = data
            answer: Any = {}
        else:
            lines = [json.loads(line) for line in data.splitlines()]
            answer = getattr(self, f"_{key.replace('-', '_')}")(words, lines)
        self._send(Fault(), json.dumps(answer).encode(), {})

    def _create(self, words: list[str], lines: list[Any]) -> Any:
        repo = f"{lines[0]['organization']}/{lines[0]['name']}"
        assert self.served.root is not None
        folder = self.served.root / repo
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.pte filter=lfs\n")
        self.served.repositories[repo] = folder
        if lines[0].get("visibility") == "private":
            self.served.private.add(repo)
        return {"url": f"http://{self.headers['Host']}/{repo}"}

    def _branch(self, words: list[str], lines: list[Any]) -> Any:
        repo = "/".join(words[2:4])
        branch = f"{repo}@{unquote(words[5])}"
        if branch not in self.served.repositories:
            folder = self.served.repositories[repo]
            self.served.repositories[branch] = folder.with_name(f"{folder.name}@{words[5]}")
            shutil.copytree(folder, self.served.repositories[branch])
        return {}

    def _validate_yaml(self, words: list[str], lines: list[Any]) -> Any:
        return {"errors": [], "warnings": []}

    def _preupload(self, words: list[str], lines: list[Any]) -> Any:
        folder = self.served.folder("/".join(words[2:4]), unquote(words[5]))
        assert folder is not None
        files = []
        for file in lines[0]["files"]:
            here = folder / file["path"]
            large = file["size"] > 1000
            oid = _oid(here.read_bytes(), large) if here.is_file() else None
            mode = "lfs" if large else "regular"
            files.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        return {"files": files}

    def _batch(self, words: list[str], lines: list[Any]) -> Any:
        objects = []
        for wanted in lines[0]["objects"]:
            href = f"http://{self.headers['Host']}/lfs/{wanted['oid']}?X-Signature={SIGNATURE}"
            there = wanted["oid"] in self.served.large
            objects.append(wanted | ({} if there else {"actions": {"upload": {"href": href}}}))
        return {"transfer": "basic", "objects": objects}

    def _commit(self, words: list[str], lines: list[Any]) -> Any:
        repo = "/".join(words[2:4])
        folder = self.served.folder(repo, unquote(words[5]))
        assert folder is not None
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile":
                content = self.served.large[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
            else:
                content = base64.b64decode(value["content"])
            (folder / value["path"]).write_bytes(content)
        commit = commit_of(folder)
        return {"commitUrl": f"http://{self.headers['Host']}/{repo}", "commitOid": commit}

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
        if self.command != "HEAD":
            self.wfile.write(body[: fault.keep])
            self.close_connection = fault.keep is not None
