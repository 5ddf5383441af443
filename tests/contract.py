"""The files of ``runtime/contract``: for tests to read, and ``make contract`` to write again.

``manifest.schema.json`` comes from the records of :mod:`arcmobile.runtime.bundle_schema` and their
docstrings. The files in ``vectors`` hold inputs and results: the inputs are written by hand, the
results are computed by the runtime. ``test_contract.py`` fails while a file differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from inspect import cleandoc, isclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from arcmobile.runtime import bundle_schema
from arcmobile.runtime.audio import to_pcm16
from arcmobile.runtime.bundle_schema import DecoderPart, Manifest
from arcmobile.runtime.decode import choose_window, count_calls, plan_parts, plan_windows
from arcmobile.runtime.noise import PhiloxNoise, normal_noise, philox4x32
from arcmobile.runtime.sampler import pingpong
from arcmobile.runtime.schedule import pingpong_schedule
from arcmobile.runtime.tokenizer import PromptTokenizer

CONTRACT: Final = Path(__file__).parent.parent / "runtime" / "contract"
VECTORS: Final = CONTRACT / "vectors"
Case = dict[str, Any]


def document(name: str) -> dict[str, Any]:
    """Return a JSON file of the contract."""
    loaded: dict[str, Any] = json.loads((CONTRACT / name).read_text("utf-8"))
    return loaded


def vectors(name: str) -> dict[str, Any]:
    """Return a file of test vectors."""
    return document(f"vectors/{name}.json")


def generated() -> dict[Path, str]:
    """Return the text that each generated file should have."""
    texts = {CONTRACT / "manifest.schema.json": json.dumps(schema(), indent=1) + "\n"}
    for name, compute in _COMPUTED.items():
        path = VECTORS / name
        stored = json.loads(path.read_text("utf-8"))
        for key, result in compute.items():
            for case in stored[key]:
                case |= result(case)
        texts[path] = _one_case_a_line(stored)
    return texts


# --- the schema ---------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """Return the JSON schema of a manifest, with descriptions from the docstrings."""
    manifest = Manifest.model_json_schema()
    records = manifest.pop("$defs") | {"Manifest": manifest}
    for name, record in records.items():
        model = getattr(bundle_schema, name)
        assert isclass(model)
        assert issubclass(model, BaseModel)
        record["description"], attributes = _described(model)
        record.pop("title", None)
        for field, described in record["properties"].items():
            described.pop("title", None)
            described.pop("default", None)
            described["description"] = attributes[field]
    del records["Manifest"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Manifest of an ARC Mobile bundle",
        **manifest,
        "$defs": records,
    }


def _described(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return descriptions of a record and of its fields, from docstrings."""
    inherited = model.__base__
    attributes: dict[str, str] = {}
    if inherited is not None and inherited.__doc__ and issubclass(inherited, BaseModel):
        attributes = _described(inherited)[1]
    about, _, fields = cleandoc(model.__doc__ or "").partition("\n\nAttributes:\n")
    for field in re.split(r"\n(?=    \w)", fields) if fields else []:
        name, _, text = field.strip().partition(": ")
        attributes[name] = _plain(text)
    return _plain(about), attributes


def _plain(text: str) -> str:
    """Return docstring text without its markup, in one line."""
    text = re.sub(r":mod:`arcmobile\.(\w+)\.(\w+)`", r"\1/\2.py", text)
    return " ".join(text.replace("``", "").split())


# --- the vectors --------------------------------------------------------------------------------


def _bits(values: NDArray[np.float32]) -> list[str]:
    return [f"{value:08x}" for value in values.view(np.uint32)]


def _floats(bits: list[str]) -> NDArray[np.float32]:
    return np.array([int(value, 16) for value in bits], np.uint32).view(np.float32)


def _philox(case: Case) -> Case:
    return {"words": philox4x32(tuple(case["counter"]), tuple(case["key"])).tolist()}


def _normals(case: Case) -> Case:
    first, count = case["first"], len(case["bits"])
    shape = (first + count,)
    noise = normal_noise(int(case["seed"]), case["stream"], shape, item=case["item"])[first:]
    return {"bits": _bits(noise), "values": [float(str(value)) for value in noise]}


def _times(case: Case) -> Case:
    line = {key: case[key] for key in ("logsnr_start", "logsnr_end", "sigma_max")}
    return {"bits": _bits(pingpong_schedule(case["steps"], **line))}


def _latent(case: Case) -> Case:
    def velocity(x: NDArray[np.float32], t: np.float32) -> NDArray[np.float32]:
        return np.float32(0.5) * x - t

    times = _floats(_times(case | {"sigma_max": 1.0})["bits"])
    noise = PhiloxNoise(int(case["seed"]))
    return {"bits": _bits(pingpong(velocity, times, noise, (case["size"],)))}


def _windows(case: Case) -> Case:
    plan = plan_windows(case["frames"], case["window"], case["context"])
    return {"windows": [[w.start, w.stop, w.keep_start, w.keep_stop] for w in plan]}


def _choice(case: Case) -> Case:
    return {"window": choose_window(case["frames"], tuple(case["available"]), case["context"])}


def _chain(case: Case) -> Case:
    parts = [
        DecoderPart(component=f"decoder_{number}", **rates)
        for number, rates in enumerate(case["parts"], 1)
    ]
    plan = plan_parts(parts, case["windows"], case["frames"], case["samples_per_frame"])
    return {"calls": count_calls(plan, case["samples"])}


def _ids(case: Case) -> Case:
    tokenizer = PromptTokenizer(
        (VECTORS / "tokenizer.json").read_text("utf-8"), max_length=1 << 10, pad_id=0, eos_id=1
    )
    tokens = tokenizer(case["prompt"])
    return {"ids": tokens.input_ids[0, : tokens.count].tolist()}


def _samples(case: Case) -> Case:
    values = _floats([case["bits"]])
    clipped = bool(abs(values[0]) > 1)
    return {"sample": int(to_pcm16(np.clip(values, -1.0, 1.0))[0]), "clipped": clipped}


_COMPUTED: Final[Mapping[str, Mapping[str, Callable[[Case], Case]]]] = {
    "noise.json": {"philox": _philox, "normals": _normals},
    "schedule.json": {"cases": _times},
    "sampler.json": {"cases": _latent},
    "windows.json": {"windows": _windows, "choices": _choice, "chains": _chain},
    "tokenizer_ids.json": {"cases": _ids},
    "pcm16.json": {"cases": _samples},
}


def _one_case_a_line(file: dict[str, Any]) -> str:
    members = []
    for key, value in file.items():
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"  {json.dumps(case)}" for case in value) + "\n ]"
        else:
            text = json.dumps(value)
        members.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(members) + "\n}\n"


if __name__ == "__main__":
    for _path, _text in generated().items():
        _path.write_text(_text, encoding="ascii", newline="\n")
