"""Licenses of model weights: how they are recognized, and what goes along with a copy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from arcmobile.runtime.errors import InputError

_HEAD: Final = 400  # characters of a license text that name it
_HUB_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")


@dataclass(frozen=True)
class License:
    """A license as a model card names it.

    Attributes:
        name: Identifier in ``--license``: the Hub's, or its ``license_name`` where it has none.
        title: Name for people.
        url: Where its text stands.
        on_hub: Whether ``name`` is one of the Hub's own identifiers.
        pattern: Matches the beginning of its text, on one line.
        notice: Line that every copy of the weights must carry.
        credit: Line that a product with the weights must show.
        copy_required: Whether its text must go along with the weights.
    """

    name: str
    title: str
    url: str = ""
    on_hub: bool = True
    pattern: str = ""
    notice: str = ""
    credit: str = ""
    copy_required: bool = False


LICENSES: Final = (
    License(
        name="stable-audio-community",
        title="Stability AI Community License",
        url="https://stability.ai/community-license-agreement",
        on_hub=False,
        pattern=r"stability ai community licen[sc]e",
        notice=(
            "This Stability AI Model is licensed under the Stability AI Community License, "
            "Copyright © Stability AI Ltd. All Rights Reserved"
        ),
        credit="Powered by Stability AI",
        copy_required=True,
    ),
    License(
        name="cc0-1.0",
        title="CC0 1.0 Universal",
        url="https://creativecommons.org/publicdomain/zero/1.0/",
        pattern=r"(creative commons legal code\W+)?cc0 1\.0 universal",
    ),
    License(
        name="apache-2.0",
        title="Apache License 2.0",
        url="https://www.apache.org/licenses/LICENSE-2.0",
        pattern=r"apache licen[sc]e\W+version 2\.0",
        copy_required=True,
    ),
    License(
        name="mit",
        title="MIT License",
        url="https://opensource.org/license/mit",
        pattern=r"(the )?mit licen[sc]e",
        copy_required=True,
    ),
)
UNKNOWN: Final = License(name="unknown", title="Unknown")
"""The Hub's identifier for weights whose license nobody has stated."""


def recognize_license(text: str) -> License:
    """Return the license that a text or a manifest's notice begins with, or :data:`UNKNOWN`."""
    head = " ".join(text[: 4 * _HEAD].split())[:_HEAD].strip(" #*").lower()
    return next((known for known in LICENSES if re.match(known.pattern, head)), UNKNOWN)


def license_named(name: str) -> License:
    """Return the license called ``name``; those not in :data:`LICENSES` are taken as the Hub's.

    Raises:
        InputError: ``name`` cannot be an identifier of a license.
    """
    if not _HUB_NAME.fullmatch(name):
        known = ", ".join(license.name for license in LICENSES)
        raise InputError(
            f"--license {name!r}: not an identifier of the Hugging Face Hub; "
            f"known here: {known}; the others are on huggingface.co/docs/hub/repositories-licenses"
        )
    found = (known for known in LICENSES if known.name == name)
    return next(found, License(name=name, title=name))
