"""`arcmobile publish`: a bundle and its card on the Hugging Face Hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcmobile.cli.card import (
    BaseModelOption,
    BundleArgument,
    LicenseOption,
    card_text,
    check_license,
)
from arcmobile.runtime.errors import InputError

if TYPE_CHECKING:
    from arcmobile.bench.licenses import License
    from arcmobile.runtime.bundle import Bundle

_MOST_TEXT = 1 << 20  # bytes of a card or a license


def publish(
    bundle: BundleArgument,
    repo: Annotated[
        str, typer.Argument(help="Repository on the Hub, OWNER/NAME.", show_default=False)
    ],
    card: Annotated[
        Path | None,
        typer.Option(
            help="Model card. Default: README.md in BUNDLE, else one made from the manifest."
        ),
    ] = None,
    license_file: Annotated[
        Path | None,
        typer.Option(help="Text of the weights' license. Default: LICENSE in BUNDLE, if any."),
    ] = None,
    license_name: LicenseOption = None,
    base_model: BaseModelOption = None,
    revision: Annotated[
        str, typer.Option(help="Branch to publish to; made if it is not there.")
    ] = "main",
    private: Annotated[
        bool,
        typer.Option("--private", help="Make the repository private; refuse one that is public."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, list the files, send nothing.")
    ] = False,
) -> None:
    """Put a bundle and its model card on the Hugging Face Hub, as one commit.

    Every file is read and compared with the manifest first. Run `hf auth login` once, with a token
    that may write. An upload that was interrupted goes on where it stopped.

    Example:  arcmobile publish BUNDLE me/rain-executorch --license-file LICENSE --private
    """
    from arcmobile.export.hub.names import require_repository_name
    from arcmobile.export.hub.publish import files_to_publish, require_branch
    from arcmobile.export.hub.publish import publish as send
    from arcmobile.runtime.bundle import Bundle

    require_repository_name(repo)
    require_branch(revision)
    opened = Bundle.open(bundle, verify=True)
    text, license = _card(opened, card, repo, license_name, base_model or [])
    files = files_to_publish(
        opened,
        text,
        license_text=_license_text(opened, license_file, license),
        notice=_notice(opened, license),
    )
    if dry_run:
        for file in files:
            typer.echo(f"{file.size:>12}  {file.name}")
        total = sum(file.size for file in files) / 1e6
        typer.echo(f"{repo}: {len(files)} files, {total:.1f} MB; nothing was sent (--dry-run)")
        return
    manifest = opened.manifest
    done = send(
        files,
        repo,
        message=f"{manifest.model_id} {manifest.recipe} for {manifest.backend}"[:200],
        revision=revision,
        private=private,
        progress=sys.stderr.isatty(),
        report=lambda line: typer.echo(line, err=True),
    )
    if done.others:
        typer.echo(f"{repo}: also has {', '.join(done.others)}, not of this bundle", err=True)
    what = "published" if done.changed else "had these files already"
    typer.echo(f"{repo}: {what}, commit {done.commit}\n{done.page}")


def _card(
    bundle: Bundle, path: Path | None, repo: str, license_name: str | None, base_models: list[str]
) -> tuple[str, License]:
    """Return the card to publish and the license that it states.

    Raises:
        InputError: the card cannot be read, or its front matter is broken.
    """
    from arcmobile.bench.model_card import CARD_NAME, card_license

    if path is None and (bundle.folder / CARD_NAME).is_file():
        path = bundle.folder / CARD_NAME
    if path is None:
        text = card_text(bundle, repo=repo, license_name=license_name, base_models=base_models)
        return text, card_license(text, CARD_NAME)
    if license_name is not None or base_models:
        raise InputError(
            f"--license and --base-model are for a new card, and there is {path}; "
            "make it again with arcmobile card --overwrite"
        )
    text = _read_text(path, "--card")
    license = card_license(text, str(path))
    check_license(bundle, license)
    return text, license


def _license_text(bundle: Bundle, path: Path | None, license: License) -> bytes | None:
    """Return the text that goes along with the weights.

    Raises:
        InputError: it is missing though the license asks for it, or it is another license's.
    """
    from arcmobile.bench.licenses import UNKNOWN, recognize_license
    from arcmobile.export.hub.publish import LICENSE

    if path is None and (bundle.folder / LICENSE).is_file():
        path = bundle.folder / LICENSE
    if path is None:
        if license.copy_required:
            raise InputError(
                f"--license-file: the {license.title} asks for a copy of its text with the "
                "weights; name the file that came with the checkpoint"
            )
        return None
    text = _read_text(path, "--license-file")
    found = recognize_license(text)
    if UNKNOWN not in (found, license) and found != license:
        raise InputError(
            f"--license-file {path}: is the {found.title}, the card says {license.title}; "
            "make both the same"
        )
    return text.encode()


def _notice(bundle: Bundle, license: License) -> str:
    if not license.notice:
        return ""
    manifest = bundle.manifest
    changes = f"Changed: exported for {manifest.backend} with recipe {manifest.recipe}."
    return f"{license.notice}\n\n{license.credit}\n\n{changes}\n"


def _read_text(path: Path, option: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_TEXT + 1)
        if len(data) > _MOST_TEXT:
            raise InputError(
                f"{option} {path}: has more than {_MOST_TEXT >> 20} MB; check the path"
            )
        return data.decode()
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{option} {path}: is not UTF-8 text; save it as UTF-8") from error
