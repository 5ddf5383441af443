"""The full-size benchmark's machinery, run on the tiny preset; figures are not judged here."""

from __future__ import annotations

import json
from pathlib import Path

from arcmobile.bench.fullsize import markdown_table, run_full_size


def test_every_backend_is_exported_run_and_tabled_and_failures_are_kept(tmp_path: Path) -> None:
    result = run_full_size(tmp_path, backends=("onnx", "no-such"), preset="tiny", recipe="fp32")
    stored = json.loads((tmp_path / "full-size.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(result.to_json()))
    figures = result.backends["onnx"]
    assert figures.export.seconds > 0
    assert figures.generate.peak_bytes > 1 << 20
    assert len(figures.stats["dit_step_seconds"]) == 8
    assert "no-such" in result.failures["no-such"]
    assert not (tmp_path / "tiny-onnx-fp32").exists()  # bundles go unless asked to stay
    header, rule, row = markdown_table(result).splitlines()
    assert header.count("|") == rule.count("|") == row.count("|")
