"""The id of a job's default collection: where outputs go that ask for no collection, or for one they may not have.

Here belongs how a job's names become a collection id. Not here: which job owns an id that two jobs come to; the ledger
remembers that. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

#: The template of a fresh deployment. Parts are separated by `__`.
DEFAULT_TEMPLATE = "{username}__{algorithm_name}__{algorithm_version}__{tag}"

#: No default collection has a longer id.
MAX_LENGTH = 128

#: What separates the parts of a template, and what no id that a user may choose contains.
SEPARATOR = "__"

_FIELDS = ("username", "algorithm_name", "algorithm_version", "tag")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._-]+")
_FIELD = re.compile(r"\{([^{}]*)\}")


class TemplateError(ValueError):
    """The template of default collection ids cannot be used; the message says why."""


class JobNames(NamedTuple):
    """The raw names that a default collection stands for, as the job metadata has them."""

    username: str
    algorithm_name: str
    algorithm_version: str
    tag: str | None

    def canonical(self) -> bytes:
        """The bytes that are hashed: a JSON array of the four names, `null` for none, with no spaces, all ASCII.

        For `("ana", "flood", "v1", None)` that is `["ana","flood","v1",null]`; what is not ASCII is written `\\uXXXX`.
        """
        return json.dumps(list(self), ensure_ascii=True, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True)
class DefaultId:
    """The ids that a job's default collection may have."""

    #: The id as the template gives it.
    plain: str
    #: The id that ends in `-` and 8 hex digits, for when `plain` is another owner's; at most 128 characters.
    hashed: str
    #: True where `plain` is too long: then only `hashed` is used.
    must_hash: bool
    #: Whose id it is: the names that the template uses, None for those that it does not. The ledger keeps this with
    #: the id, and hands out `hashed` where the id, compared by lower case, belongs to another owner.
    owner: JobNames

    @property
    def preferred(self) -> str:
        """The id to use as long as no other owner has it."""
        return self.hashed if self.must_hash else self.plain

    def candidates(self) -> Iterator[str]:
        """Every id to try, in order. The last ones carry more of the hash: an id with 8 digits of it can be forged,
        by an algorithm or tag that spells it out, and whose job comes first would then hold it."""
        yield self.preferred
        if not self.must_hash:
            yield self.hashed
        for digits in (16, 32, 64):
            yield _hashed(self.plain, self.owner, digits)


def default_collection_id(job: tuple[str, str, str, str | None], template: str = DEFAULT_TEMPLATE) -> DefaultId:
    """The default collection of a job.

    Every run of characters outside `A-Z a-z 0-9 . _ -` in a name becomes one `-`; case is kept. That is done name by
    name, before they are joined. A part of the template is left out, with its `__`, when the tag is all it has and the
    job has none (None or empty). Total: every four names give an id.

    Args:
        job: username, algorithm name, algorithm version and tag, raw (see `JobNames`).
        template: see `check_template`.

    Raises:
        TemplateError: the template cannot be used; `check_template` at start keeps that from happening here.
    """
    parts = _parse(template)
    username, name, version, tag = job
    used = {field for part in parts for field in part.fields}
    owner = JobNames(
        username,
        name if "algorithm_name" in used else "",
        version if "algorithm_version" in used else "",
        (tag or None) if "tag" in used else None,
    )
    # A name that is never empty in a valid job: spelled as what cannot be spelled is, so that no part goes missing.
    values = {field: _NOT_ALLOWED.sub("-", value or "") for field, value in zip(_FIELDS, job, strict=True)}
    plain = SEPARATOR.join(
        part.text.format_map({field: values[field] or ("" if field == "tag" else "-") for field in part.fields})
        for part in parts
        if not part.optional or values["tag"]
    )
    return DefaultId(plain, _hashed(plain, owner, 8), len(plain) > MAX_LENGTH, owner)


def check_template(template: str) -> str:
    """Gives the template back when it can be used: for the settings.

    A template names fields in braces, `{username}` among them, and separates its parts with `__`; at least two parts
    stay without a tag, so that every default id contains `__`, which no id that users choose may contain.

    Raises:
        TemplateError: one sentence.
    """
    _parse(template)
    return template


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    fields: tuple[str, ...]

    @property
    def optional(self) -> bool:
        """Whether the part stands for the tag alone, which a job may lack."""
        return set(self.fields) == {"tag"}


@lru_cache(maxsize=16)
def _parse(template: str) -> tuple[_Part, ...]:
    parts = []
    for text in template.split(SEPARATOR):
        fields = tuple(_FIELD.findall(text))
        for field in fields:
            if field not in _FIELDS:
                raise TemplateError(
                    f"the field {{{field}}} is not known; there are {', '.join(f'{{{known}}}' for known in _FIELDS)}"
                )
        literal = _FIELD.sub("", text)
        if "{" in literal or "}" in literal:
            raise TemplateError("a brace has no partner; write fields like {username}")
        if _NOT_ALLOWED.search(literal):
            raise TemplateError("only letters, digits and . _ - may stand between the fields")
        if not text:
            raise TemplateError("a part between two __ is empty")
        parts.append(_Part(text, fields))
    if not any("username" in part.fields for part in parts):
        raise TemplateError("it must contain {username}, or different users would share default collections")
    if sum(not part.optional for part in parts) < 2:
        raise TemplateError(
            "it must have two parts with __ between them besides the tag, for example {username}__{algorithm_name}, "
            "because __ is what keeps default ids apart from ids that users choose"
        )
    return tuple(parts)


def _hashed(plain: str, owner: JobNames, digits: int) -> str:
    digest = sha256(owner.canonical()).hexdigest()[:digits]
    return f"{plain[: MAX_LENGTH - digits - 1]}-{digest}"
