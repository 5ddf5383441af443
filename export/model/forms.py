"""The forms that networks can be built in: one for each runtime, and the plain one.

Nothing heavy is imported here, so that the command line can list them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class NetworkForm:
    """How the networks spell the operations that runtimes disagree about.

    Attributes:
        fused_norm: layer norm as one operator, else as matrix products and arithmetic.
        fused_attention: ``scaled_dot_product_attention`` (:func:`fused_attention`), else
            bmm - softmax - bmm (:func:`attention`).
        flat_conv: 1-D convolutions, else 2-D ones with (1, K) kernels on (B, C, 1, T).
        product_upsample: transposed convolutions as linear layers (needs ``flat_conv`` off).
    """

    name: str
    fused_norm: bool
    fused_attention: bool
    flat_conv: bool
    product_upsample: bool = False


REFERENCE = NetworkForm("reference", fused_norm=True, fused_attention=True, flat_conv=True)
ONNX = NetworkForm("onnx", fused_norm=True, fused_attention=False, flat_conv=True)
# LiteRT has 2-D convolutions only: flat ones would cost it two transposes each.
LITERT = NetworkForm("litert", fused_norm=True, fused_attention=False, flat_conv=False)
XNNPACK = NetworkForm(
    "xnnpack", fused_norm=False, fused_attention=False, flat_conv=False, product_upsample=True
)

FORMS: Final = {form.name: form for form in (REFERENCE, ONNX, LITERT, XNNPACK)}
