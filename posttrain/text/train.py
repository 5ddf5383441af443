"""Makes the vocabulary of captions and trains a text encoder to understand them.

The folder of a training holds::

    text_encoder/       the vocabulary, config and weights, as a checkpoint holds them
    state.safetensors   all that a resumed training needs
    metrics.jsonl       a row of losses every few steps, and a row of accuracies per evaluation
    losses.png          both, plotted

It takes some minutes. A file ``STOP`` put into the folder ends it after the running step.
"""

from __future__ import annotations

import json
from pathlib import Path

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
from arcmobile.posttrain.training.loop import Intervals, run_training
from arcmobile.posttrain.training.metrics import METRICS, append_metrics, plot_training
from arcmobile.posttrain.training.settings import TextSettings
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.whole_output import whole_file, whole_folder

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"
_HELD_OUT = 4000
_INTERVALS = Intervals(report=20, save=400, evaluate=400)
_SHOWN = ("sound", "second sound", "joined", "side", "pitch", "speed", "brightness", "length")
_PANELS = (("loss", "sound_loss"), _SHOWN, tuple(f"loose {head}" for head in _SHOWN))


def write_text_files(folder: Path, seed: int, captions: int = CAPTIONS) -> None:
    """Make a text encoder's folder without weights: the vocabulary, and the config that fits it.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    with whole_folder(folder, replaceable=_CONFIG, overwrite=False) as staged:
        pieces = write_vocabulary(staged, seed, captions)
        config = json.dumps(EMBEDDED.text_config(pieces), indent=4)
        (staged / _CONFIG).write_text(config + "\n", encoding="utf-8")


def new_trainer(folder: Path, settings: TextSettings) -> TextEncoderTrainer:
    """Make a trainer for the config and the tokenizer in a text encoder's folder.

    Raises:
        CheckpointError: one of them is missing, damaged, or does not fit the other.
    """
    try:
        text = (folder / _CONFIG).read_text(encoding="utf-8")
        config = T5Config.model_validate_json(text)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / _CONFIG}: not the config of a text encoder ({error})"
        ) from None
    tokenizer = CaptionTokenizer(folder / _TOKENIZER, config.pad_token_id, config.eos_token_id)
    if not 0 <= max(config.pad_token_id, config.eos_token_id) < tokenizer.pieces:
        raise CheckpointError(f"{folder / _CONFIG}: pad or eos is not in {_TOKENIZER}")
    if tokenizer.pieces > config.vocab_size:
        raise CheckpointError(
            f"{folder / _TOKENIZER}: has {tokenizer.pieces} ids, {_CONFIG} says "
            f"{config.vocab_size}; remove the folder"
        )
    return TextEncoderTrainer(config, tokenizer, settings)


def evaluate(trainer: TextEncoderTrainer, out: Path, held_out: int) -> None:
    """Write the weights, and how well ``held_out`` captions are understood."""
    path = out / TEXT_ENCODER_FOLDER / TEXT_FILES[0]
    with whole_file(path, overwrite=True) as unfinished:
        save_file(trainer.network.checkpoint_tensors(), unfinished, metadata={"format": "pt"})
    network, tokenizer = trainer.network, trainer.tokenizer
    plain = accuracies(network, tokenizer, held_out_examples(held_out))
    loose = accuracies(network, tokenizer, held_out_examples(held_out, loose=True))
    row = {"step": trainer.step, **plain, **{f"loose {head}": part for head, part in loose.items()}}
    append_metrics(out / METRICS, row)
    plot_training(out, _PANELS)


def train(
    trainer: TextEncoderTrainer,
    out: Path,
    *,
    seconds: float,
    held_out: int = _HELD_OUT,
    intervals: Intervals = _INTERVALS,
) -> None:
    """Train as :func:`.loop.run_training` says; ``text_encoder/`` is in ``out`` already."""
    run_training(
        trainer,
        out,
        name="text encoder",
        train_step=trainer.train_step,
        probe=trainer.probe,
        evaluate=lambda: evaluate(trainer, out, held_out),
        steps=trainer.settings.steps,
        seconds=seconds,
        advice="use a lower --rate",
        watched="loss",
        intervals=intervals,
    )
