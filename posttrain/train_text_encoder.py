"""Makes the vocabulary of captions and trains a text encoder to understand them.

``python -m arcmobile.posttrain.train_text_encoder --out FOLDER``, which holds then::

    text_encoder/       the vocabulary, config and weights, as a checkpoint holds them
    state.safetensors   what a resumed training needs
    metrics.jsonl       a row of losses every few steps, and a row of accuracies per judgement
    losses.png          both, plotted

It takes some minutes. A file ``STOP`` put into the folder ends it after the running step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file

from arcmobile.export.checkpoint import TEXT_ENCODER_FOLDER, TEXT_FILES
from arcmobile.export.model.config import T5Config
from arcmobile.export.staging import staged_folder
from arcmobile.posttrain.caption_examples import held_out_examples
from arcmobile.posttrain.embedded_model import EMBEDDED
from arcmobile.posttrain.text_encoder_training import (
    CaptionTokenizer,
    TextEncoderTrainer,
    TextSettings,
    accuracies,
)
from arcmobile.posttrain.training_loop import METRICS, STATE, Rhythm, run_training
from arcmobile.posttrain.training_plots import plot_metrics
from arcmobile.posttrain.training_state import (
    append_metrics,
    keep_metrics_until,
    read_metrics,
    read_tensors,
)
from arcmobile.posttrain.vocabulary import CAPTIONS, write_vocabulary
from arcmobile.runtime.errors import ArcMobileError, CheckpointError, InputError

_SECONDS_PER_HOUR = 3600
_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"
_HELD_OUT = 4000
_RHYTHM = Rhythm(report_every=20, save_every=400, judge_every=400)
_SHOWN = ("sound", "second sound", "joined", "side", "pitch", "speed", "brightness", "length")
_PANELS = (("loss", "sound_loss"), _SHOWN, tuple(f"loose {head}" for head in _SHOWN))


def write_text_files(folder: Path, seed: int, captions: int = CAPTIONS) -> None:
    """Makes a text encoder's folder without weights: the vocabulary, and the config that fits it.

    Raises OutputError where the folder exists or cannot be written.
    """
    with staged_folder(folder) as staged:
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
    return TextEncoderTrainer(config, tokenizer, settings)


def resumed(out: Path) -> TextEncoderTrainer:
    """The trainer of the state in a folder, with its settings."""
    if not (out / STATE).is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(out / STATE)
    try:
        trainer = new_trainer(out / TEXT_ENCODER_FOLDER, TextSettings(**header["settings"]))
        trainer.restore(tensors, header)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another encoder or version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


def judge(trainer: TextEncoderTrainer, out: Path, held_out: int) -> None:
    """Writes the weights, and how well captions that it never saw are understood."""
    path = out / TEXT_ENCODER_FOLDER / TEXT_FILES[0]
    partial = path.with_name(f".{path.name}.partial")
    save_file(trainer.network.checkpoint_tensors(), partial, metadata={"format": "pt"})
    partial.chmod(0o644)  # safetensors leaves it to its owner alone
    partial.replace(path)
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
        judge=lambda: judge(trainer, out, held_out),
        steps=trainer.settings.steps,
        seconds=seconds,
        watched="loss",
        rhythm=rhythm,
    )


app = typer.Typer(add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of this training.")],
    hours: Annotated[float, typer.Option(min=0, help="Longest time to train for.")] = 1.0,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps until the rate is nothing.")
    ] = TextSettings.steps,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    resume: Annotated[bool, typer.Option(help="Go on from the state in the folder.")] = False,
) -> None:
    """Make a vocabulary and train a text encoder; see the module's text for what is written."""
    torch.set_num_threads(threads)
    try:
        if resume:
            trainer = resumed(out)
        else:
            if (out / STATE).exists():
                raise InputError(f"--out {out}: holds a training; add --resume or remove it")
            folder = out / TEXT_ENCODER_FOLDER
            if not folder.exists():
                typer.echo("making the vocabulary")
                write_text_files(folder, seed)
            trainer = new_trainer(folder, TextSettings(seed=seed, steps=steps))
        train(trainer, out, seconds=hours * _SECONDS_PER_HOUR)
    except ArcMobileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
