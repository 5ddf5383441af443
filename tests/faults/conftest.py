"""The bundles that the readers break, one of each backend for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.inputs import SHARED


@pytest.fixture(scope="session")
def shared_inputs(
    micro_checkpoint: Path, micro_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Folder of the bundles; readers in other processes find it in the environment."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "checkpoint").symlink_to(micro_checkpoint)
    (folder / "executorch").symlink_to(micro_bundles["mobile"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SHARED, str(folder))
        yield folder
