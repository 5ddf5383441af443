"""The front door: exit codes, one-line errors, laziness; doctor at its boundary."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from arcmobile.cli import doctor as doctor_module
from arcmobile.cli import main as main_module
from arcmobile.cli.main import COMMANDS, Entry, app, load_command
from arcmobile.export.checkpoint.presets import PRESETS, init_checkpoint
from arcmobile.runtime import installation
from arcmobile.runtime.errors import BundleError

run = CliRunner().invoke


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Registers a command `try-me` that raises what it is given."""

    def register(error: BaseException) -> None:
        def try_me() -> None:
            raise error

        monkeypatch.setattr(main_module, "try_me", try_me, raising=False)
        entry = Entry("arcmobile.cli.main:try_me", "raises", "Make")
        monkeypatch.setitem(COMMANDS, "try-me", entry)

    return register


def test_every_command_of_the_table_loads() -> None:
    assert {name: load_command(name).name for name in COMMANDS} == {name: name for name in COMMANDS}


def test_help_imports_none_of_the_heavy_modules() -> None:
    code = (
        "import sys\n"
        "from arcmobile.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'onnxruntime', 'soundfile', 'tokenizers'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    assert all(name in done.stdout for name in COMMANDS)


def test_the_executorch_engine_leaves_the_compiler_out_and_whole() -> None:
    program = (
        "import sys\n"
        "import arcmobile.runtime.engines.executorch\n"
        "assert not [name for name in sys.modules if name.startswith('executorch.exir')]\n"
        "import executorch.exir\n"
        "print('to_edge' in vars(executorch.exir))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "True", run.stderr


def test_unknown_command_suggests_the_nearest() -> None:
    result = run(app, ["exprot"])
    assert result.exit_code == 2
    assert "export" in result.stderr


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (BundleError("out/b: no manifest.json"), "error: out/b: no manifest.json", 2),
        (KeyboardInterrupt(), "stopped", 130),
        (
            OSError(errno.ENOSPC, "", "out/x.wav"),
            "error: out/x.wav: No space left on device; free some space or write to another disk",
            2,
        ),
        (
            PermissionError(errno.EACCES, "", "/root/x"),
            "error: /root/x: Permission denied; choose a folder you may write to",
            2,
        ),
        (
            ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"),
            "error: the Python package 'onnxruntime' is missing: run pip install -e '.[onnx]' "
            "-c constraints.txt in your clone of arcmobile",
            2,
        ),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    command: Callable[[BaseException], None], error: BaseException, line: str, code: int
) -> None:
    command(error)
    result = run(app, ["try-me"])
    assert (result.exit_code, result.stderr) == (code, f"{line}\n")


@pytest.mark.parametrize("error", [ZeroDivisionError(), ModuleNotFoundError(name="arcmobile.gone")])
def test_bugs_keep_their_trace(
    command: Callable[[BaseException], None], error: BaseException
) -> None:
    command(error)
    assert run(app, ["try-me"]).exception is error


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--verbose"], {}), ([], {"ARCMOBILE_VERBOSE": "1"})]
)
def test_verbose_shows_the_trace(
    command: Callable[[BaseException], None], arguments: list[str], environment: dict[str, str]
) -> None:
    command(BundleError("broken"))
    result = run(app, [*arguments, "try-me"], env=environment)
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: broken\n")


def test_a_closed_pipe_ends_quietly(command: Callable[[BaseException], None]) -> None:
    command(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = run(app, ["try-me"])
    assert result.exit_code == 1
    assert result.stderr == ""


# --- checkpoint ---------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    init_checkpoint(PRESETS["tiny"], 0, folder)
    return folder


def test_checkpoint_init_then_check(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    made = run(app, ["checkpoint", "init", "--seed", "3", "--out", str(folder)])
    assert made.exit_code == 0, made.output
    checked = run(app, ["checkpoint", "check", str(folder)])
    assert checked.exit_code == 0, checked.output
    assert "float32" in checked.stdout
    assert "sound: every tensor is there" in checked.stdout


def test_checkpoint_check_lists_every_fault(tiny: Path) -> None:
    path = tiny / "model.safetensors"
    tensors = load_file(path)
    names = sorted(tensors)
    del tensors[names[0]]
    tensors[names[1]] = np.zeros((3, 3), np.float32)
    tensors[names[2]] = np.full_like(tensors[names[2]], np.nan)
    tensors["who.knows"] = np.ones(1, np.float32)
    save_file(tensors, path)
    result = run(app, ["checkpoint", "check", str(tiny)])
    assert result.exit_code == 2
    assert f"missing: {names[0]}\n" in result.stdout
    assert f"wrong shape: {names[1]}: [3, 3]" in result.stdout
    assert f"NaN or infinite: {names[2]}\n" in result.stdout
    assert "unknown: who.knows\n" in result.stdout
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["init", "--preset", "huge", "--out", "x"], "--preset huge"),
        (["init", "--seed", "-1", "--out", "x"], "--seed -1"),
        (["check", "nowhere"], "nowhere"),
    ],
)
def test_checkpoint_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], names: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, ["checkpoint", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {names}")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- doctor -------------------------------------------------------------------------------------


def test_doctor_reads_the_features_that_matter() -> None:
    x86 = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\nbugs : none\n"
    arm = "processor : 0\nFeatures\t: fp asimd asimdhp asimddp i8mm sve sme\n"
    assert doctor_module.cpu_features(x86) == ["avx2", "avx512f", "avx512_vnni"]
    expected = ["asimd", "asimddp", "asimdhp", "i8mm", "sve", "sme"]
    assert doctor_module.cpu_features(arm) == expected


def test_doctor_tells_missing_broken_and_working_packages_apart() -> None:
    package = doctor_module.Package
    missing = doctor_module.probe_package(package("engines", "no-such-engine", "onnx", "runs"))
    assert (missing.state, missing.fix) == (
        "missing",
        "pip install -e '.[onnx]' -c constraints.txt",
    )
    broken = doctor_module.probe_package(package("engines", "numpy", "", "counts", "numpy.gone"))
    assert broken.state == "broken"
    assert "numpy.gone" in broken.detail
    works = doctor_module.probe_package(package("audio", "numpy", "", "", "numpy", "numpy.pi"))
    assert works.state == "ok"
    assert "3.14" in works.detail


def test_doctor_names_the_package_of_a_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module.shutil, "which", lambda name: name == "apt-get" or None)
    tool = doctor_module.Tool("adb", "talks to a phone", {"dnf": "android-tools", "apt-get": "adb"})
    assert doctor_module.probe_tool(tool).fix.endswith("apt-get install adb")


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("missing", 1)])
def test_doctor_fails_only_when_nothing_can_run(
    monkeypatch: pytest.MonkeyPatch, state: doctor_module.State, code: int
) -> None:
    findings = [
        doctor_module.Finding("engines", "onnxruntime", state, "1.0"),
        doctor_module.Finding("tools", "adb", "missing", "", "apt-get install adb"),
    ]
    monkeypatch.setattr(doctor_module, "examine", lambda: iter(findings))
    assert run(app, ["doctor"]).exit_code == code
    result = run(app, ["doctor", "--json"])
    assert result.exit_code == code
    assert [finding["name"] for finding in json.loads(result.stdout)] == ["onnxruntime", "adb"]


def test_advice_fits_the_installation(tmp_path: Path) -> None:
    assert installation.in_clone()
    assert installation.install_command("onnx") == "pip install -e '.[onnx]' -c constraints.txt"
    assert installation.install_advice("onnx").endswith("in your clone of arcmobile")
    assert installation.install_command("onnx", tmp_path) == "pip install 'arcmobile[onnx]'"
    assert installation.install_command("", tmp_path) == "pip install 'arcmobile'"
    assert installation.build_command("native") == "make native"
    assert "the wheel holds no native sources" in installation.build_command("native", tmp_path)
