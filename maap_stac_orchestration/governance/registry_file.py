"""The registry file: what its keys mean, and what is refused.

Here belongs how the two forms of the file, and single entries that are kept elsewhere, become entries: by one set of
rules. The way back is `registry_document`. Not here: how text becomes values (`lines`), what a pattern
is (`patterns`) and what follows for a request (`decide`). Pure. docs/governance.md is the reference for people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.governance.entries import Entry, Kind, Reserved
from maap_stac_orchestration.governance.lines import (
    Mapping,
    Scalar,
    Sequence,
    TextError,
    Value,
    described,
    from_plain,
    read_lines,
)
from maap_stac_orchestration.governance.patterns import USERNAME, AlgorithmPattern, Pattern, PatternError

#: More problems than that are not listed: the first ones are mended first.
MAX_PROBLEMS = 50

_KEYS = ("version", "on_denied", "reserved", "teams", "grants", "deny")
_ENTRY_KEYS = ("collection", "users", "algorithms", "create", "on_denied", "template")
_TEMPLATE_KEYS = ("title", "description", "license", "providers", "keywords")
_PROVIDER_KEYS = ("name", "description", "roles", "url")
_ROLES = ("licensor", "producer", "processor", "host")
_TEAM_KEYS = ("team", "users")
_RESERVED_KEYS = ("collection",)
_TEAM = re.compile(r"[A-Za-z0-9._-]{1,128}")

#: What an entry is that is kept by itself: the key of the registry file under which it would stand.
EntryKind = Literal["grants", "deny", "teams", "reserved"]


@dataclass(frozen=True, slots=True)
class RegistryProblem:
    """One thing in a registry file that cannot be used."""

    #: Counted from 1; None where it is about the file as a whole.
    line: int | None
    #: One sentence: what, and what to write instead.
    sentence: str


@dataclass(slots=True)
class RegistryFile:
    """What a file holds. Where there are problems, nothing of it may be used."""

    entries: list[Entry] = field(default_factory=list)
    reserved: list[Reserved] = field(default_factory=list)
    teams: dict[str, frozenset[str]] = field(default_factory=dict)
    on_denied: OnDenied | None = None
    problems: list[RegistryProblem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Team:
    """A team that is kept by itself."""

    #: Without `@`.
    name: str
    members: frozenset[str]


class EntryError(ValueError):
    """A single entry cannot be used; the message is a sentence for each problem."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__(" ".join(self.sentences))


def read_entry(
    kind: EntryKind, document: AnyMapping[str, Any], *, label: str, teams: Collection[str] | None
) -> Entry | Reserved | Team:
    """Reads one entry that does not stand in a file, by the rules and in the words of the file.

    Args:
        kind: the key of the file under which the entry would stand.
        document: `grants` and `deny`: an entry as in the file; `teams`: `{"team": name, "users": [username, …]}`;
            `reserved`: `{"collection": pattern}`. Plain values, as they come out of JSON.
        label: how messages and rules name it, on one line: `grant 17 "maap-*" (by ana, 2026-11-21)`.
        teams: the names of the teams that there are, without `@`. None leaves it to `Registry.merged` to find the
            entries that name a team which nobody defines.

    Raises:
        EntryError: with a sentence for everything that cannot be used.
    """
    reader = _Reader(teams)
    read: Entry | Reserved | Team | None = None
    try:
        value = from_plain(document)
    except TextError as error:
        raise EntryError([f"{label}: {error}."]) from None
    if kind not in get_args(EntryKind):
        raise EntryError([f"{label}: {kind!r} is not a kind of entry; there are {', '.join(get_args(EntryKind))}."])
    if not isinstance(value, Mapping):
        reader.problem(None, f"{label} must be an object; this is {_told(value)}.")
    elif kind == "teams":
        read = reader.team_alone(value, label)
    elif kind == "reserved":
        read = reader.reserved_alone(value, label)
    else:
        read = reader.entry(value, Kind(kind), label, label=label)
    problems = [one.sentence for one in reader.file.problems]
    if read is None or problems:
        more = len(problems) - MAX_PROBLEMS
        raise EntryError(problems if more <= 0 else [*problems[:MAX_PROBLEMS], f"There are {more} more problems."])
    return read


def read_registry_file(text: str) -> RegistryFile:
    """Reads both forms. Never raises for any text: what is wrong stands under `problems`, in the order of lines."""
    reader = _Reader()
    try:
        document = read_lines(text)
    except TextError as error:
        reader.problem(error.line, f"{error}.")
    else:
        reader.document(document)
    found = sorted(reader.file.problems, key=lambda one: one.line or 0)
    reader.file.problems = found[:MAX_PROBLEMS]
    if len(found) > MAX_PROBLEMS:
        reader.problem(None, f"There are {len(found) - MAX_PROBLEMS} more problems.")
    return reader.file


class _Reader:
    """Takes one document apart, collecting problems as it goes."""

    def __init__(self, teams: Collection[str] | None = ()) -> None:
        self.file = RegistryFile()
        #: The teams that entries may name; None: any.
        self.known_teams = teams

    def problem(self, line: int | None, sentence: str) -> None:
        self.file.problems.append(RegistryProblem(line, sentence))

    # The document

    def document(self, document: Value) -> None:
        if not isinstance(document, Mapping):
            self.problem(document.line, f"A registry is an object with keys, and this is {described(document)}.")
            return
        if "version" not in document.values:
            foreign = [key for key in _KEYS if key in document.values]
            if not foreign:
                self.flat(document)
                return
            line = document.lines[foreign[0]]
            self.problem(line, f"There is {foreign[0]}, but no version; write `version: 1` at the top of the file.")
        self.known_keys(document, _KEYS, "the registry")
        values = document.values
        if "version" in values:
            version = values["version"]
            if not isinstance(version, Scalar) or version.value != 1 or isinstance(version.value, bool):
                self.problem(version.line, f"version must be the number 1, and this is {_told(version)}.")
        self.file.on_denied = self.on_denied(values.get("on_denied"), "on_denied")
        self.reserved(values.get("reserved"))
        # Before the entries, which name them.
        self.teams(values.get("teams"))
        self.known_teams = self.file.teams
        for kind in Kind:
            self.entries(values.get(kind.value), kind)

    def flat(self, document: Mapping) -> None:
        for text, users in document.values.items():
            line = document.lines[text]
            what = f'"{text}"'
            pattern = self.pattern(text, line, what)
            named = self.users(users, pattern, what, may_be_empty=True)
            if pattern is not None and named is not None:
                label = f"{what} (line {line})"
                self.file.entries.append(Entry(Kind.GRANT, pattern, named, create=True, label=label))

    def reserved(self, value: Value | None) -> None:
        for number, one in enumerate(self.list(value, "reserved"), 1):
            pattern = self.reserved_pattern(one, f"reserved[{number}]")
            if pattern is not None:
                label = f'reserved[{number}] "{pattern.text}" (line {one.line})'
                self.file.reserved.append(Reserved(pattern, label))

    def reserved_pattern(self, value: Value, what: str) -> Pattern | None:
        text = self.text(value, what)
        pattern = None if text is None else self.pattern(text, value.line, what)
        if pattern is not None and pattern.after is not None:
            self.problem(value.line, f"{what} contains {USERNAME}, which means nothing there.")
            return None
        return pattern

    def reserved_alone(self, value: Mapping, label: str) -> Reserved | None:
        self.known_keys(value, _RESERVED_KEYS, label)
        if "collection" not in value.values:
            self.problem(value.line, f"{label} has no collection; {_NAME_A_COLLECTION}")
            return None
        pattern = self.reserved_pattern(value.values["collection"], label)
        return None if pattern is None else Reserved(pattern, label)

    def teams(self, value: Value | None) -> None:
        if value is None:
            return
        if not isinstance(value, Mapping):
            self.problem(value.line, f"teams must be an object of lists of usernames, and this is {_told(value)}.")
            return
        for team, members in value.values.items():
            self.file.teams[team] = self.team(team, value.lines[team], members)

    def team(self, name: str, line: int, members: Value) -> frozenset[str]:
        if not _TEAM.fullmatch(name):
            self.problem(
                line, f"The team name {_quoted(name)} must be of letters, digits and . _ - (at most 128 of them)."
            )
        what = f"the team {_quoted(name)}"
        names = [self.username(one, what) for one in self.list(members, what)]
        return frozenset(one for one in names if one is not None)

    def team_alone(self, value: Mapping, label: str) -> Team | None:
        self.known_keys(value, _TEAM_KEYS, label)
        for key in _TEAM_KEYS:
            if key not in value.values:
                self.problem(value.line, f"{label} has no {key}; a team has a name and a list of users.")
        name = self.text(value.values["team"], f"{label}: team") if "team" in value.values else None
        if name is None or "users" not in value.values:
            return None
        users = value.values["users"]
        if not isinstance(users, Sequence):
            self.problem(users.line, f"{label}: users must be a list, and this is {_told(users)}.")
        return Team(name, self.team(name, value.line, users)) if isinstance(users, Sequence) else None

    # Entries

    def entries(self, value: Value | None, kind: Kind) -> None:
        for number, one in enumerate(self.list(value, kind.value), 1):
            what = f"{kind.value}[{number}]"
            if not isinstance(one, Mapping):
                self.problem(one.line, f"{what} must be an object with collection and users; this is {_told(one)}.")
                continue
            entry = self.entry(one, kind, what)
            if entry is not None:
                self.file.entries.append(entry)

    def entry(self, value: Mapping, kind: Kind, what: str, *, label: str | None = None) -> Entry | None:
        keys = _ENTRY_KEYS if kind is Kind.GRANT else tuple(key for key in _ENTRY_KEYS if key != "template")
        self.known_keys(value, keys, what)
        values = value.values
        pattern = None
        text = None
        if "collection" in values:
            text = self.text(values["collection"], f"{what}: collection")
        else:
            self.problem(value.line, f"{what} has no collection; {_NAME_A_COLLECTION}")
        if text is not None:
            if label is None:
                what = f'{what} "{text}"'
            pattern = self.pattern(text, values["collection"].line, what)
        users: tuple[str, ...] | None = None
        if "users" in values:
            users = self.users(values["users"], pattern, what)
        else:
            self.problem(value.line, f'{what} has no users; name them in a list, or write ["*"] for everyone.')
        algorithms = tuple(self.algorithms(values.get("algorithms"), what))
        create = values.get("create")
        if create is not None and not (isinstance(create, Scalar) and isinstance(create.value, bool)):
            self.problem(create.line, f"{what}: create must be true or false, and this is {_told(create)}.")
        on_denied = self.on_denied(values.get("on_denied"), f"{what}: on_denied")
        template = self.template(values.get("template"), f"{what}: template")
        if pattern is None or users is None:
            return None
        return Entry(
            kind,
            pattern,
            users,
            algorithms,
            create=isinstance(create, Scalar) and create.value is True,
            on_denied=on_denied,
            template=template,
            label=f"{what} (line {value.line})" if label is None else label,
        )

    def pattern(self, text: str, line: int, what: str) -> Pattern | None:
        try:
            return Pattern.parse(text)
        except PatternError as error:
            self.problem(line, f"{what}: the collection {_quoted(text)} {error}.")
            return None

    def users(
        self, value: Value, pattern: Pattern | None, what: str, *, may_be_empty: bool = False
    ) -> tuple[str, ...] | None:
        before = len(self.file.problems)
        users = []
        items = self.list(value, f"{what}: users")
        if not items and len(self.file.problems) == before and not may_be_empty:
            self.problem(value.line, f'{what}: users is empty; name someone, or write ["*"] for everyone.')
        for one in items:
            text = one.value if isinstance(one, Scalar) else None
            if text == USERNAME and pattern is not None and pattern.after is None:
                self.problem(
                    one.line, f"{what}: {USERNAME} among the users needs {USERNAME} in the collection; * is everyone."
                )
            elif isinstance(text, str) and text.startswith("@"):
                if self.known_teams is not None and text[1:] not in self.known_teams:
                    self.problem(one.line, f"{what}: there is no team {_quoted(text)}; define it under teams.")
                users.append(text)
            elif text == "*" or text == USERNAME:
                users.append(str(text))
            else:
                name = self.username(one, f"{what}: users")
                if name is not None:
                    users.append(name)
        return tuple(users) if len(self.file.problems) == before else None

    def username(self, value: Value, what: str) -> str | None:
        text = self.text(value, what)
        if text is None:
            return None
        wrong = None
        if not text or not text.isprintable() or any(character.isspace() for character in text):
            wrong = "is empty, or has a space or a control character in it"
        elif any(sign in text for sign in "*?{}/") or text.startswith("@"):
            wrong = "is not a username; usernames are written out, without * ? { } / and without @ before them"
        if wrong is not None:
            self.problem(value.line, f"{what}: {_quoted(text)} {wrong}.")
            return None
        return text

    def algorithms(self, value: Value | None, what: str) -> Iterable[AlgorithmPattern]:
        items = self.list(value, f"{what}: algorithms")
        if isinstance(value, Sequence) and not items:
            self.problem(value.line, f"{what}: algorithms is empty; leave it out where every algorithm is approved.")
        for one in items:
            text = self.text(one, f"{what}: algorithms")
            if text is None:
                continue
            try:
                yield AlgorithmPattern.parse(text)
            except PatternError as error:
                self.problem(one.line, f"{what}: the algorithm {_quoted(text)} {error}.")

    # Descriptions of collections

    def template(self, value: Value | None, what: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(value.line, f"{what} must be an object, and this is {_told(value)}.")
            return {}
        self.known_keys(value, _TEMPLATE_KEYS, what)
        template: dict[str, Any] = {}
        for key in ("title", "description", "license"):
            if key in value.values:
                template[key] = self.words(value.values[key], f"{what}.{key}")
        if "keywords" in value.values:
            keywords = self.list(value.values["keywords"], f"{what}.keywords")
            template["keywords"] = [self.words(one, f"{what}.keywords") for one in keywords]
        if "providers" in value.values:
            providers = self.list(value.values["providers"], f"{what}.providers")
            template["providers"] = [
                self.provider(one, f"{what}.providers[{number}]") for number, one in enumerate(providers, 1)
            ]
        return template

    def provider(self, value: Value, what: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.problem(value.line, f"{what} must be an object with a name, and this is {_told(value)}.")
            return {}
        self.known_keys(value, _PROVIDER_KEYS, what)
        if "name" not in value.values:
            self.problem(value.line, f"{what} has no name.")
        provider: dict[str, Any] = {
            key: self.words(value.values[key], f"{what}.{key}")
            for key in ("name", "description", "url")
            if key in value.values
        }
        if "roles" in value.values:
            provider["roles"] = []
            for one in self.list(value.values["roles"], f"{what}.roles"):
                role = self.text(one, f"{what}.roles")
                if role is not None and role not in _ROLES:
                    self.problem(one.line, f"{what}.roles: {_quoted(role)} is none of {', '.join(_ROLES)}.")
                provider["roles"].append(role)
        return provider

    # Kinds of values

    def known_keys(self, value: Mapping, known: tuple[str, ...], what: str) -> None:
        for key, line in value.lines.items():
            if key not in known:
                self.problem(line, f"{what} has the unknown key {_quoted(key)}; there are {', '.join(known)}.")

    def list(self, value: Value | None, what: str) -> list[Value]:
        if value is None:
            return []
        if not isinstance(value, Sequence):
            self.problem(value.line, f"{what} must be a list, and this is {_told(value)}.")
            return []
        return value.values

    def text(self, value: Value, what: str) -> str | None:
        if isinstance(value, Scalar) and isinstance(value.value, str):
            return value.value
        hint = "" if isinstance(value, Mapping | Sequence) else "; put it in quotes"
        self.problem(value.line, f"{what} must be a text, and this is {_told(value)}{hint}.")
        return None

    def words(self, value: Value, what: str) -> str:
        text = self.text(value, what)
        if text is not None and (not text.strip() or "\0" in text):
            self.problem(value.line, f"{what} is empty.")
        elif text is not None and any(map(_is_control, text)):
            self.problem(value.line, f"{what} has a character in it that is no text, {_quoted(text)}; take it out.")
        return text or ""

    def on_denied(self, value: Value | None, what: str) -> OnDenied | None:
        if value is None:
            return None
        if isinstance(value, Scalar) and value.value in tuple(OnDenied):
            return OnDenied(str(value.value))
        self.problem(value.line, f"{what} must be fallback or reject, and this is {_told(value)}.")
        return None


#: What to write where an entry names no collection.
_NAME_A_COLLECTION = "name the id, or the prefix with a * at its end."


def _is_control(character: str) -> bool:
    """Whether a character has no place in a description: control characters other than tab and line end, and halves
    of surrogate pairs, which neither a UTF-8 file nor a database takes."""
    return character not in "\t\n\r" and unicodedata.category(character) in ("Cc", "Cs")


def _told(value: Value) -> str:
    if isinstance(value, Scalar) and isinstance(value.value, str):
        return f"the text {_quoted(value.value)}"
    return described(value)


def _quoted(text: str) -> str:
    cut = text if len(text) <= 80 else text[:80] + "…"
    return f'"{cut}"' if cut.isprintable() else ascii(cut)
