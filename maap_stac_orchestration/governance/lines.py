"""YAML and JSON as plain values that know their line, so that what is wrong in a file can be shown in the file.

Here belongs reading text into values, within bounds. Not here: what the values mean (`registry_file`). Pure.

Built on the parser's events rather than on its nodes: PyYAML's composer recurses in C, and a file of 100,000 opening
brackets ends the process with a segmentation fault (measured with PyYAML 6.0.3).
"""

from __future__ import annotations

import json
import re
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass

import yaml

#: A larger file is refused; 10,000 grants are about 1 MB.
MAX_BYTES = 16 * 2**20
MAX_DEPTH = 32

_STRING = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_BOOLEAN = "tag:yaml.org,2002:bool"
_INTEGER = "tag:yaml.org,2002:int"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: A character beyond U+FFFF as JSON escapes it, which YAML cannot read.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class TextError(ValueError):
    """The text cannot be read; `line` counts from 1 and is None where it is about the text as a whole."""

    def __init__(self, line: int | None, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, number, true, false or null."""

    #: str, bool, int or None; what is something else (a date, a fraction) is a `Scalar` whose `kind` says so.
    value: str | bool | int | None
    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    values: list[Value]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """An object: keys and values as they stand, no key twice."""

    values: dict[str, Value]
    #: The line of each key.
    lines: dict[str, int]
    line: int


Value = Scalar | Sequence | Mapping


def described(value: Value) -> str:
    """What a value is, for "expected a list, found …"."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, Sequence):
        return "a list"
    return value.kind


def read_lines(text: str) -> Value:
    """Reads one YAML or JSON document.

    Raises:
        TextError: it is neither, too large or too deep, has a key twice, or uses anchors, aliases or tags.
    """
    if len(text) > MAX_BYTES:
        raise TextError(None, f"the file is larger than {MAX_BYTES // 2**20} MB")
    try:
        return _read(_json_as_yaml(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = 'texts that begin with @ * & { or [ need quotes, for example "@team"'
        raise TextError(mark.line + 1 if mark else None, f"not YAML or JSON: {error.problem}; {hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TextError(line, f"a character that does not belong in a text ({error.reason})") from None
    except yaml.YAMLError as error:
        raise TextError(None, f"not YAML or JSON: {error}") from None


def from_plain(value: object) -> Value:
    """Plain values, as they come out of JSON, as values without lines: each line is 0.

    Raises:
        TextError: they are nested too deeply, or a key is not a text.
    """
    return _from_plain(value, 0)


def _from_plain(value: object, depth: int) -> Value:
    if isinstance(value, str):
        return Scalar(value, "a text", 0)
    if value is None or isinstance(value, bool | int | float):
        return _plain_scalar(value)
    if depth >= MAX_DEPTH:
        raise TextError(None, "lists and objects are nested too deeply")
    if isinstance(value, abc.Mapping):
        values: dict[str, Value] = {}
        for key, one in value.items():
            if not isinstance(key, str):
                raise TextError(None, f"a key must be a text, and {key!r} is not")
            values[key] = _from_plain(one, depth + 1)
        return Mapping(values, dict.fromkeys(values, 0), 0)
    if isinstance(value, list | tuple):
        return Sequence([_from_plain(one, depth + 1) for one in value], 0)
    return Scalar(None, f"not a text ({type(value).__name__})", 0)


def _plain_scalar(value: bool | int | float | None) -> Scalar:
    if value is None:
        return Scalar(None, "nothing (null)", 0)
    if isinstance(value, bool):
        return Scalar(value, f"true or false ({str(value).lower()})", 0)
    return Scalar(value if isinstance(value, int) else None, f"a number ({_digits(value)})", 0)


def _digits(value: int | float) -> str:
    # Python refuses to write integers of thousands of digits.
    return "of very many digits" if isinstance(value, int) and value.bit_length() > 256 else str(value)


def _json_as_yaml(text: str) -> str:
    """JSON that YAML 1.1 cannot read is made readable without moving a line: tabs, and escaped surrogate pairs."""
    if not text.lstrip().startswith("{") or ("\t" not in text and "\\u" not in text):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    # In JSON a tab can only stand between values.
    return _PAIR.sub(_joined, text.replace("\t", " "))


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


@dataclass(slots=True)
class _Open:
    """A list or object whose end is still to come."""

    value: Sequence | Mapping
    key: str | None = None


def _read(text: str) -> Value:
    resolve: Callable[[type, str, tuple[bool, bool]], str] = yaml.resolver.Resolver().resolve
    stack: list[_Open] = []
    root: Value | None = None
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise TextError(
                line, "anchors (&) and aliases (*) are not used here; put a name in quotes, or write it out"
            )
        if isinstance(event, yaml.ScalarEvent):
            if event.tag not in (None, "!"):
                raise TextError(line, f"the tag {event.tag} is not used here")
            tag = resolve(yaml.ScalarNode, event.value, event.implicit) if event.implicit[0] else _STRING
            root = _placed(stack, _scalar(tag, event.value, line)) or root
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if event.tag not in (None, "!"):
                raise TextError(line, f"the tag {event.tag} is not used here")
            if len(stack) >= MAX_DEPTH:
                raise TextError(line, "lists and objects are nested too deeply")
            is_list = isinstance(event, yaml.SequenceStartEvent)
            opened: Sequence | Mapping = Sequence([], line) if is_list else Mapping({}, {}, line)
            root = _placed(stack, opened) or root
            stack.append(_Open(opened))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            stack.pop()
        elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise TextError(line, "a second document begins here; a file holds one")
    if root is None:
        raise TextError(None, "the file is empty; write `version: 1`, or {} for a registry that grants nothing")
    return root


def _placed(stack: list[_Open], value: Value) -> Value | None:
    """Puts the value where it belongs; gives it back when it is the document itself."""
    if not stack:
        return value
    top = stack[-1]
    if isinstance(top.value, Sequence):
        top.value.values.append(value)
    elif top.key is None:
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            raise TextError(value.line, f"a key must be a text, and this is {described(value)}; put it in quotes")
        if value.value in top.value.values or value.value in top.value.lines:
            first = top.value.lines[value.value]
            raise TextError(value.line, f'the key "{value.value}" is there already, in line {first}')
        top.key = value.value
        top.value.lines[value.value] = value.line
    else:
        top.value.values[top.key] = value
        top.key = None
    return None


def _scalar(tag: str, text: str, line: int) -> Scalar:
    if tag == _STRING:
        return Scalar(text, "a text", line)
    if tag == _NULL:
        return Scalar(None, "nothing (null)", line)
    if tag == _BOOLEAN:
        return Scalar(text.lower() in ("true", "yes", "on"), f"true or false ({text})", line)
    if tag == _INTEGER and re.fullmatch(r"[0-9]{1,9}", text):
        return Scalar(int(text), f"a number ({text})", line)
    kind = "a date" if tag.endswith("timestamp") else "a number" if tag.endswith(("int", "float")) else "not a text"
    return Scalar(None, f"{kind} ({text[:40]})", line)
