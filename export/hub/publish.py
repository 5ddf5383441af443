"""A bundle, its card and its license ─► one commit of a Hub repository.

The files of the bundle are read and compared with the manifest before anything is sent, and the Hub
is given their digests. All files appear in one commit, so a repository never shows half a bundle.
Pieces that have arrived before a failure are not sent again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arcmobile.export.hub.names import require_repository_name
from arcmobile.export.hub.session import access_token, hub_errors, hub_session, page_of
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.errors import HubError, InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN: Final = "main"
CARD, LICENSE, NOTICE = "README.md", "LICENSE", "NOTICE"

_AGAIN: Final = "run this again: what has arrived is not sent again"
_MAY_NOT_WRITE: Final = "run `hf auth login` with a token that may write to it"
_BRANCH: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]|/(?=[A-Za-z0-9])){0,99}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
# What the Hub puts there itself.
_OF_THE_HUB: Final = frozenset({".gitattributes"})

Report = Callable[[str], None]


@dataclass(frozen=True)
class PublishedFile:
    """A file as it is sent.

    Attributes:
        name: In the repository.
        content: Its bytes, or where they are.
        size: In bytes.
        sha256: Digest of a file of the bundle; None for the others, which are small.
    """

    name: str
    content: bytes | Path
    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Publication:
    """What a repository holds afterwards.

    Attributes:
        page: Address of its page.
        commit: Digest of the commit that has the files.
        changed: Whether that commit is new.
        others: Files of the repository that are not of this bundle.
    """

    page: str
    commit: str
    changed: bool
    others: tuple[str, ...]


def files_to_publish(
    bundle: Bundle, card: str, *, license_text: bytes | None = None, notice: str = ""
) -> list[PublishedFile]:
    """Return the files that are sent for a bundle, smallest first.

    Args:
        bundle: Opened with ``verify``, so that its files are those of its manifest.
        card: The model card.
        license_text: The license of the weights, word by word.
        notice: What the license wants to be said with each copy.
    """
    extra = {CARD: card.encode()}
    if license_text is not None:
        extra[LICENSE] = license_text
    if notice:
        extra[NOTICE] = notice.encode()
    files = [PublishedFile(name, content, len(content)) for name, content in extra.items()]
    manifest = (bundle.folder / MANIFEST_NAME).read_bytes()
    files.append(PublishedFile(MANIFEST_NAME, manifest, len(manifest)))
    for record in {record.file: record for record in bundle.manifest.files()}.values():
        if record.file in extra:
            raise InputError(f"{bundle.folder}: a file of the bundle is called {record.file}")
        path = bundle.file(record)
        files.append(PublishedFile(record.file, path, record.bytes, record.sha256))
    return sorted(files, key=lambda file: (file.size, file.name))


def require_branch(revision: str) -> None:
    """Check that ``revision`` can be a branch to publish to.

    Raises:
        InputError: It cannot.
    """
    if _COMMIT.fullmatch(revision):
        raise InputError(f"--revision {revision}: is a commit; name a branch")
    if not _BRANCH.fullmatch(revision) or ".." in revision or revision.endswith((".lock", ".")):
        raise InputError(f"--revision {revision!r}: not the name of a branch, such as v1 or int8")


def publish(
    files: list[PublishedFile],
    repo: str,
    *,
    message: str,
    revision: str = MAIN,
    private: bool = False,
    progress: bool = False,
    report: Report = lambda line: None,
) -> Publication:
    """Put files into a repository, which is made if it is not there, as one commit.

    Args:
        files: From :func:`files_to_publish`.
        repo: Repository of models, ``owner/name``.
        message: First line of the commit.
        revision: Branch, made from ``main`` if it is not there.
        private: Make a new repository private, and refuse one that is public.
        progress: Show the library's progress bars on standard error.
        report: Called with a line per step.

    Raises:
        HubError: Nobody is logged in, the account may not write there, the Hub cannot be reached
            or answers wrongly, or the repository is public and should not be.
        InputError: ``repo`` is not a repository's name, or ``revision`` not a branch.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    require_repository_name(repo)
    require_branch(revision)
    token = access_token()
    with hub_session(progress=progress):
        api = HfApi(token=token)
        _open_repository(api, repo, private=private, report=report)
        with hub_errors(repo, again=_AGAIN, denied=_MAY_NOT_WRITE):
            if revision != MAIN:
                api.create_branch(repo, branch=revision, exist_ok=True)
            before = api.model_info(repo, revision=revision)
            operations = []
            for file in files:
                operation = CommitOperationAdd(file.name, file.content)
                if file.sha256 is not None:
                    operation.upload_info.sha256 = bytes.fromhex(file.sha256)
                operations.append(operation)
            report(f"{repo}: sending {sum(file.size for file in files) / 1e6:.1f} MB")
            commit = api.create_commit(repo, operations, commit_message=message, revision=revision)
            sent = {file.name for file in files} | _OF_THE_HUB
            others = sorted({sibling.rfilename for sibling in before.siblings or ()} - sent)
    return Publication(page_of(repo), commit.oid, commit.oid != before.sha, tuple(others))


def _open_repository(api: HfApi, repo: str, *, private: bool, report: Report) -> None:
    """Make the repository if it is not there; refuse a public one that should be private."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(repo, again=_AGAIN, denied=_MAY_NOT_WRITE):
        try:
            found = api.model_info(repo)
        except RepositoryNotFoundError:
            report(f"{repo}: is new")
            api.create_repo(repo, private=private or None)
            found = api.model_info(repo)
    if private and found.private is not True:
        raise HubError(
            f"{repo}: is public; make it private on its page of the hub, or leave out --private"
        )
