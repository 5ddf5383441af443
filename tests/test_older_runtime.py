"""Bundles on a second release of ExecuTorch: the same values as on the installed one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from older_runtimes import environment
from older_runtimes.bundle_outputs import SOUND, outputs

from arcmobile.export.fidelity import snr_db
from arcmobile.export.pipeline import ExportRequest, export_bundle
from arcmobile.quant.recipes import RECIPES
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.engine import EngineOptions, open_engine
from arcmobile.runtime.errors import EngineError

OLDER = "1.4.1"  # make test installs it
MINIMUM_SNR_DB = 60.0


def run_older(way: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """``bundle_outputs`` of the folders, in a process that imports the older release."""
    return subprocess.run(
        [sys.executable, "-m", "older_runtimes.bundle_outputs", way, *map(str, folders)],
        cwd=Path(__file__).parent,
        env=environment(OLDER),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_recipe_computes_the_same(micro_checkpoint: Path, tmp_path: Path) -> None:
    request = ExportRequest(micro_checkpoint, tmp_path, "executorch", "", window=40, encoder=True)
    for recipe in RECIPES:
        folder = tmp_path / recipe
        folder.mkdir()
        outcome = export_bundle(replace(request, destination=folder / "bundle", recipe=recipe))
        inputs = {
            f"{component.name}:{entry.name}:{name}": tensor.numpy()
            for component in outcome.components
            for entry in component.entries
            for name, tensor in entry.inputs.items()
        }
        np.savez(folder / "inputs.npz", **inputs)
    installed = {recipe: outputs(tmp_path / recipe) for recipe in RECIPES}
    for way in ("plain", "weight-cache"):
        done = run_older(way, *(tmp_path / recipe for recipe in RECIPES))
        assert done.returncode == 0, done.stderr
        for recipe in RECIPES:
            older = np.load(tmp_path / recipe / "outputs.npz")
            assert SOUND in older
            assert set(older) == set(installed[recipe])
            for name, values in installed[recipe].items():
                ratio = snr_db(values, older[name])
                assert ratio is None or ratio >= MINIMUM_SNR_DB, f"{recipe} {name}, {way}: {ratio}"


def test_bundles_that_need_a_newer_release_are_refused(
    micro_bundles: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    for file in micro_bundles["mobile"].iterdir():
        (path / file.name).hardlink_to(file)
    text = (path / MANIFEST_NAME).read_text()
    assert json.loads(text)["minimum_runtime"] == "1.3.0"
    (path / MANIFEST_NAME).unlink()
    installed = metadata.version("executorch")
    for needed in ("2.0", "1.10.3"):
        stated = json.loads(text) | {"minimum_runtime": needed}
        (path / MANIFEST_NAME).write_text(json.dumps(stated))
        with pytest.raises(EngineError, match=f"needs ExecuTorch {needed}.*{installed}"):
            open_engine(Bundle.open(path), EngineOptions())
    unstated = {key: value for key, value in json.loads(text).items() if key != "minimum_runtime"}
    (path / MANIFEST_NAME).write_text(json.dumps(unstated))
    np.savez(tmp_path / "inputs.npz")
    done = run_older("plain", tmp_path)
    assert done.returncode == 1
    assert "made for ExecuTorch 1.5.1 or later, 1.4.1 is installed" in done.stderr
