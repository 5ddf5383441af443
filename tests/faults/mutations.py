"""Seeded mutations of good inputs: of JSON by its tree, of any file by its bytes.

The same generator state gives the same mutation on every machine, so that a case is named by its
reader and its number alone.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

# --- JSON ---------------------------------------------------------------------------------------

# Written in the place of a value and replaced by JSON text that no Python value prints as.
_MARK: Final = "\ue000text:"

_ODD_TEXTS: Final = (
    "", " ", "\x00", "a\nb", "\r", "\u2028", "\u0085", "\ufeff", "\u202e", "A\u030a", "\u00c5",
    "\U0001f469\u200d\U0001f4bb", "\uffff", "\ud800", "\udfff", "../../etc/passwd", "/dev/zero",
    "%s%n", "{}", "[/red]", "\x1b[31m", "-1", "NaN", "x" * 300, "\u00e9" * 70_000,
)  # fmt: skip

_ODD_NUMBERS: Final = (
    0, -1, 1, 2, 63, 65, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1,
    10**30, 1.0, 0.5, -0.0, 1e-320, 1e308, -1e308,
)  # fmt: skip

_ODD_LITERALS: Final = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "+1", ".5", "2.0", "1e2", "0x10",
    "1" + "0" * 400, "1" + "0" * 5000, "1e1000000000", '"\\ud800"', '"\\u0000"', '"\\x"', "nul",
    "[" * 40 + "]" * 40, "[" * 100_000 + "]" * 100_000, '{"a":' * 20_000 + "1" + "}" * 20_000, "",
)  # fmt: skip

Path = tuple[Any, ...]


def mutate_json(rng: random.Random, document: Any) -> bytes:
    """A JSON document with one to three edits of its tree, sometimes damaged as text as well."""
    tree = [copy.deepcopy(document)]  # in a list, so that the root can be edited like any other
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _edit(rng, tree)
    data = _written(rng, tree[0])
    return mutate_bytes(rng, data) if rng.random() < 0.15 else data


def _places(value: Any, at: Path = ()) -> Iterator[Path]:
    if at:
        yield at
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        # Of a vocabulary, the ends stand for the rest.
        children = list(enumerate(value))
        children = children if len(children) <= 40 else children[:20] + children[-20:]
    for key, child in children:
        yield from _places(child, (*at, key))


def _parent(tree: Any, place: Path) -> Any:
    for key in place[:-1]:
        tree = tree[key]
    return tree


def _edit(rng: random.Random, tree: list[Any]) -> None:
    places = list(_places(tree))
    place = rng.choice(places)
    parent, key = _parent(tree, place), place[-1]
    edit = rng.choice(_EDITS)
    edit(rng, tree, parent, key)


def _remove(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    if parent is not tree:
        del parent[key]


def _replace(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    parent[key] = _odd_value(rng)


def _odd_value(rng: random.Random) -> Any:
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice(_ODD_TEXTS)
    if kind == 1:
        return rng.choice(_ODD_NUMBERS)
    if kind == 2:
        return _MARK + rng.choice(_ODD_LITERALS)
    if kind == 3:
        return rng.choice((None, True, False, [], {}, [[]], [None], {"": None}))
    return rng.choice(([0] * 20_000, {str(index): index for index in range(5000)}))


def _nudge(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    """A value of the same kind that is a little or a lot off."""
    value = parent[key]
    if isinstance(value, bool) or value is None:
        parent[key] = rng.choice((None, True, False, 0, 1))
    elif isinstance(value, int):
        parent[key] = rng.choice((value + 1, value - 1, -value, value * 2, value * 10**9, value**9))
    elif isinstance(value, float):
        parent[key] = rng.choice((-value, value * 1e300, value / 1e300, int(value)))
    elif isinstance(value, str):
        parent[key] = _odd_string(rng, value)
    elif isinstance(value, list):
        parent[key] = rng.choice((value[::-1], value * 2, value[:1], value[1:], [value]))
    else:
        parent[key] = rng.choice((list(value), [value], {"": value}))


def _odd_string(rng: random.Random, value: str) -> str:
    at = rng.randrange(len(value) + 1)
    odd = rng.choice(_ODD_TEXTS)
    return rng.choice((value[:at] + odd + value[at:], value[:at], value.upper(), value * 100))


def _rename(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        parent[_odd_string(rng, key)] = parent.pop(key)


def _insert(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    value = rng.choice((_odd_value(rng), copy.deepcopy(parent[key])))
    if isinstance(parent, dict):
        parent[rng.choice((_odd_string(rng, key), "surprise"))] = value
    elif parent is not tree:
        parent.insert(key, value)


def _transplant(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    """A copy of another part of the document in the place of this one."""
    other = rng.choice(list(_places(tree)))
    parent[key] = copy.deepcopy(_parent(tree, other)[other[-1]])


def _swap(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _write_twice(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    """The same key a second time, with the same or another value."""
    if isinstance(parent, dict):
        second = rng.choice((parent[key], rng.choice(_ODD_NUMBERS)))
        texts = _text(parent[key]), _text(key), _text(second)
        parent[key] = _MARK + "{}, {}: {}".format(*texts)


_EDITS: Final[tuple[Callable[[random.Random, Any, Any, Any], None], ...]] = (
    _remove, _replace, _replace, _nudge, _nudge, _rename, _insert, _transplant, _swap, _write_twice,
)  # fmt: skip


def _text(value: Any, **options: Any) -> str:
    """JSON text of a value, with the marked strings in it replaced."""
    text = json.dumps(value, **options)
    mark = json.dumps(_MARK)[:-1]
    mark = mark if mark in text else f'"{_MARK}'
    while (start := text.find(mark)) >= 0:
        marked, length = json.JSONDecoder().raw_decode(text[start:])
        text = text[:start] + marked.removeprefix(_MARK) + text[start + length :]
    return text


def _written(rng: random.Random, document: Any) -> bytes:
    ascii_only = rng.random() < 0.5
    text = _text(document, ensure_ascii=ascii_only, indent=rng.choice((None, None, 1)))
    data = text.encode("utf-8", "surrogatepass")
    way = rng.randrange(20)
    if way == 0:
        return b"\xef\xbb\xbf" + data
    if way == 1:
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32")), "surrogatepass")
    if way == 2:
        return data + rng.choice((b"\n\n", b"{}", b",", b"\x00", b"]", b"// end"))
    return data


# --- bytes --------------------------------------------------------------------------------------


def mutate_bytes(rng: random.Random, data: bytes, *, keep_size: bool = False) -> bytes:
    """The data with one to three edits; ``keep_size``: only such as keep its length."""
    changed = bytearray(data)
    edits = _SAME_SIZE if keep_size else _SAME_SIZE + _OTHER_SIZE
    for _ in range(rng.choice((1, 1, 2, 3))):
        if changed:
            rng.choice(edits)(rng, changed)
    return bytes(changed)


def flip_bits(rng: random.Random, data: bytes, *, within: int) -> bytes:
    """The data with 1, 3 or 20 bits flipped in its first ``within`` bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        changed[rng.randrange(min(within, len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _place(rng: random.Random, data: bytearray) -> int:
    """A position, more often in the headers at the start."""
    return rng.randrange(rng.choice((min(64, len(data)), min(4096, len(data)), len(data))))


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 3, 20))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _lie(rng: random.Random, data: bytearray) -> None:
    """What may be a length or an offset becomes one that is wrong."""
    width = rng.choice((1, 2, 4, 8))
    at = min(_place(rng, data), max(0, len(data) - width))
    top = 1 << (8 * width)
    number = rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, len(data), len(data) + 1, 1 << 30))
    data[at : at + width] = (number % top).to_bytes(width, rng.choice(("little", "big")))


def _fill(rng: random.Random, data: bytearray) -> None:
    at, length = _place(rng, data), rng.choice((1, 8, 64, 1024))
    end = min(len(data), at + length)
    data[at:end] = rng.choice((bytes(end - at), b"\xff" * (end - at), rng.randbytes(end - at)))


def _copy_over(rng: random.Random, data: bytearray) -> None:
    at, source = _place(rng, data), _place(rng, data)
    length = min(rng.choice((4, 64, 1024)), len(data) - max(at, source))
    data[at : at + length] = data[source : source + length]


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.choice((_place(rng, data), len(data) - 1, len(data) // 2)) :]


def _delete(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 4, 100, 5000))]


def _append(rng: random.Random, data: bytearray) -> None:
    data += rng.choice((b"\0", bytes(100_000), rng.randbytes(100), bytes(data[:100_000])))


def _repeat(rng: random.Random, data: bytearray) -> None:
    at, length = _place(rng, data), rng.choice((1, 4, 64, 1024))
    block = bytes(data[at : at + length])
    data[at:at] = block * rng.choice((1, 2, 50))


_SAME_SIZE: Final = (_flip, _flip, _lie, _lie, _fill, _copy_over)
_OTHER_SIZE: Final = (_truncate, _delete, _append, _repeat)
