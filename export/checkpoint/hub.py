"""The trained weights, from the Hugging Face Hub, for users who have access to them.

Only the files an export needs are downloaded. They grow in a hidden neighbour of the target folder,
which stays after a failure so that the next try goes on where this one stopped; the target appears
when it is complete. The contents of both repositories are listed before the first byte is
downloaded, and configs come before weights, so that a wrong name costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from arcmobile.export.checkpoint.disk_space import require_space
from arcmobile.export.checkpoint.folder import MODEL_CONFIG, TEXT_CONFIG, TEXT_ENCODER_FOLDER
from arcmobile.export.checkpoint.hub_download import (
    DownloadRecords,
    RemoteFile,
    describe,
    download,
    find_repository,
)
from arcmobile.export.checkpoint.weight_files import SafetensorsSource
from arcmobile.export.model.config import load_model_config, load_t5_config
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.whole_output import unfinished_folder, whole_folder

DEFAULT_REPO = "stabilityai/stable-audio-open-small"
DEFAULT_TEXT_REPO = "google-t5/t5-base"

MODEL_FILES = (MODEL_CONFIG, "model.safetensors")
TEXT_FILES = (TEXT_CONFIG, "model.safetensors", "spiece.model", "tokenizer.json")
LICENCE_FILES = "LICENSE*"

Report = Callable[[str], None]


@dataclass(frozen=True)
class _Wanted:
    """A file and its place in the checkpoint folder."""

    file: RemoteFile
    place: str


def fetch_checkpoint(
    out: Path,
    repo: str = DEFAULT_REPO,
    text_repo: str = DEFAULT_TEXT_REPO,
    *,
    overwrite: bool = False,
    report: Report = lambda line: None,
    on_total: Callable[[int], None] = lambda count: None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """Download model and text encoder into `out`, in the layout `CheckpointFolder` opens.

    Args:
        out: the folder to make.
        repo: repository of the model.
        text_repo: repository of its text encoder.
        overwrite: allow `out` to be an existing checkpoint.
        report: called with one line per file.
        on_total: called once with the bytes of all files.
        on_bytes: called with the bytes that have just arrived.

    Raises:
        InputError: a name that is not a repository's, or a repository without the files.
        CheckpointError: no access, no network, files that are not what they should be, or a
            connection that broke: the next run goes on.
        OutputError: `out` exists, cannot be written, its disk is full, or another process fetches.
    """
    with whole_folder(
        out, replaceable=MODEL_CONFIG, overwrite=overwrite, keep_partial=True, option="--out"
    ) as folder:
        wanted = [
            *_wanted(repo, MODEL_FILES, ""),
            *_wanted(text_repo, TEXT_FILES, f"{TEXT_ENCODER_FOLDER}/"),
        ]
        total = sum(one.file.size for one in wanted)
        records = DownloadRecords(folder)
        for other in sorted(records.repositories() - {repo, text_repo}):
            report(f"an earlier download of {other} is not used")
        require_space(out, total - _stored(folder))
        on_total(total)
        (folder / TEXT_ENCODER_FOLDER).mkdir(exist_ok=True)
        for one in sorted(wanted, key=lambda one: one.file.size):
            report(f"{one.file.repo}: {one.file.name}")
            target = folder / one.place
            download(one.file, target, records, one.place, on_bytes)
            _check_content(folder, one)
        _remove_others(folder, {one.place for one in wanted})
        records.close()


def interrupted_download(out: Path) -> Path | None:
    """Return the folder an unfinished download of ``out`` left, if there is one."""
    partial = unfinished_folder(out, keep_partial=True)
    return partial if partial.is_dir() else None


def _wanted(repo: str, needed: tuple[str, ...], prefix: str) -> list[_Wanted]:
    """Return the files to take from a repository: those needed, and its license.

    Raises:
        InputError: the repository lacks one that is needed.
    """
    repository = find_repository(repo)
    absent = [name for name in needed if name not in repository.files]
    if absent:
        raise InputError(
            f"{repo}: has no {', '.join(absent)}; "
            f"name a repository in the layout of {DEFAULT_TEXT_REPO if prefix else DEFAULT_REPO}"
        )
    licences = [name for name in repository.files if fnmatchcase(name, LICENCE_FILES)]
    names = dict.fromkeys((*needed, *licences))
    return [_Wanted(describe(repository, name), prefix + name) for name in names]


def _check_content(folder: Path, one: _Wanted) -> None:
    """Refuse a config of another model, or a file that holds no weights, as soon as it is there.

    Raises:
        CheckpointError: it is one.
    """
    path = folder / one.place
    try:
        if one.place == MODEL_CONFIG:
            load_model_config(path)
        elif one.place == f"{TEXT_ENCODER_FOLDER}/{TEXT_CONFIG}":
            load_t5_config(path)
        elif path.suffix == ".safetensors":
            SafetensorsSource(path)
    except CheckpointError as error:
        message = str(error).replace(f"{folder}/{TEXT_ENCODER_FOLDER}/", "")
        raise CheckpointError(f"{one.file.repo}: {message.replace(f'{folder}/', '')}") from None


def _stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove_others(folder: Path, places: set[str]) -> None:
    """Remove what an earlier download of other repositories left."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in places:
            path.unlink()
