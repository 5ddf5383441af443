"""Captioned sounds synthesized from a seed: no download, no licence, every stated word checkable.

seed ─► attributes (`choosing`) ─► signal (`tones` ... `living`) ─► stereo (`rendering`)
                 └──────────────► caption (`captions`)         └──► words again (`signal_words`)
"""

from arcmobile.posttrain.sounds.attributes import (
    MODEL_SAMPLE_RATE,
    Attributes,
    CaptionedSound,
)
from arcmobile.posttrain.sounds.captions import caption
from arcmobile.posttrain.sounds.catalogue import CLASSES
from arcmobile.posttrain.sounds.rendering import corpus, synthesize, synthesize_with

__all__ = [
    "CLASSES",
    "MODEL_SAMPLE_RATE",
    "Attributes",
    "CaptionedSound",
    "caption",
    "corpus",
    "synthesize",
    "synthesize_with",
]
