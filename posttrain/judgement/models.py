"""The models of one evaluation and their rows, in the order of the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arcmobile.export.backends import get_backend
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.manifest import SCHEDULE
from arcmobile.posttrain.judgement.rows import (
    Row,
    autoencoder_row,
    bundle_row,
    check_rate,
    exported,
    flow_row,
    pingpong_row,
    resynthesized_row,
)
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.quant.recipes import RECIPES, get_recipe
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.request import longest_seconds

STEPS = SCHEDULE.default_steps
FEWER_STEPS = (4, 1)


@dataclass(frozen=True)
class EvaluatedModels:
    """What is judged; see ``arcmobile evaluate --help``. Open with :meth:`open`.

    Attributes:
        base: the model before post-training.
        checkpoint: the post-trained model.
        bundles: to judge as they are.
        backend: of the recipes' bundles.
        recipes: to export the checkpoint with.
        threads: of bundles' engines.
    """

    base: CheckpointFolder | None
    checkpoint: CheckpointFolder | None
    bundles: Sequence[Bundle]
    backend: str
    recipes: Sequence[str]
    threads: int | None

    @classmethod
    def open(
        cls,
        *,
        base: Path | None = None,
        checkpoint: Path | None = None,
        bundles: Sequence[Path] = (),
        backend: str = "onnx",
        recipes: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> EvaluatedModels:
        """Check everything before anything is computed; ``recipes`` None: all of them.

        Raises:
            CheckpointError: a checkpoint is faulty.
            BundleError: a bundle is faulty.
            InputError: an unknown recipe or backend, or another sample rate.
        """
        chosen = tuple(RECIPES) if recipes is None else tuple(dict.fromkeys(recipes))
        for recipe in chosen:
            get_recipe(recipe)
        get_backend(backend)
        EngineOptions(threads).thread_count()
        folders = [
            None if path is None else CheckpointFolder.open(path) for path in (base, checkpoint)
        ]
        for folder in folders:
            if folder is not None:
                check_rate(folder)
                require_sound(folder, digest=True)
        opened = [Bundle.open(path) for path in bundles]
        for bundle in opened:
            if bundle.manifest.audio.sample_rate != MODEL_SAMPLE_RATE:
                rate = bundle.manifest.audio.sample_rate
                raise InputError(f"{bundle.folder}: {rate} Hz; wanted {MODEL_SAMPLE_RATE} Hz")
        return cls(folders[0], folders[1], opened, backend, chosen, threads)

    @property
    def longest_seconds(self) -> float:
        """Duration of the longest sound that all models can make."""
        folders = [folder for folder in (self.base, self.checkpoint) if folder is not None]
        lengths = [check_rate(folder) for folder in folders]
        lengths += [longest_seconds(bundle.manifest) for bundle in self.bundles]
        return min(lengths, default=float("inf"))

    @property
    def sources(self) -> dict[str, str]:
        """Digests of what was judged, by role: of checkpoints, and of bundles' manifests."""
        found = {}
        for role, folder in (("base", self.base), ("checkpoint", self.checkpoint)):
            if folder is not None:
                found[role] = folder.digest()
        for bundle in self.bundles:
            found[f"bundle {bundle.folder.resolve().name}"] = bundle.digest
        return found

    def rows(
        self, base_steps: int, guidance: float, work: Path, report: Callable[[str], None]
    ) -> list[Row]:
        """Return all rows; export bundles that do not exist yet into ``work``."""
        rows = [resynthesized_row()]
        trained = self.checkpoint or self.base
        if trained is not None:
            rows.append(autoencoder_row(trained))
        if self.base is not None:
            rows.append(flow_row(f"base, {base_steps} steps", self.base, base_steps, guidance))
            rows.append(flow_row(f"base, {STEPS} steps", self.base, STEPS, 1.0))
        bundles = list(self.bundles)
        if self.checkpoint is not None:
            for steps in (STEPS, *FEWER_STEPS):
                name = f"ARC, {steps} step{'s' if steps > 1 else ''}"
                rows.append(pingpong_row(name, self.checkpoint, steps))
            for recipe in self.recipes:
                report(f"bundle {self.backend} {recipe}")
                bundles.append(
                    exported(self.checkpoint, self.backend, recipe, work, lambda line: None)
                )
        rows += [bundle_row(bundle, STEPS, self.threads) for bundle in bundles]
        return _distinct(rows)


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows, numbered where a name occurs again."""
    seen: dict[str, int] = {}
    named = []
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
        count = seen[row.name]
        named.append(row if count == 1 else replace(row, name=f"{row.name} ({count})"))
    return named
