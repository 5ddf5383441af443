"""The trained weights, from the Hugging Face Hub, for users who have access to them.

Only the files an export needs are downloaded. They grow in a hidden neighbour of the target folder,
which stays after a failure so that the next try goes on where this one stopped; the target appears
when it is complete. The contents of both repositories are listed before the first byte is
downloaded, and configs come before weights, so that a wrong name costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from arcmobile.export.checkpoint.disk_space import require_space
from arcmobile.export.checkpoint.folder import MODEL_CONFIG, TEXT_CONFIG, TEXT_ENCODER_FOLDER
from arcmobile.export.checkpoint.weight_files import SafetensorsSource
from arcmobile.export.hub.download import (
    RECORDS_FILE,
    DownloadRecords,
    RemoteFile,
    Repository,
    describe,
    download,
    find_repository,
    require_same_download,
)
from arcmobile.export.hub.names import DEFAULT_REPO, DEFAULT_TEXT_REPO
from arcmobile.export.hub.session import quiet_library
from arcmobile.export.messages import shown_name, shown_names
from arcmobile.export.model.config import load_model_config, load_t5_config
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.whole_output import unfinished_folder, whole_folder

WEIGHTS = "model.safetensors"
TEXT_FILES = (TEXT_CONFIG, WEIGHTS, "spiece.model", "tokenizer.json")
LICENSE_FILES = "LICENSE*"
# What a checkpoint folder's weights may be stored as, and what else holds weights.
_WEIGHT_SUFFIXES = (".safetensors", ".ckpt")
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".gguf", ".onnx")

Report = Callable[[str], None]


@dataclass(frozen=True)
class ModelSource:
    """A repository of a model, and what its files are called there.

    Attributes:
        repo: owner/name.
        revision: branch, tag or commit; empty: the newest commit.
        weights: the file of weights, ``.safetensors`` or ``.ckpt``.
        config: the model's config.
    """

    repo: str = DEFAULT_REPO
    revision: str = ""
    weights: str = WEIGHTS
    config: str = MODEL_CONFIG

    @property
    def files(self) -> dict[str, str]:
        """Names in the repository by place in a checkpoint folder.

        Raises:
            InputError: the weights are stored as what no export reads.
        """
        suffix = PurePosixPath(self.weights).suffix
        if suffix not in _WEIGHT_SUFFIXES:
            raise InputError(
                f"--weights {self.weights}: is not a .safetensors or .ckpt file; name one that is"
            )
        return {MODEL_CONFIG: self.config, f"model{suffix}": self.weights}


def fetch_checkpoint(
    out: Path,
    model: ModelSource,
    text_repo: str = DEFAULT_TEXT_REPO,
    *,
    text_revision: str = "",
    overwrite: bool = False,
    report: Report = lambda line: None,
    on_total: Callable[[int], None] = lambda count: None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> bool:
    """Download model and text encoder into ``out``, in the layout ``CheckpointFolder`` opens.

    The commits and digests of what was downloaded stay in the folder. Where an earlier run has
    completed it, its files are compared with those, and with what the hub has.

    Args:
        out: the folder to make.
        model: repository of the model.
        text_repo: repository of its text encoder.
        text_revision: branch, tag or commit of that; empty: the newest commit.
        overwrite: allow ``out`` to be an existing checkpoint.
        report: called with one line per file.
        on_total: called once with the bytes of all files.
        on_bytes: called with the bytes that have just arrived.

    Returns:
        Whether anything was downloaded; False where ``out`` holds these very files already.

    Raises:
        InputError: a name or revision of no repository, or a repository without the files.
        HubError: no access, no network, or a connection that broke: the next run goes on.
        CheckpointError: files that are not what they should be.
        OutputError: ``out`` exists, cannot be written, its disk is full, or another process
            fetches; or it holds another commit.
    """
    names = model.files
    with quiet_library():
        if not overwrite and (out / RECORDS_FILE).is_file():
            require_same_download(out, _wanted(model, names, text_repo, text_revision))
            return False
        with whole_folder(
            out, replaceable=MODEL_CONFIG, overwrite=overwrite, keep_partial=True, option="--out"
        ) as folder:
            wanted = _wanted(model, names, text_repo, text_revision)
            records = DownloadRecords(folder)
            for repo, commit in sorted(records.commits().items()):
                now = {file.revision for file in wanted.values() if file.repo == repo}
                if not now:
                    report(f"an earlier download of {repo} is not used")
                elif commit not in now:
                    report(f"{repo} has changed since; files that differ are downloaded anew")
            total = sum(file.size for file in wanted.values())
            require_space(out, total - _stored(folder))
            on_total(total)
            (folder / TEXT_ENCODER_FOLDER).mkdir(exist_ok=True)
            for place, file in sorted(wanted.items(), key=lambda item: item[1].size):
                report(f"{file.repo}: {file.name}")
                download(file, folder / place, records, place, on_bytes)
                _check_content(folder, place, file.repo)
            _remove_others(folder, {*wanted})
            records.complete(wanted)
    return True


def interrupted_download(out: Path) -> Path | None:
    """Return the folder an unfinished download of ``out`` left, if there is one."""
    partial = unfinished_folder(out, keep_partial=True)
    return partial if partial.is_dir() else None


def _wanted(
    model: ModelSource, names: dict[str, str], text_repo: str, text_revision: str
) -> dict[str, RemoteFile]:
    """Return the files to take, by place: those needed, and the licenses.

    Raises:
        InputError: a repository lacks one that is needed.
    """
    repository = find_repository(model.repo, model.revision)
    text = find_repository(text_repo, text_revision)
    _require_files(repository, names.values())
    _require_files(text, TEXT_FILES, text=True)
    found = {place: describe(repository, name) for place, name in names.items()}
    found |= {name: describe(repository, name) for name in _licenses(repository)}
    return found | {
        f"{TEXT_ENCODER_FOLDER}/{name}": describe(text, name)
        for name in (*TEXT_FILES, *_licenses(text))
    }


def _licenses(repository: Repository) -> list[str]:
    return [n for n in repository.files if "/" not in n and fnmatchcase(n, LICENSE_FILES)]


def _require_files(repository: Repository, needed: Iterable[str], *, text: bool = False) -> None:
    """Check that a repository has the files; those that could be meant are named.

    Raises:
        InputError: it lacks some.
    """
    absent = [name for name in needed if name not in repository.files]
    if not absent:
        return
    alike: list[str] = []
    advice: list[str] = []
    for name in absent:
        weights = PurePosixPath(name).suffix in _WEIGHT_SUFFIXES
        suffixes = (
            (*_WEIGHT_SUFFIXES, *_OTHER_WEIGHTS) if weights else (PurePosixPath(name).suffix,)
        )
        found = [other for other in repository.files if other.endswith(suffixes)]
        alike += [other for other in found if other not in alike]
        usable = [other for other in found if not weights or other.endswith(_WEIGHT_SUFFIXES)]
        if usable and not text:
            option = "--weights" if weights else "--config"
            advice.append(f"{option} {shown_name(usable[0])}")
    has = f"it has {shown_names(alike)}" if alike else "nor any file like it"
    layout = DEFAULT_TEXT_REPO if text else DEFAULT_REPO
    way_out = (
        f"add {' '.join(advice)}" if advice else f"name a repository in the layout of {layout}"
    )
    raise InputError(
        f"{repository.name}: has no {', '.join(map(shown_name, absent))}; {has}; {way_out}"
    )


def _check_content(folder: Path, place: str, repo: str) -> None:
    """Refuse a config of another model, or a file that holds no weights, as soon as it is there.

    Raises:
        CheckpointError: it is one.
    """
    path = folder / place
    try:
        if place == MODEL_CONFIG:
            load_model_config(path)
        elif place == f"{TEXT_ENCODER_FOLDER}/{TEXT_CONFIG}":
            load_t5_config(path)
        elif path.suffix == ".safetensors":
            SafetensorsSource(path)
    except CheckpointError as error:
        message = str(error).replace(f"{folder}/{TEXT_ENCODER_FOLDER}/", "")
        raise CheckpointError(f"{repo}: {message.replace(f'{folder}/', '')}") from None


def _stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove_others(folder: Path, places: set[str]) -> None:
    """Remove what an earlier download of other repositories left."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in places:
            path.unlink()
