"""Makes the vocabulary of captions and trains a text encoder to understand them.

``arcmobile posttrain text --out FOLDER``, which holds then::

    text_encoder/       the vocabulary, config and weights, as a checkpoint holds them
    state.safetensors   what a resumed training needs
    metrics.jsonl       a row of losses every few steps, and a row of accuracies per judgement
    losses.png          both, plotted

It takes some minutes. A file ``STOP`` put into the folder ends it after the running step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from arcmobile.export.checkpoint.folder import TEXT_ENCODER_FOLDER, TEXT_FILES
from arcmobile.export.model.config import T5Config
from arcmobile.posttrain.embedded_model import EMBEDDED
from arcmobile.posttrain.text.caption_examples import held_out_examples
from arcmobile.posttrain.text.trainer import (
    CaptionTokenizer,
    TextEncoderTrainer,
    accuracies,
)
from arcmobile.posttrain.text.vocabulary import CAPTIONS, write_vocabulary
from arcmobile.posttrain.training.loop import METRICS, STATE, Rhythm, run_training
from arcmobile.posttrain.training.plots import plot_metrics
from arcmobile.posttrain.training.settings import TextSettings
from arcmobile.posttrain.training.state import (
    append_metrics,
    keep_metrics_until,
    read_metrics,
    read_tensors,
)
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.whole_output import whole_file, whole_folder

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"
_HELD_OUT = 4000
_RHYTHM = Rhythm(report_every=20, save_every=400, judge_every=400)
_SHOWN = ("sound", "second sound", "joined", "side", "pitch", "speed", "brightness", "length")
_PANELS = (("loss", "sound_loss"), _SHOWN, tuple(f"loose {head}" for head in _SHOWN))


def write_text_files(folder: Path, seed: int, captions: int = CAPTIONS) -> None:
    """Makes a text encoder's folder without weights: the vocabulary, and the config that fits it.

    Raises OutputError where the folder exists or cannot be written.
    """
    with whole_folder(folder, replaceable=_CONFIG, overwrite=False) as staged:
        pieces = write_vocabulary(staged, seed, captions)
        config = json.dumps(EMBEDDED.text_config(pieces), indent=4)
        (staged / _CONFIG).write_text(config + "\n", encoding="utf-8")


def new_trainer(folder: Path, settings: TextSettings) -> TextEncoderTrainer:
    """For the config and the tokenizer in a text encoder's folder; raises CheckpointError."""
    try:
        text = (folder / _CONFIG).read_text(encoding="utf-8")
        config = T5Config.model_validate_json(text)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / _CONFIG}: no text encoder's ({error})") from None
    tokenizer = CaptionTokenizer(folder / _TOKENIZER, config.pad_token_id, config.eos_token_id)
    if not 0 <= max(config.pad_token_id, config.eos_token_id) < tokenizer.pieces:
        raise CheckpointError(f"{folder / _CONFIG}: pad or eos is not in {_TOKENIZER}")
    if tokenizer.pieces > config.vocab_size:
        raise CheckpointError(
            f"{folder / _TOKENIZER}: has {tokenizer.pieces} ids, {_CONFIG} says "
            f"{config.vocab_size}; remove the folder"
        )
    return TextEncoderTrainer(config, tokenizer, settings)


def resumed(out: Path, changed: Mapping[str, Any]) -> TextEncoderTrainer:
    """The trainer of the state in a folder, with its settings but for those ``changed``."""
    if not (out / STATE).is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(out / STATE)
    try:
        settings = TextSettings(**{**header["settings"], **changed})
        trainer = new_trainer(out / TEXT_ENCODER_FOLDER, settings)
        trainer.restore(tensors, header)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another encoder or version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


def judge(trainer: TextEncoderTrainer, out: Path, held_out: int) -> None:
    """Writes the weights, and how well captions that it never saw are understood."""
    path = out / TEXT_ENCODER_FOLDER / TEXT_FILES[0]
    with whole_file(path, overwrite=True) as unfinished:
        save_file(trainer.network.checkpoint_tensors(), unfinished, metadata={"format": "pt"})
    network, tokenizer = trainer.network, trainer.tokenizer
    plain = accuracies(network, tokenizer, held_out_examples(held_out))
    loose = accuracies(network, tokenizer, held_out_examples(held_out, loose=True))
    row = {"step": trainer.step, **plain, **{f"loose {head}": part for head, part in loose.items()}}
    append_metrics(out / METRICS, row)
    plot_metrics(out / "losses.png", read_metrics(out / METRICS), _PANELS)


def train(
    trainer: TextEncoderTrainer,
    out: Path,
    *,
    seconds: float,
    held_out: int = _HELD_OUT,
    rhythm: Rhythm = _RHYTHM,
) -> None:
    """Trains as :func:`run_training` says; ``text_encoder/`` is in ``out`` already."""
    run_training(
        trainer,
        out,
        name="text encoder",
        train_step=trainer.train_step,
        probe=trainer.probe,
        judge=lambda: judge(trainer, out, held_out),
        steps=trainer.settings.steps,
        seconds=seconds,
        advice="use a lower --rate",
        watched="loss",
        rhythm=rhythm,
    )
