"""Spectrograms for thumbnails and plots."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from arcmobile.posttrain.autoencoder.spectral_losses import LogMel
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE

BANDS, COLUMNS = 96, 320
"""Size of an image."""

_FFT = 1024
_RANGE_NEPERS = 70 / 20 * np.log(10)
_QUIETEST_PEAK = -2.0  # nepers; a sound below it is dark as a whole


def spectrogram(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Map (2, samples) to log-mel levels (BANDS, COLUMNS) of the louder channel, low at the bottom.

    1 is the loudest, 0 is 70 dB below it.
    """
    mel = LogMel(MODEL_SAMPLE_RATE, BANDS, _FFT)
    with torch.inference_mode():
        nepers = mel(torch.from_numpy(audio)[None])[0].amax(0).numpy()
    chosen = np.linspace(0, nepers.shape[1] - 1, COLUMNS).round().astype(int)
    under = nepers[::-1, chosen] - max(float(nepers.max()), _QUIETEST_PEAK)
    return np.clip(1 + under / _RANGE_NEPERS, 0, 1)
