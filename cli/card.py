"""`arcmobile card`: the model card of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from arcmobile.bench.licenses import License
    from arcmobile.runtime.bundle import Bundle

BundleArgument = Annotated[Path, typer.Argument(help="Bundle folder.", show_default=False)]
LicenseOption = Annotated[
    str | None,
    typer.Option(
        "--license",
        help="License of the weights, by the Hub's identifier, e.g. cc0-1.0 or "
        "stable-audio-community. Default: what the manifest says.",
    ),
]
BaseModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--base-model", help="Hub repository the bundle was exported from; may be repeated."
    ),
]


def card(
    bundle: BundleArgument,
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RESULT]...",
            help="Results of `arcmobile bench run` of this bundle, and results.json of "
            "`arcmobile evaluate`.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The card to write. Default: README.md in BUNDLE."),
    ] = None,
    repo: Annotated[
        str | None, typer.Option(help="Hub repository that the card is for, OWNER/NAME.")
    ] = None,
    license_name: LicenseOption = None,
    base_model: BaseModelOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a card that is there.")
    ] = False,
) -> None:
    """Write the model card that is published with a bundle.

    It has the front matter that the Hugging Face Hub reads, files with their digests, accuracy,
    license, provenance and how to run the bundle; with RESULTs also latency, memory and how well
    sounds follow captions.

    Example:  arcmobile card BUNDLE phone.json out/evaluation/results.json --license cc0-1.0
    """
    from arcmobile.bench.model_card import CARD_NAME
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.whole_output import check_file, write_whole_text

    opened = Bundle.open(bundle)
    path = out or opened.folder / CARD_NAME
    check_file(path, overwrite=overwrite, option="--out")
    text = card_text(
        opened, results or (), repo=repo, license_name=license_name, base_models=base_model or ()
    )
    write_whole_text(path, text, overwrite=overwrite, option="--out")
    typer.echo(f"{path}  ({path.stat().st_size / 1e3:.0f} kB)")


def card_text(
    bundle: Bundle,
    results: Sequence[Path] = (),
    *,
    repo: str | None = None,
    license_name: str | None = None,
    base_models: Sequence[str] = (),
) -> str:
    """Return the card of a bundle.

    Raises:
        InputError: a result is about another bundle, or a name is not one.
    """
    from arcmobile.bench.licenses import license_named, recognize_license
    from arcmobile.bench.model_card import (
        PLACEHOLDER_REPO,
        CardFacts,
        read_measurements,
        render_card,
    )
    from arcmobile.export.hub.names import require_repository_name

    for option, name in (("--repo", repo), *(("--base-model", name) for name in base_models)):
        if name is not None:
            require_repository_name(name, option)
    measured, adherence = read_measurements(bundle, results)
    if license_name:
        license = license_named(license_name)
    else:
        license = recognize_license(bundle.manifest.license_notice)
    check_license(bundle, license)
    return render_card(
        CardFacts(
            bundle=bundle,
            license=license,
            results=measured,
            adherence=adherence,
            base_models=base_models,
            repo=repo or PLACEHOLDER_REPO,
        )
    )


def check_license(bundle: Bundle, license: License) -> None:
    """Warn of a license that is unknown, or another one than the manifest names."""
    from arcmobile.bench.licenses import UNKNOWN, recognize_license

    if license == UNKNOWN:
        typer.echo("warning: the license of the weights is unknown; see --license", err=True)
    stated = recognize_license(bundle.manifest.license_notice)
    if UNKNOWN not in (license, stated) and license != stated:
        typer.echo(
            f"warning: the card says {license.title}, the bundle's manifest {stated.title}",
            err=True,
        )
