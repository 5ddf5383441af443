"""The model card: a bundle and what was measured of it, as the README.md of a Hub repository.

bundle + results + evaluation ─► facts ─► ``model_card.md.j2``

What stands on a card comes from the manifest and from results of the same bundle, never from hand.
Names in them come from anywhere, so the template escapes them for Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml
from huggingface_hub import ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from arcmobile.bench.labels import component_label, counted
from arcmobile.bench.licenses import LICENSES, UNKNOWN, License
from arcmobile.bench.records import AnyFigure, Count, read_record
from arcmobile.bench.result import BenchResult, Figure
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.bundle import Bundle, Component
from arcmobile.runtime.errors import InputError, one_line
from arcmobile.runtime.request import longest_seconds

CARD_NAME: Final = "README.md"
PLACEHOLDER_REPO: Final = "OWNER/NAME"
PROJECT_TAG: Final = "arcmobile"

_LONGEST_CELL: Final = 200
_MOST_MEASURES: Final = 32
_MEASURE_LABELS: Final = {"class": "right sound", "all": "everything right"}


class _Loose(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Share(_Loose):
    """How many captions came out right; ``low`` and ``high`` bound the share at 95 %."""

    right: Count
    of: Count
    share: AnyFigure | None
    low: AnyFigure
    high: AnyFigure

    @property
    def text(self) -> str:
        """Return ``97 % (94–99)``, or a dash where no caption counts."""
        if self.share is None:
            return "–"
        return f"{100 * self.share:.0f} % ({100 * self.low:.0f}–{100 * self.high:.0f})"


class EvaluatedRow(_Loose):
    """One model of an evaluation."""

    name: str
    adherence: dict[str, Share] = Field(max_length=_MOST_MEASURES)
    frechet: AnyFigure


class EvaluationRecord(_Loose):
    """The part of an evaluation's ``results.json`` that a card shows.

    Attributes:
        sources: Digests of what was judged, by role: of checkpoints, of bundles' manifests.
        prompts: The held-out captions.
        rows: The models.
    """

    sources: dict[str, str]
    prompts: tuple[Any, ...]
    rows: tuple[EvaluatedRow, ...] = Field(min_length=1)

    def row_of(self, bundle: Bundle, path: Path) -> EvaluatedRow:
        """Return the row that judges a bundle.

        Raises:
            InputError: the evaluation, read from ``path``, judges others, or several like it.
        """
        manifest = bundle.manifest
        name = f"{manifest.backend} {manifest.recipe}"
        digests = {bundle.digest, manifest.provenance.checkpoint_sha256}
        rows = [
            row for row in self.rows if re.fullmatch(rf"{re.escape(name)}( \(\d+\))?", row.name)
        ]
        if not rows or not digests & set(self.sources.values()):
            raise InputError(
                f"{path}: does not judge this bundle; "
                f"run arcmobile evaluate --bundle {bundle.folder}"
            )
        if len(rows) > 1:
            raise InputError(
                f"{path}: judges several bundles as {name!r}; "
                f"run arcmobile evaluate --bundle {bundle.folder} alone"
            )
        return rows[0]


@dataclass(frozen=True)
class Adherence:
    """How well a bundle follows held-out captions."""

    row: EvaluatedRow
    captions: int


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        bundle: The bundle.
        license: License of its weights.
        results: Measurements of this bundle.
        adherence: Its row of an evaluation.
        base_models: Hub repositories of the models it was exported from.
        repo: Hub repository that the card is for.
    """

    bundle: Bundle
    license: License
    results: Sequence[BenchResult] = ()
    adherence: Adherence | None = None
    base_models: Sequence[str] = ()
    repo: str = PLACEHOLDER_REPO


def read_measurements(
    bundle: Bundle, paths: Sequence[Path]
) -> tuple[list[BenchResult], Adherence | None]:
    """Read what was measured of a bundle: results of ``bench run`` and at most one evaluation.

    Raises:
        InputError: a file is neither, or is about another bundle.
    """
    results: list[BenchResult] = []
    adherence: Adherence | None = None
    for path in paths:
        record = read_record(
            path,
            TypeAdapter(dict[str, Any]),
            what="a result of `arcmobile bench run` or `arcmobile evaluate`",
            way_out="measure again",
        )
        if "rows" in record:
            if adherence is not None:
                raise InputError(f"{path}: is a second evaluation; give one")
            evaluation = read_record(
                path,
                TypeAdapter(EvaluationRecord),
                what="a result of `arcmobile evaluate`",
                way_out="evaluate again",
            )
            adherence = Adherence(evaluation.row_of(bundle, path), len(evaluation.prompts))
        else:
            result = BenchResult.read(path)
            if result.bundle.digest != bundle.digest:
                raise InputError(
                    f"{path}: measured another bundle ({result.bundle.name}, manifest "
                    f"{result.bundle.digest[:12]}…, not {bundle.digest[:12]}…); measure this one"
                )
            results.append(result)
    return results, adherence


def render_card(facts: CardFacts) -> str:
    """Return the card: YAML front matter for the Hub, then Markdown."""
    templates = Environment(
        autoescape=False,  # Markdown: see _cell
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters.update(
        cell=_cell, megabytes=_megabytes, spread=_spread, db=_decibels, counted=counted
    )
    source = resources.files("arcmobile.bench") / "model_card.md.j2"
    template = templates.from_string(source.read_text(encoding="utf-8"))
    manifest = facts.bundle.manifest
    body = template.render(
        facts=facts,
        manifest=manifest,
        files=sorted({record.file: record for record in manifest.files()}.items()),
        components=[(component_label(n), c) for n, c in manifest.components.items()],
        seconds=longest_seconds(manifest),
        measured=[(one, m) for one in facts.results for m in one.measurements],
        measure_labels=_MEASURE_LABELS,
        precision=_precision,
        folder=_folder_name(facts),
        backend=BACKENDS.get(manifest.backend),
    )
    return f"---\n{_front_matter(facts)}\n---\n\n{body}"


def card_license(card: str, name: str) -> License:
    """Return the license that a card states in its front matter, :data:`UNKNOWN` if none.

    Args:
        card: Its text.
        name: Its file, for messages.

    Raises:
        InputError: The front matter is broken.
    """
    try:
        data = ModelCard(card, ignore_metadata_errors=True).data
        stated = data.get("license_name") if data.get("license") == "other" else data.get("license")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{name}: its front matter is not what the Hub reads ({one_line(error)[:200]}); "
            "fix it, or make the card again with arcmobile card --overwrite"
        ) from error
    if stated is None:
        return UNKNOWN
    found = (known for known in (*LICENSES, UNKNOWN) if known.name == stated)
    return next(found, License(name=str(stated), title=one_line(stated)))


def _front_matter(facts: CardFacts) -> str:
    manifest, known = facts.bundle.manifest, facts.license
    data = ModelCardData(
        language="en",
        license=known.name if known.on_hub else "other",
        license_name=None if known.on_hub else known.name,
        license_link=None if known.on_hub else known.url,
        library_name=PROJECT_TAG,
        pipeline_tag="text-to-audio",
        base_model=list(facts.base_models) or None,
        base_model_relation="quantized" if facts.base_models else None,
        tags=[
            PROJECT_TAG,
            "on-device",
            "arm",
            one_line(manifest.backend),
            one_line(manifest.recipe),
        ],
    )
    return str(data.to_yaml())


def _folder_name(facts: CardFacts) -> str:
    """Return a name for the downloaded folder that a shell and Python take as it is."""
    name = facts.repo.rpartition("/")[2]
    if facts.repo == PLACEHOLDER_REPO:
        name = facts.bundle.folder.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "bundle"


def _cell(value: object) -> str:
    """Text from outside as text in Markdown: on one line, with no markup of its own."""
    line = one_line(value)
    if len(line) > _LONGEST_CELL:
        line = f"{line[:_LONGEST_CELL]}…"
    return re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", line)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f}"


def _spread(figure: Figure) -> str:
    """Return ``6.2 (6.1–6.4, n = 5)``: median, range and number of runs, in seconds."""
    low, high = f"{figure.minimum:.2f}", f"{figure.maximum:.2f}"
    return f"{figure.median:.2f} ({low}–{high}, n = {len(figure.values)})"


def _decibels(value: float | None) -> str:
    return "identical" if value is None else f"{value:.1f}"


def _precision(component: Component) -> str:
    return ", ".join(dict.fromkeys(component.precision.values()))
