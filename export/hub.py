"""The trained weights, from the Hugging Face Hub, for users who have access to them.

Only the files an export needs are downloaded. They grow in a hidden neighbour of the target folder,
which stays after a failure so that the next try goes on where this one stopped; the target appears
when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcmobile.export.staging import partial_folder, staged_folder
from arcmobile.runtime.errors import CheckpointError, InputError

DEFAULT_REPO = "stabilityai/stable-audio-open-small"
DEFAULT_TEXT_REPO = "google-t5/t5-base"

MODEL_FILES = ("model_config.json", "model.safetensors")
TEXT_FILES = ("config.json", "model.safetensors", "spiece.model", "tokenizer.json")
LICENCE_FILES = ("LICENSE*",)

Download = Callable[[str, Sequence[str], Path], None]
"""(repository, file patterns, folder): put the files that match into the folder."""


@dataclass(frozen=True)
class Source:
    """A repository of the hub and the files wanted from it."""

    repo: str
    files: tuple[str, ...]
    subfolder: str


def fetch_checkpoint(
    out: Path,
    repo: str = DEFAULT_REPO,
    text_repo: str = DEFAULT_TEXT_REPO,
    *,
    overwrite: bool = False,
    download: Download | None = None,
) -> None:
    """Download model and text encoder into `out`, in the layout `CheckpointFolder` opens.

    Args:
        overwrite: allow `out` to be an existing checkpoint.
        download: stands in for :func:`download_from_hub` in tests.

    Raises:
        InputError: a name that is no repository, or one without the files.
        CheckpointError: no access, no network, or a file that did not arrive.
        OutputError: `out` exists, cannot be written, or its disk is full.
    """
    get = download or download_from_hub
    with staged_folder(
        out, replaceable=MODEL_FILES[0] if overwrite else None, keep_partial=True
    ) as folder:
        for source in (
            Source(repo, MODEL_FILES, ""),
            Source(text_repo, TEXT_FILES, "text_encoder"),
        ):
            target = folder / source.subfolder
            get(source.repo, (*source.files, *LICENCE_FILES), target)
            absent = [name for name in source.files if not (target / name).is_file()]
            if absent:
                raise InputError(
                    f"{source.repo}: has no {', '.join(absent)}; "
                    "name a repository in the layout of " + DEFAULT_REPO
                )


def download_from_hub(repo: str, patterns: Sequence[str], folder: Path) -> None:
    """`huggingface_hub.snapshot_download`, its errors turned into one line with the way out.

    A download that was interrupted goes on where it stopped.
    """
    import shutil

    from huggingface_hub import errors, snapshot_download

    try:
        snapshot_download(repo, allow_patterns=list(patterns), local_dir=folder)
    except errors.GatedRepoError:
        raise CheckpointError(
            f"{repo}: access is granted by its owner; accept the licence on its page of the hub, "
            "run `hf auth login`, then run this again"
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{repo}: no such repository, or a private one; check --repo, "
            "or run `hf auth login` with an account that sees it"
        ) from None
    except errors.HFValidationError as error:
        raise InputError(f"{repo}: not a repository name ({error}); write owner/name") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError):
        raise CheckpointError(
            f"{repo}: the hub cannot be reached; check the network (and HF_HUB_OFFLINE), "
            "then run this again: it goes on where it stopped"
        ) from None
    except errors.HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{repo}: the hub refused ({reason}); try again later") from None
    except OSError as error:
        if error.errno is not None:  # the disk's, see staged_folder
            raise
        raise CheckpointError(
            f"{repo}: the connection broke ({error}); run this again: it goes on where it stopped"
        ) from None
    # Its notes for resuming; of no use once every file is there.
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def interrupted_download(out: Path) -> Path | None:
    """The folder an unfinished download of `out` left, if there is one."""
    partial = partial_folder(out.absolute())
    return partial if partial.is_dir() else None
