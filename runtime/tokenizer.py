"""T5 tokenization of prompts by the ``tokenizers`` library, as upstream's pipeline does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tokenizers
from numpy.typing import NDArray

from arcmobile.runtime.bundle import TOKENIZER_NAME, Bundle
from arcmobile.runtime.errors import BundleError, InputError


@dataclass(frozen=True)
class TokenizedPrompt:
    """What the conditioner takes, and what the user should hear about.

    ``input_ids`` int32 ``(1, max_length)``, padded; ``attention_mask`` float32 ``(1, max_length)``,
    1 = token, 0 = padding; ``count`` is the number of tokens with the closing ``</s>`` before
    truncation; ``warning`` says that the prompt was too long, or is ``None``.
    """

    input_ids: NDArray[np.int32]
    attention_mask: NDArray[np.float32]
    count: int
    warning: str | None


class PromptTokenizer:
    """SentencePiece unigram tokenizer of a T5 text encoder, padded to a fixed length."""

    def __init__(self, tokenizer_json: str, *, max_length: int, pad_id: int, eos_id: int) -> None:
        """``tokenizer_json`` is the text of a ``tokenizer.json``; ``ValueError`` if it is none."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(str(error).partition("\n")[0]) from error
        # Whatever the file asks for: the whole count is wanted, and the shape is ours.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.max_length = max_length
        self._pad_id = pad_id
        self._eos_id = eos_id

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> PromptTokenizer:
        """The tokenizer of a bundle; :class:`BundleError` if its file is broken."""
        spec = bundle.manifest.tokenizer
        record = next(record for record in spec.files if record.file == TOKENIZER_NAME)
        path = bundle.file(record)
        try:
            text = path.read_text(encoding="utf-8")
            return cls(text, max_length=spec.max_length, pad_id=spec.pad_id, eos_id=spec.eos_id)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path}: not a tokenizer ({error}); export the bundle again"
            ) from error

    def __call__(self, prompt: str) -> TokenizedPrompt:
        """Tokenizes one prompt; the empty one is allowed and gives a lone ``</s>``.

        Text of special tokens (``</s>``, ``<extra_id_0>``) becomes the special token, as upstream.
        Raises :class:`InputError` for anything that is not text.
        """
        check_text(prompt)
        ids = self._tokenizer.encode(prompt).ids
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


def check_text(prompt: object) -> None:
    """Raises :class:`InputError` unless ``prompt`` is a str that can be written as UTF-8."""
    if not isinstance(prompt, str):
        raise InputError(f"prompt: is {type(prompt).__name__}, not text; give a string")
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"prompt: character {error.start + 1} is not valid Unicode; give UTF-8 text"
        ) from error
