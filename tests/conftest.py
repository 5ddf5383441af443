"""Fixtures shared by the tests: a random checkpoint so small that lowering it takes seconds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import adb_stand_in
import pytest

pytest_plugins = ("spoiled_checkpoints",)  # fixtures: copies of checkpoints

# Nothing here is large enough for two; on a busy machine they would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts background jobs with SIGINT ignored, nohup ignores SIGHUP, and what a test starts
# would inherit that.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What bundles remember of their files goes to a folder of this run."""
    os.environ["ARCMOBILE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def init_micro_checkpoint(folder: Path) -> None:
    """One DiT layer, one text encoder layer, two decoder stages; 64 latent frames."""
    from arcmobile.export.checkpoint.presets import Preset, TextEncoderSize, init_checkpoint

    preset = Preset(
        name="micro",
        text_encoder_name="t5-micro-random",
        sample_size=64 * 8,
        latent_channels=8,
        autoencoder_channels=8,
        c_mults=(1, 2),
        strides=(2, 4),
        embed_dim=64,
        depth=1,
        num_heads=2,
        text=TextEncoderSize(
            d_model=32, d_ff=64, d_kv=16, num_layers=1, num_heads=2, vocab_size=None
        ),
    )
    init_checkpoint(preset, 3, folder)


@pytest.fixture(scope="session")
def micro_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of :func:`init_micro_checkpoint`."""
    folder = tmp_path_factory.mktemp("checkpoints") / "micro"
    init_micro_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def micro_bundles(
    micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """ExecuTorch bundles of the micro checkpoint by recipe: ``fp32`` and ``mobile``."""
    from arcmobile.export.pipeline import ExportRequest, export_bundle

    folder = tmp_path_factory.mktemp("bundles")
    bundles = {}
    for recipe in ("fp32", "mobile"):
        bundles[recipe] = folder / recipe
        export_bundle(
            ExportRequest(
                checkpoint=micro_checkpoint,
                text_encoder=micro_checkpoint / "text_encoder",
                backend="executorch",
                recipe=recipe,
                destination=bundles[recipe],
            )
        )
    return bundles


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> adb_stand_in.Phone:
    """A phone behind a stand-in of adb, the only one on the PATH."""
    made, path = adb_stand_in.install(tmp_path / "phone")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return made
