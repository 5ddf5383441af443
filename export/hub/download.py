"""One file of a Hugging Face repository at a time: what the hub says of it, and its bytes.

Nothing is taken on trust: a file counts as complete when it has the length that the hub announced
and, where its ETag is a digest (sha256 of large files, the git hash of small ones), that digest.
Interrupted files go on where they stopped, but only for the same repository, ETag and size.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from arcmobile.export.hub.names import require_repository_name
from arcmobile.export.hub.session import hub_errors, refusal, stored_token
from arcmobile.runtime.errors import HubError, OutputError
from arcmobile.runtime.verified_files import file_digest

if TYPE_CHECKING:
    import httpx2

RECORDS_FILE: Final = "arcmobile-download.json"
"""Where the files of a folder came from: commit, ETag, size and, once complete, sha256."""

_INCOMPLETE: Final = ".incomplete"
_BLOCK: Final = 1 << 20
_LONGEST_ANSWER: Final = 16 << 20  # of the hub's interface; a listing of 50 000 files
# Slower than this over such a time counts as stalled: 3 GB would take more than a month.
_LEAST_BYTES, _LEAST_SECONDS = 30_000, 30.0
_ATTEMPTS: Final = 5
_AGAIN: Final = "run this again: it goes on where it stopped"


@dataclass(frozen=True)
class Repository:
    """A repository at one commit, and the names of its files, those in folders too."""

    name: str
    revision: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub announces it.

    Attributes:
        repo: owner/name.
        revision: the commit it was announced for.
        name: path in the repository.
        etag: content hash or another mark that changes with the content.
        size: length in bytes.
    """

    repo: str
    revision: str
    name: str
    etag: str
    size: int

    def same_content(self, record: object) -> bool:
        """Tell whether an earlier record is about the same bytes of the same repository."""
        facts = {"repo": self.repo, "etag": self.etag, "size": self.size}
        return isinstance(record, dict) and facts == {name: record.get(name) for name in facts}

    def fits(self, path: Path) -> bool:
        """Tell whether the file at ``path`` has the announced length and digest."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if not set(self.etag) <= set("0123456789abcdef"):
            return True
        if len(self.etag) == 64:
            digest = hashlib.sha256()
        elif len(self.etag) == 40:  # as git names a file
            digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        else:
            return True
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest() == self.etag


def find_repository(repo: str, revision: str = "") -> Repository:
    """Ask the hub for a commit of a repository and its files.

    Args:
        repo: owner/name.
        revision: a branch, tag or commit; empty: the newest commit.

    Raises:
        InputError: there is no such repository or revision, or the name is not one.
        HubError: no access, no connection, or an answer that is not a listing.
    """
    from huggingface_hub import constants

    require_repository_name(repo)
    stored_token()
    asked = f"{repo} at {revision}" if revision else repo
    part = f"/revision/{quote(revision, safe='')}" if revision else ""
    with _hub_errors(asked):
        answer = _ask(asked, f"{constants.ENDPOINT}/api/models/{repo}{part}")
    try:
        about = json.loads(answer)
        commit = about["sha"]
        files = tuple(sibling["rfilename"] for sibling in about["siblings"])
    except (ValueError, RecursionError, KeyError, TypeError):
        raise HubError(
            f"{repo}: the hub's answer is not the listing of a repository "
            "(a login page of the network?); check the connection and HF_ENDPOINT"
        ) from None
    if not (isinstance(commit, str) and all(isinstance(name, str) for name in files)):
        raise HubError(f"{repo}: the hub's listing is malformed; check HF_ENDPOINT")
    return Repository(repo, commit, files)


def describe(repository: Repository, name: str) -> RemoteFile:
    """Ask the hub for a file's ETag and size.

    Raises:
        HubError: as :func:`find_repository`, or the answer is not the hub's.
    """
    from huggingface_hub import constants, get_hf_file_metadata

    repo = repository.name
    with _hub_errors(repo, name):
        found = get_hf_file_metadata(
            _url(repository.name, repository.revision, name), timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    if found.commit_hash != repository.revision or not found.etag or found.size is None:
        raise HubError(
            f"{repo}: {name}: the answer has no commit, ETag or length as the hub's have; "
            "check the connection and HF_ENDPOINT"
        )
    return RemoteFile(repo, repository.revision, name, found.etag, found.size)


class DownloadRecords:
    """Which files of a download folder came from where; written before their first byte.

    They stay in the complete folder, which is pinned by them: another download into it compares.

    Args:
        folder: the download, under way or complete.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._path = folder / RECORDS_FILE
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            found = None
        self._records: dict[str, Any] = found if isinstance(found, dict) else {}

    def knows(self, place: str, file: RemoteFile) -> bool:
        """Tell whether what lies at ``place`` in the folder are bytes of ``file``."""
        return file.same_content(self._records.get(place))

    def note(self, place: str, file: RemoteFile) -> None:
        """Record that ``place`` is going to hold ``file``."""
        self._records[place] = asdict(file)
        self._write()

    def commits(self) -> dict[str, str]:
        """Return the commit of each repository that the folder holds files of."""
        records = (record for record in self._records.values() if isinstance(record, dict))
        return {str(record.get("repo")): str(record.get("revision")) for record in records}

    def complete(self, places: Iterable[str]) -> None:
        """Leave the records of these files alone, with their sha256: the download is complete."""
        self._records = {
            place: self._records[place] | {"sha256": file_digest(self._folder / place)}
            for place in places
        }
        self._write()

    def _write(self) -> None:
        # After a kill half-way the file is not JSON, and everything is downloaded again.
        self._path.write_text(json.dumps(self._records, indent=1) + "\n", encoding="utf-8")


def require_same_download(out: Path, files: Mapping[str, RemoteFile]) -> None:
    """Check that a folder holds a complete download of these very files.

    Args:
        out: the folder, which holds :data:`RECORDS_FILE`.
        files: what would be downloaded, by place.

    Raises:
        OutputError: it holds other files, or one of them has changed since.
    """
    records = DownloadRecords(out)
    for place, file in files.items():
        if not records.knows(place, file):
            commit = records.commits().get(file.repo)
            held = f"{file.repo} at commit {commit}" if commit else "other files"
            raise OutputError(
                f"--out {out}: holds {held}, and not its {file.name} of {file.revision}; "
                "choose another folder, add --overwrite, or name the old commit with --revision"
            )
        if not file.fits(out / place):
            raise OutputError(
                f"--out {out / place}: is not what was downloaded any more; add --overwrite"
            )


def download(
    file: RemoteFile,
    target: Path,
    records: DownloadRecords,
    place: str,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """Put a file at ``target``, going on with what an earlier run left of the same file.

    Args:
        file: from :func:`describe`.
        target: where it goes; its folder exists.
        records: those of the download folder.
        place: the target's name in them.
        on_bytes: called with the number of bytes that have just arrived or were there already.

    Raises:
        HubError: the connection broke or stalled, or other bytes arrived than announced.
    """
    partial = target.with_name(target.name + _INCOMPLETE)
    if not records.knows(place, file):
        target.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        records.note(place, file)
    if file.fits(target):
        on_bytes(file.size)
        return
    target.unlink(missing_ok=True)
    if partial.is_file() and partial.stat().st_size > file.size:
        partial.unlink()
    have = partial.stat().st_size if partial.is_file() else 0
    on_bytes(have)
    for attempt in range(_ATTEMPTS):
        try:
            _receive(file, partial, on_bytes)
            break
        except HubError:
            # A connection that broke is worth another try as long as it brings the file forward.
            now = partial.stat().st_size if partial.is_file() else 0
            if now <= have or attempt + 1 == _ATTEMPTS:
                raise
            have = now
    if not file.fits(partial):
        partial.unlink(missing_ok=True)
        raise HubError(
            f"{file.repo}: {file.name} arrived damaged (its digest is not the hub's); "
            "run this again to download it anew"
        )
    partial.rename(target)


def _receive(file: RemoteFile, partial: Path, on_bytes: Callable[[int], None]) -> None:
    """Append to ``partial`` what is missing of a file, from one connection.

    Raises:
        HubError: more or less than the announced bytes arrived.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils._headers import build_hf_headers

    have = partial.stat().st_size if partial.is_file() else 0
    if have == file.size and partial.is_file():
        return
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    url = _url(file.repo, file.revision, file.name)
    with (
        _hub_errors(file.repo, file.name),
        get_session().stream(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as response,
    ):
        _require_success(response, f"{file.repo}: {file.name}")
        if have and not _continues(response, have, file.size):
            on_bytes(-have)
            have = 0
        left = file.size - have
        with partial.open("ab" if have else "wb") as out:
            for block in _blocks(file, response):
                left -= len(block)
                if left < 0:
                    break
                out.write(block)
                on_bytes(len(block))
    if left:
        if left < 0:
            partial.unlink(missing_ok=True)
            problem = f"more than the {file.size} bytes announced arrived; download it again later"
        else:
            problem = f"{file.size - left} of {file.size} bytes arrived; {_AGAIN}"
        raise HubError(f"{file.repo}: {file.name}: {problem}")


def _continues(response: httpx2.Response, have: int, size: int) -> bool:
    """Tell whether an answer holds the bytes from ``have`` on of a file of ``size`` bytes."""
    span = f"bytes {have}-{size - 1}/{size}"
    partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
    return partial and response.headers.get("Content-Range") == span


def _blocks(file: RemoteFile, response: httpx2.Response) -> Iterator[bytes]:
    """Yield the body of an answer.

    Raises:
        HubError: it trickles.
    """
    begin, arrived = time.monotonic(), 0
    for block in response.iter_raw():
        yield block
        arrived += len(block)
        if (now := time.monotonic()) - begin > _LEAST_SECONDS:
            if arrived < _LEAST_BYTES:
                raise HubError(f"{file.repo}: {file.name}: the hub stalls; {_AGAIN}")
            begin, arrived = now, 0


def _ask(where: str, url: str) -> bytes:
    """Return the body of an answer of the hub's interface.

    Raises:
        HubError: it does not end.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils._headers import build_hf_headers

    body = bytearray()
    headers = build_hf_headers()
    deadline = time.monotonic() + _LEAST_SECONDS
    with get_session().stream(
        "GET", url, headers=headers, timeout=constants.HF_HUB_ETAG_TIMEOUT
    ) as response:
        _require_success(response, where)
        for block in response.iter_bytes(1 << 16):
            body += block
            if len(body) > _LONGEST_ANSWER or time.monotonic() > deadline:
                raise HubError(
                    f"{where}: the hub's answer does not end; check HF_ENDPOINT, or try again later"
                )
    return bytes(body)


def _url(repo: str, revision: str, name: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}/resolve/{quote(revision, safe='')}/{quote(name)}"


def _hub_errors(repo: str, name: str = "") -> AbstractContextManager[None]:
    return hub_errors(f"{repo}: {name}" if name else repo, again=_AGAIN)


def _require_success(response: httpx2.Response, where: str) -> None:
    """Check an answer's status; the body is not looked at, whatever it is.

    Raises:
        InputError: no such repository or file.
        HubError: any other error status.
    """
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        error = refusal(response, where, again=_AGAIN)
        raise error
