"""The bundles that the readers break, one of each backend for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.inputs import SHARED


@pytest.fixture(scope="session")
def inputs_folder(
    micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Where bundles are made on first use; other processes find it by the environment."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "checkpoint").symlink_to(micro_checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SHARED, str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_inputs(inputs_folder: Path, micro_bundles: dict[str, Path]) -> Path:
    """The same with the ExecuTorch bundle that other tests have exported."""
    (inputs_folder / "executorch").symlink_to(micro_bundles["mobile"])
    return inputs_folder
