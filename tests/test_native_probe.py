"""What the native runner computes inside, against Python: noise, schedule, windows, tokens."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
from contract import CONTRACT, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from native_binaries import call, output

from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.decode import (
    Array,
    PartPlan,
    count_calls,
    plan_decoder,
    plan_windows,
    stream_decode,
)
from arcmobile.runtime.tokenizer import PromptTokenizer


@pytest.mark.parametrize("cpu", [None, "max", "cortex-a53"])
def test_noise_is_that_of_the_vectors(cpu: str | None) -> None:
    stored = vectors("noise")
    for case in stored["philox"]:
        words = output("arcmobile-probe", "philox", *case["counter"], *case["key"], cpu=cpu)
        assert [int(word) for word in words.split()] == case["words"]
    for case in stored["normals"]:
        where = (case["seed"], case["stream"], case["item"], case["first"], len(case["bits"]))
        assert output("arcmobile-probe", "noise", *where, cpu=cpu).split() == case["bits"]


def test_schedule_is_that_of_the_vectors() -> None:
    cases = [case for case in vectors("schedule")["cases"] if case["sigma_max"] == 1]
    assert {case["steps"] for case in cases} == set(range(1, 65))
    lines = [(case["steps"], case["logsnr_start"], case["logsnr_end"]) for case in cases]
    printed = output("arcmobile-probe", "schedule", *chain.from_iterable(lines)).split()
    assert printed == [bits for case in cases for bits in case["bits"]]


def test_sampler_is_that_of_the_vectors() -> None:
    for case in vectors("sampler")["cases"]:
        call = [case[key] for key in ("seed", "size", "steps", "logsnr_start", "logsnr_end")]
        assert output("arcmobile-probe", "sampler", *call).split() == case["bits"]


def test_windows_are_those_of_the_vectors() -> None:
    stored = vectors("windows")
    plans = [(case["frames"], case["window"], case["context"]) for case in stored["windows"]]
    rows = output("arcmobile-probe", "windows", *chain.from_iterable(plans)).splitlines()
    expected = [window for case in stored["windows"] for window in case["windows"]]
    assert [list(map(int, row.split())) for row in rows] == expected
    for case in stored["choices"]:
        part = f"1:{case['context']}:{','.join(map(str, case['available']))}"
        calls = output("arcmobile-probe", "chain", case["frames"], 1, 1, 0, part).splitlines()
        assert len(calls[0].split()) == 2 + 2 * case["window"]
    for case in stored["chains"]:
        parts = [
            f"{part['frames_per_latent']}:{part['context_frames']}:{window}"
            for part, window in zip(case["parts"], case["windows"], strict=True)
        ]
        whole = (case["frames"], case["samples_per_frame"], case["samples"], 0)
        calls = re.findall(r"^call (\d+)", output("arcmobile-probe", "chain", *whole, *parts), re.M)
        assert [calls.count(str(index)) for index in range(len(parts))] == case["calls"]


def test_tokens_are_those_of_the_vectors() -> None:
    cases = vectors("tokenizer_ids")["cases"]
    printed = native_tokens(
        [str(CONTRACT / "vectors" / "tokenizer.json")], [case["prompt"] for case in cases]
    )
    assert printed == [case["ids"] for case in cases]


@given(st.integers(1, 400), st.integers(1, 120), st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_windows(frames: int, window: int, context: int) -> None:
    fits = frames >= window and (frames == window or window > 2 * context)
    done = call("arcmobile-probe", ["windows", frames, window, context]) if fits else None
    if done is not None:
        rows = [list(map(int, line.split())) for line in done.stdout.splitlines()]
        plan = plan_windows(frames, window, context)
        assert rows == [[w.start, w.stop, w.keep_start, w.keep_stop] for w in plan]


@st.composite
def decoders(draw: st.DrawFn) -> SimpleNamespace:
    """As much of a manifest as windows follow from, with frames of the latent and samples."""
    frames = draw(st.integers(1, 24))
    ratios = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    rate, chain, components = 1, [], {}
    for index, ratio in enumerate(ratios):
        context = draw(st.integers(0, 3))
        whole = frames * rate
        windows = {min(whole, 2 * context + draw(st.integers(1, 12))), draw(st.integers(1, whole))}
        name = f"decoder_{index + 1}"
        part = SimpleNamespace(component=name, frames_per_latent=rate, context_frames=context)
        chain.append(part)
        components[name] = SimpleNamespace(windows=tuple(sorted(windows)))
        rate *= ratio
    return SimpleNamespace(
        windowing=SimpleNamespace(decoder=chain),
        components=components,
        audio=SimpleNamespace(samples_per_frame=rate),
        frames=frames,
        samples=draw(st.integers(1, frames * rate)),
        missing=draw(st.integers(0, ratios[-1] * min(context, *windows))),
    )


def python_chain(decoder: SimpleNamespace) -> list[str]:
    """What the probe prints of the same decoder, see `chain` in probe/main.cc."""
    parts = plan_decoder(decoder, decoder.frames)
    left = count_calls(parts, decoder.samples)
    lines: list[str] = []

    def values(array: Array) -> str:
        return "".join(f" {value:.9g}" for value in array.ravel())

    def run(part: PartPlan, window: Array) -> Array:
        index = parts.index(part)
        last = index + 1 == len(parts)
        lines.append(f"call {index}{values(window)}")
        frame = np.arange(part.window)
        edge = np.minimum(frame, part.window - 1 - frame) < part.context
        channel = np.arange(2 if last else index + 3)
        given = window[0, channel % window.shape[1]] + channel[:, np.newaxis] + 1000 * edge
        left[index] -= 1
        if left[index] == 0:
            lines.append(f"done {index}")
        samples = part.window * part.ratio - (decoder.missing if last else 0)
        return given.repeat(part.ratio, axis=1)[np.newaxis, :, :samples].astype(np.float32)

    latent = np.arange(1, 2 * decoder.frames + 1, dtype=np.float32).reshape(1, 2, -1)
    for chunk in stream_decode(latent, parts, run, decoder.samples):
        lines.append(f"chunk{values(chunk)}")
    return lines


@given(decoders())
@settings(max_examples=60, deadline=None)
def test_decoder_chain(decoder: SimpleNamespace) -> None:
    parts = [
        f"{part.frames_per_latent}:{part.context_frames}:"
        + ",".join(map(str, decoder.components[part.component].windows))
        for part in decoder.windowing.decoder
    ]
    whole = (decoder.frames, decoder.audio.samples_per_frame, decoder.samples, decoder.missing)
    printed = output("arcmobile-probe", "chain", *whole, *parts)
    assert printed.splitlines() == python_chain(decoder)


TRICKY = [
    "",
    "   ",
    "128 BPM tech house drum loop",
    "a  b\tc\nd",
    "<pad></s> <extra_id_0>x<extra_id_99> <extra_id_100>",
    "½ ﬁ ＡＢＣ \u00a0 \u3000 Å",
    "日本 🎵🎵 rain",
    "\u2028line",
    "e\u0301 café",
]


def tokenizer_of(bundle: Path) -> tuple[PromptTokenizer, list[str]]:
    opened = Bundle.open(bundle)
    return PromptTokenizer.from_bundle(opened), [str(bundle / "tokenizer.json")]


def native_tokens(arguments: list[str], prompts: list[str]) -> list[list[int]]:
    lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
    printed = output("arcmobile-probe", "tokens", *arguments, stdin=lines)
    return [[int(token) for token in line.split()] for line in printed.splitlines()]


def python_tokens(tokenizer: PromptTokenizer, prompt: str) -> list[int]:
    return tokenizer._tokenizer.encode(prompt).ids  # the whole list, not cut to the length


def test_tokens(micro_bundles: dict[str, Path]) -> None:
    tokenizer, arguments = tokenizer_of(micro_bundles["fp32"])
    expected = [python_tokens(tokenizer, prompt) for prompt in TRICKY]
    assert native_tokens(arguments, TRICKY) == expected


hard_text = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    # Marks and joiners on letters, syllables in parts, controls and white space, special tokens.
    st.lists(
        st.sampled_from(
            [
                *(
                    "a",
                    "A",
                    "e",
                    "ﬁ",
                    "ｶ",
                    "漢",
                    "क",
                    "각",
                    "\u1100",
                    "\u1161",
                    "\u11a8",
                    "🎸",
                    "👩",
                ),
                *("\u0301", "\u030a", "\u0323", "\u094d", "\u200d", "\u200c", "\ufe0f", "\u3099"),
                *("\u0600", "\x85", "\0", "\r\n", "\u00ad", "\u2028", " ", "▁", "🇯🇵", "🏽"),
                *("</s>", "<pad>", "<extra_id_0>", "<extra_id_"),
            ]
        ),
        max_size=20,
    ).map("".join),
)


@given(st.lists(hard_text, min_size=40, max_size=40))
@settings(max_examples=10, deadline=None)
def test_tokens_of_any_text(micro_bundles: dict[str, Path], prompts: list[str]) -> None:
    tokenizer, arguments = tokenizer_of(micro_bundles["fp32"])
    expected = [python_tokens(tokenizer, prompt) for prompt in prompts]
    assert native_tokens(arguments, prompts) == expected


CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "embedded"


def test_decomposed_letters_of_the_embedded_tokenizer() -> None:
    path = CHECKPOINT / "text_encoder" / "tokenizer.json"
    library = tokenizers.Tokenizer.from_file(str(path))
    prompts = ["A\u030a", "cafe\u0301", "ﬁ\u0301ne", "e\u0323\u0301", "rain\x85wind", "a\u200db"]
    expected = [library.encode(prompt, add_special_tokens=True).ids for prompt in prompts]
    assert expected[0] == [4, 1]
    assert native_tokens([str(path)], prompts) == expected


def test_unicode_tables_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parent.parent
    monkeypatch.syspath_prepend(root / "android_demo" / "check")
    import unicode_tables

    assert unicode_tables.CXX.read_text() == unicode_tables.cxx(), "run check/unicode_tables.py"
