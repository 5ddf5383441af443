"""Gate: programs give the same with XNNPACK's weight cache, which Android builds have on.

ExecuTorch's Python package cannot switch the cache on; ``arcmobile-probe`` (``make native``) can.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arcmobile.export.backends.base import ComputedEntry
from arcmobile.export.fidelity import compare
from arcmobile.runtime.errors import ExportError

PROBE = Path(__file__).parents[2] / "build" / "native" / "host" / "arcmobile-probe"
MINIMUM_SNR_DB = 60.0
_TIMEOUT = 600.0  # seconds
_MOST_SAID = 1 << 20  # bytes of its complaints


def check_weight_cache(computed: Sequence[ComputedEntry]) -> None:
    """Run every entry again with the weight cache on, all programs in one process.

    Without the probe, which needs a C++ compiler to build, there is nothing to run it with: the
    names that the cache goes by are unique by construction (``export/backends/xnnpack.py``).

    Raises:
        ExportError: an output differs from what the program gave without the cache.
    """
    if not PROBE.is_file():
        return
    with tempfile.TemporaryDirectory(prefix="arcmobile-") as folder:
        calls = [_write_call(Path(folder) / str(i), entry) for i, entry in enumerate(computed)]
        listed = Path(folder) / "calls.json"
        listed.write_text(json.dumps(calls), encoding="utf-8")
        _run_probe(listed)
        for call, entry in zip(calls, computed, strict=True):
            found = {
                name: np.fromfile(file, np.float32).reshape(values.shape)
                for file, (name, values) in zip(call["outputs"], entry.outputs.items(), strict=True)
            }
            ratio = compare(entry.outputs, found).snr_db
            if ratio is not None and ratio < MINIMUM_SNR_DB:
                raise ExportError(
                    f"{entry.program.name}: {entry.method} gives other values with XNNPACK's "
                    f"weight cache on (SNR {ratio:.1f} dB), as Android has it; try another recipe"
                )


def _write_call(folder: Path, entry: ComputedEntry) -> dict[str, list[str] | str]:
    """Write the inputs of a call into its folder and return it as the probe takes it."""
    folder.mkdir()
    inputs = []
    for name, values in entry.inputs.items():
        inputs.append(str(folder / f"{name}.in"))
        Path(inputs[-1]).write_bytes(np.ascontiguousarray(values).tobytes())
    outputs = [str(folder / f"{name}.out") for name in entry.outputs]
    return {
        "program": str(entry.program),
        "method": entry.method,
        "inputs": inputs,
        "outputs": outputs,
    }


def _run_probe(listed: Path) -> None:
    command = [str(PROBE), "calls", str(listed), "weight-cache"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as error:
        raise ExportError(f"{PROBE}: {error.strerror}; build it again (make native)") from None
    timer = threading.Timer(_TIMEOUT, process.kill)
    timer.start()
    assert process.stderr is not None
    try:
        said = process.stderr.read(_MOST_SAID).decode("utf-8", "replace")
        is_endless = process.stderr.read(1) != b""
        if is_endless:
            process.kill()
        process.wait()
    finally:
        is_late = not timer.is_alive()
        timer.cancel()
        process.kill()  # where this is interrupted
        process.wait()
        process.stderr.close()
    if is_endless or is_late:
        what = "prints without end" if is_endless else f"did not end within {_TIMEOUT:g} s"
        raise ExportError(f"{PROBE}: {what}; build it again (make native)")
    if process.returncode != 0:
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        said = errors[-1].removeprefix("error: ") if errors else f"exit code {process.returncode}"
        raise ExportError(
            f"the programs do not run with XNNPACK's weight cache on, as Android has it ({said}); "
            "build the runner again (make native) and try another recipe"
        )
