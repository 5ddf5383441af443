"""Time by operator: what a trace adds up to, of a bundle that runs here and of traces in files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import onnx_bundle
import pytest
from native_binaries import NATIVE, require
from typer.testing import CliRunner

from arcmobile.bench.operators import INSIDE_REST, OUTSIDE_REST, Call, Run, read_trace, summarise
from arcmobile.bench.result import BenchResult, OperatorProfile
from arcmobile.cli.main import app
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import InputError


def components(bundle: Path) -> list[str]:
    """The programs of a generation, in order."""
    manifest = Bundle.open(bundle).manifest
    parts = [part.component for part in manifest.windowing.decoder]
    assert len(parts) > 1
    return ["conditioner", "dit", *parts]


def shown(name: str) -> str:
    """What the tables call a program."""
    return {"dit": "DiT"}.get(name, name.replace("_", ", part "))


def a_run(total: float, *calls: Call, delegate: float = 0.0, delegate_calls: int = 0) -> Run:
    return Run(total, delegate, delegate_calls, calls)


def shares(profile: OperatorProfile) -> list[tuple[str, float, int, bool]]:
    return [(one.name, one.seconds, one.calls, one.delegated) for one in profile.operators]


def test_kinds_are_summed_and_the_rest_is_told() -> None:
    run = a_run(
        10.0,
        Call("Softmax #1", 1.0, delegated=True),
        Call("GEMM (F32) #1", 2.0, delegated=True),
        Call("GEMM (F32) #12", 3.0, delegated=True),
        Call("embedding.out", 0.5, delegated=False),
        delegate=8.0,
        delegate_calls=2,
    )
    profile = summarise("dit", [run])
    assert (profile.component, profile.total, profile.delegated) == ("dit", 10.0, 8.0)
    assert shares(profile) == [
        ("GEMM (F32)", 5.0, 2, True),
        (INSIDE_REST, 2.0, 2, True),
        (OUTSIDE_REST, 1.5, 1, False),
        ("Softmax", 1.0, 1, True),
        ("embedding.out", 0.5, 1, False),
    ]


def test_a_delegate_that_is_not_traced_inside() -> None:
    profile = summarise("dit", [a_run(1.0, delegate=0.75, delegate_calls=3)])
    assert shares(profile) == [
        ("XNNPACK, not traced inside", 0.75, 3, True),
        (OUTSIDE_REST, 0.25, 1, False),
    ]
    without = summarise("dit", [a_run(1.0, Call("add.out", 1.25, delegated=False))])
    assert [one.delegated for one in without.operators] == [False, False]
    assert without.operators[-1].seconds == 0.0  # clocks that disagree give no negative time


def test_the_median_run_counts_and_the_first_does_not() -> None:
    runs = [a_run(total) for total in (99.0, 3.0, 1.0, 2.0)]
    assert summarise("dit", runs).total == 2.0
    assert summarise("dit", runs[:3]).total == 1.0
    assert summarise("dit", runs[:1]).total == 99.0


def arcmobile(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["bench", "operators", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = arcmobile(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    return result.stderr


def test_command_on_a_bundle(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "operators.json"
    options = ("--threads", 1, "--runs", 3, "--top", 2, "--out", out)
    result = arcmobile("--bundle", micro_bundles["mobile"], *options)
    assert result.exit_code == 0, result.output
    names = components(micro_bundles["mobile"])
    for words in (*map(shown, names), "inside XNNPACK", "outside XNNPACK", "other"):
        assert words in result.stdout

    written = BenchResult.read(out)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert written.runner.kind == "python"
    assert written.environment.target == "host"
    assert [profile.component for profile in written.operators] == names
    for profile in written.operators:
        assert 0 < profile.delegated < profile.total
        assert sum(one.seconds for one in profile.operators) == pytest.approx(profile.total)
        inside = [one for one in profile.operators if one.delegated]
        assert sum(one.seconds for one in inside) == pytest.approx(profile.delegated)
        # XNNPACK tells of its own operators, also those that dynamic quantization brings.
        assert any(one.name.startswith("Fully Connected") for one in inside)
        dynamic = any("QDU8" in one.name or "QD8" in one.name for one in inside)
        precision = written.bundle.precision[profile.component].values()
        assert dynamic is any("int8-dynamic" in each for each in precision)
    outside = {one.name for one in written.operators[0].operators if not one.delegated}
    assert "embedding.out" in outside


def test_command_on_traces_of_the_native_runner(
    micro_bundles: dict[str, Path], tmp_path: Path
) -> None:
    program = require(NATIVE / "host" / "dist" / "arcmobile-run")
    arguments = [micro_bundles["mobile"], "rain", "--seed", "1", "--quiet"]
    subprocess.run([program, *arguments, "--etdump", tmp_path / "rain"], check=True)
    result = arcmobile("--etdump-dir", tmp_path)
    assert result.exit_code == 0, result.output
    titles = [f"{shown(name)}: " for name in components(micro_bundles["mobile"])]
    assert sorted(titles, key=result.stdout.find) == titles
    assert result.stdout.find(titles[0]) >= 0

    trace = tmp_path / "rain.dit.etdp"
    dump = trace.read_bytes()
    assert len(read_trace(dump, where="here")) == 8  # one a step
    for broken in (b"", b"nothing of the kind", dump[:-1], dump[:12] + bytes(len(dump) - 12)):
        with pytest.raises(InputError, match=r"here: .*record it again"):
            read_trace(broken, where="here")

    shutil.copy(trace, tmp_path / "thunder.dit.etdp")
    assert "several traces of dit" in refused("--etdump-dir", tmp_path)
    trace.write_bytes(b"broken")
    (tmp_path / "thunder.dit.etdp").unlink()
    assert "rain.dit.etdp" in refused("--etdump-dir", tmp_path)


def test_command_refuses(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = micro_bundles["mobile"]
    assert "--etdump-dir" in refused()
    assert "--etdump-dir" in refused("--bundle", bundle, "--etdump-dir", tmp_path)
    assert ".etdp" in refused("--etdump-dir", tmp_path)
    assert "--out" in refused("--etdump-dir", tmp_path, "--out", tmp_path / "a.json")
    assert "--seconds 99" in refused("--bundle", bundle, "--seconds", 99)
    assert "is a folder" in refused("--bundle", bundle, "--out", tmp_path)
    other = onnx_bundle.make_bundle(tmp_path / "onnx")
    assert "--backend executorch" in refused("--bundle", other)
