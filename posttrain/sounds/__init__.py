"""Captioned sounds out of a random seed: no download, no licence, every said word checkable.

seed ─► attributes (`choosing`) ─► signal (`tones` ... `living`) ─► stereo (`drawing`)
                 └──────────────► caption (`captions`)        └──► words again (`signal_words`)
"""

from arcmobile.posttrain.sounds.attributes import (
    MODEL_SAMPLE_RATE,
    Attributes,
    CaptionedSound,
)
from arcmobile.posttrain.sounds.captions import caption
from arcmobile.posttrain.sounds.catalogue import CLASSES
from arcmobile.posttrain.sounds.drawing import corpus, draw, draw_with

__all__ = [
    "CLASSES",
    "MODEL_SAMPLE_RATE",
    "Attributes",
    "CaptionedSound",
    "caption",
    "corpus",
    "draw",
    "draw_with",
]
