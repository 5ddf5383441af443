"""T5 tokenization of prompts by the ``tokenizers`` library, as upstream's pipeline does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import tokenizers
from numpy.typing import NDArray

from arcmobile.runtime import bounds
from arcmobile.runtime.bundle import TOKENIZER_NAME, Bundle
from arcmobile.runtime.engines.native_log import native_log
from arcmobile.runtime.errors import BundleError, InputError, one_line
from arcmobile.runtime.tokenizer_file import check_tokenizer_file
from arcmobile.runtime.verified_files import open_regular

# Tried when a file is opened, so that a file that fails on them is refused there.
_TRIED_PROMPTS: Final = ("", "soft rain", "é \u3000x</s> <extra_id_0>\u200d")


@dataclass(frozen=True)
class TokenizedPrompt:
    """Inputs of the conditioner.

    Attributes:
        input_ids: int32 ``(1, max_length)``, padded.
        attention_mask: float32 ``(1, max_length)``, 1 = token, 0 = padding.
        count: number of tokens with the closing ``</s>``, before truncation.
        warning: line for the user where the prompt was too long, else ``None``.
    """

    input_ids: NDArray[np.int32]
    attention_mask: NDArray[np.float32]
    count: int
    warning: str | None


class PromptTokenizer:
    """SentencePiece unigram tokenizer of a T5 text encoder, padded to a fixed length."""

    def __init__(self, tokenizer_json: str, *, max_length: int, pad_id: int, eos_id: int) -> None:
        """Make a tokenizer of the text of a ``tokenizer.json``.

        Raises:
            ValueError: it is not supported, or an id lies outside its vocabulary.
        """
        size = check_tokenizer_file(tokenizer_json)
        for name, number in (("pad_id", pad_id), ("eos_id", eos_id)):
            if not 0 <= number < size:
                raise ValueError(f"tokenizer.{name} {number} is outside its {size} ids")
        with _as_value_error():
            self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
            # Whatever the file asks for: the count is that of all tokens, and we cut and pad.
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        self.max_length = max_length
        self._pad_id = pad_id
        self._eos_id = eos_id
        for prompt in _TRIED_PROMPTS:
            self._ids(prompt)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> PromptTokenizer:
        """Open the tokenizer of a bundle.

        Raises:
            BundleError: its file is broken.
        """
        spec = bundle.manifest.tokenizer
        record = next(record for record in spec.files if record.file == TOKENIZER_NAME)
        path = bundle.file(record)
        try:
            with open_regular(path) as file:
                data = file.read(bounds.TOKENIZER_BYTES + 1)
            text = data.decode("utf-8")
            return cls(text, max_length=spec.max_length, pad_id=spec.pad_id, eos_id=spec.eos_id)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path}: not a tokenizer ({error}); export the bundle again"
            ) from error

    def __call__(self, prompt: str) -> TokenizedPrompt:
        """Tokenize one prompt; the empty one is allowed and gives a lone ``</s>``.

        Text of special tokens (``</s>``, ``<extra_id_0>``) becomes the special token, as upstream.

        Raises:
            InputError: the prompt is not text, or too long.
            BundleError: the tokenizer fails on it.
        """
        check_text(prompt)
        try:
            ids = self._ids(prompt)
        except ValueError as error:
            raise BundleError(
                f"the bundle's tokenizer fails on this prompt ({error}); export the bundle again"
            ) from error
        count = len(ids)
        warning = None
        if count > self.max_length:
            ids = [*ids[: self.max_length - 1], self._eos_id]
            warning = (
                f"the prompt has {count} tokens; the model reads the first {self.max_length - 1}, "
                "the rest was cut off"
            )
        input_ids = np.full((1, self.max_length), self._pad_id, np.int32)
        input_ids[0, : len(ids)] = ids
        # By position, not by id: a literal "<pad>" in the prompt is a token like any other.
        mask = np.zeros((1, self.max_length), np.float32)
        mask[0, : len(ids)] = 1.0
        return TokenizedPrompt(input_ids, mask, count, warning)

    def _ids(self, prompt: str) -> list[int]:
        with _as_value_error():
            return self._tokenizer.encode(prompt).ids


@contextmanager
def _as_value_error() -> Iterator[None]:
    # A panic of the library is not an Exception.
    try:
        with native_log():  # where a panic leaves its trace
            yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise ValueError(one_line(error)) from error


def check_text(prompt: object) -> None:
    """Check that a prompt is a string that UTF-8 can hold, and not too long.

    Raises:
        InputError: it is not.
    """
    if not isinstance(prompt, str):
        raise InputError(f"prompt: is {type(prompt).__name__}, not text; give a string")
    try:
        size = len(prompt.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"prompt: character {error.start + 1} is not valid Unicode; give UTF-8 text"
        ) from error
    if size > bounds.PROMPT_BYTES:
        raise InputError(f"prompt: has {size} bytes; give at most {bounds.PROMPT_BYTES}")
