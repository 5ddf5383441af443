"""JSON files of a checkpoint, which are untrusted, and their faults in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from arcmobile.export.checkpoint.foreign import what_config_is
from arcmobile.export.messages import first_line, shown_name, shown_value
from arcmobile.runtime import bounds
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.strict_json import parse_json

Model = TypeVar("Model", bound=BaseModel)

_LISTED: Final = 8
_OTHER_TYPES: Final = {
    "string_type": "text", "int_type": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "tuple_type": "a list", "list_type": "a list",
    "dict_type": "an object", "model_type": "an object", "model_attributes_type": "an object",
    "int_from_float": "a whole number",
}  # fmt: skip


def read_json(path: Path) -> Any:
    """Parse a JSON file of a checkpoint.

    Raises:
        CheckpointError: the file is missing, too large, not UTF-8, not JSON, nested too deeply, has
            a key twice, or a number that is not finite.
    """
    try:
        with path.open("rb") as file:
            data = file.read(bounds.MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; a checkpoint folder needs it") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return parse_json(data, most_bytes=bounds.MANIFEST_BYTES, most_levels=bounds.MANIFEST_DEPTH)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; correct it, or download it again") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds an object, as :func:`read_json` does.

    Raises:
        CheckpointError: it holds something else.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise CheckpointError(f"{path}: not a JSON object; download it again")
    return document


def refuse_unsupported(path: Path, raw: dict[str, Any]) -> None:
    """Name the model that a ``model_config.json`` belongs to, where it is another family's.

    Raises:
        CheckpointError: it is.
    """
    family = what_config_is(raw)
    kind = raw.get("model_type")
    if kind != "diffusion_cond":
        found = f"model_type is {shown_value(kind)}, supported: 'diffusion_cond'"
        family = f"{found} ({family})" if family else found
    if family:
        raise CheckpointError(f"{path}: {family}; this is not a Stable Audio Open Small config")


def validated(model: type[Model], path: Path, raw: dict[str, Any], title: str) -> Model:
    """Return the object that a config file describes; ``"8"`` is not taken for a number.

    Raises:
        CheckpointError: each key that is unknown, missing or out of range, by name.
    """
    try:
        # From JSON, where a list may become a tuple although all else is strict.
        return model.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {title}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """One phrase per validation error: where in the file, and what is wrong there."""
    lines: list[str] = []
    for item in error.errors(include_url=False):
        place = shown_name(".".join(str(part) for part in item["loc"]))
        text = _problem(item["type"], item.get("input"), item.get("ctx", {}), item["msg"])
        line = f"{place} {text}" if item["loc"] else text
        if line not in lines:
            lines.append(line)
    more = f"; and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return "; ".join(lines[:_LISTED]) + more


def _problem(kind: str, value: object, context: dict[str, Any], message: str) -> str:
    if kind == "extra_forbidden":
        return "is not a key this toolkit knows"
    if kind == "literal_error":
        return f"is {shown_value(value)}, supported: {context['expected']}"
    if kind in ("none_required", "too_long"):
        return f"is {shown_value(value)}, which is not supported"
    if kind == "union_tag_invalid":
        return f"has type {shown_value(context['tag'])}, supported: {context['expected_tags']}"
    if kind == "missing":
        return "is missing"
    if kind == "finite_number":
        return "is not a finite number"
    if kind in _OTHER_TYPES:
        return f"is {shown_value(value)}, not {_OTHER_TYPES[kind]}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        limit = next(iter(context.values()))
        words = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below"}
        return f"is {shown_value(value)}, must be {words.get(kind, 'at most')} {limit}"
    if kind == "value_error":
        return first_line(context["error"]) if "error" in context else message
    return f"is {shown_value(value)}: {message.partition(chr(10))[0]}"
