"""The registry: all entries in force, and which of them speak of an id and of a user.

Here belongs how a registry is put together, from a file's text or from several sources. Not here: where the text comes
from (`pipeline`, `store`), the form of the file (`registry_file`), and what follows for a request (`decide`). Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.governance.entries import Bucket, Entry, EntryIndex, Kind, Reserved
from maap_stac_orchestration.governance.patterns import PatternTable, fold
from maap_stac_orchestration.governance.registry_file import MAX_PROBLEMS, RegistryProblem, read_registry_file

#: The version of a registry that holds nothing because there is none.
NO_VERSION = "none"


class RegistryError(ValueError):
    """A registry cannot be used; the message has a line for each problem, with file and line number."""

    def __init__(self, source: str, problems: Iterable[RegistryProblem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(
            "\n".join(
                f"{source}, line {one.line}: {one.sentence}" if one.line else f"{source}: {one.sentence}"
                for one in self.problems
            )
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """The entries in force, indexed. Make one with `load_registry`, from entries of your own, or with `merged`."""

    entries: tuple[Entry, ...] = ()
    reserved: tuple[Reserved, ...] = ()
    #: Name without `@` -> usernames.
    teams: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: What becomes of denied items where no entry says; None: the settings say.
    on_denied: OnDenied | None = None
    #: The first 12 hex digits of the SHA-256 of the file's bytes (`sha256sum registry.yaml` begins with them).
    version: str = NO_VERSION
    #: Where it comes from, for messages.
    source: str = "no registry"
    _index: EntryIndex = field(init=False, repr=False, compare=False)
    _reserved: PatternTable[Reserved] = field(init=False, repr=False, compare=False)
    _teams_of: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reserved: PatternTable[Reserved] = PatternTable()
        for one in self.reserved:
            reserved.setdefault(one.pattern.before, one, is_prefix=one.pattern.is_prefix)
        teams_of: dict[str, tuple[str, ...]] = {}
        for team, members in self.teams.items():
            for member in members:
                teams_of[member] = (*teams_of.get(member, ()), f"@{team}")
        object.__setattr__(self, "_index", EntryIndex(self.entries))
        object.__setattr__(self, "_reserved", reserved)
        object.__setattr__(self, "_teams_of", teams_of)

    @classmethod
    def empty(cls) -> Registry:
        """The registry of a deployment that has none: nobody may choose a collection."""
        return cls()

    def merged(self, *others: Registry) -> Registry:
        """All entries of these registries together: grants add up, denials too, and whatever one of them reserves is
        reserved. The first that says what becomes of denied items decides that. A single registry that holds
        something keeps its version; of several, the version is the hash of theirs. Entries may name teams that
        another registry defines.

        Raises:
            RegistryError: a team is not the same people in two of them, or an entry names a team that none of them
                defines. Such an entry must not be passed over in silence: were it a denial, that would open something.
        """
        parts = [one for one in (self, *others) if one._holds_something()]
        teams: dict[str, frozenset[str]] = {}
        for part in parts:
            for team, members in part.teams.items():
                if teams.setdefault(team, members) != members:
                    sentence = f"the team {team} has other members in another part of the registry; define it once."
                    raise RegistryError(part.source, [RegistryProblem(None, sentence)])
        for part in parts:
            if nameless := list(islice(_of_unknown_teams(part.entries, teams), MAX_PROBLEMS)):
                raise RegistryError(part.source, nameless)
        if len(parts) < 2:
            return parts[0] if parts else self
        return Registry(
            entries=tuple(entry for part in parts for entry in part.entries),
            reserved=tuple(one for part in parts for one in part.reserved),
            teams=teams,
            on_denied=next((part.on_denied for part in parts if part.on_denied is not None), None),
            version=sha256("\n".join(part.version for part in parts).encode()).hexdigest()[:12],
            source=" and ".join(part.source for part in parts),
        )

    def _holds_something(self) -> bool:
        return bool(self.version != NO_VERSION or self.entries or self.reserved or self.teams or self.on_denied)

    def find(self, collection: str, username: str) -> list[tuple[int, Bucket]]:
        """Specificity and entries of every pattern that the id matches, most specific first."""
        return self._index.find(collection, username)

    def reserves(self, collection: str) -> Reserved | None:
        """The most specific entry of `reserved` that the id matches."""
        if not self.reserved:
            return None
        found = self._reserved.find(fold(collection))
        return max(found, key=lambda one: one[0])[1] if found else None

    def names_of(self, username: str) -> tuple[str, ...]:
        """How entries may name this user: the username, `*`, and each `@team` of theirs."""
        if username.startswith("@") or username in ("*", "{username}"):
            # Nobody's storage folder should be called that; whoever has it is not thereby a team, or everyone.
            return ("*",)
        return (username, "*", *self._teams_of.get(username, ()))

    def notes(self) -> list[str]:
        """Sentences about entries that can be loaded but do less than they seem to."""
        return [note for entry in self.entries if (note := _note(entry)) is not None]


def _of_unknown_teams(entries: Iterable[Entry], teams: Collection[str]) -> Iterator[RegistryProblem]:
    for entry in entries:
        for user in entry.users:
            if user.startswith("@") and user[1:] not in teams:
                sentence = (
                    f'{entry.label} names the team "{user}", which is not defined (any more); define it again, or take '
                    f"the entry out."
                )
                yield RegistryProblem(None, sentence)


def _note(entry: Entry) -> str | None:
    pattern = entry.pattern
    owner, dashes, _ = pattern.before.partition("--")
    if entry.kind is Kind.DENY or not pattern.is_prefix:
        return None
    if "__" in pattern.before:
        return f"{entry.label} grants nothing: no prefix covers ids with __, which belong to default collections."
    if dashes and owner and entry.users != (owner,):
        return (
            f"{entry.label} grants nothing to anyone but a user called {owner}: a prefix does not cover ids that begin "
            f"with another user's name and --; grant whole ids."
        )
    return None


def load_registry(text: str | bytes, source: str, on_denied_default: OnDenied | None = None) -> Registry:
    """Reads a registry file, YAML or JSON, in the full form (`version: 1`) or the flat one.

    Args:
        text: the file; its bytes rather than its text, so that the version is the hash of the file itself.
        source: what messages call it: a path or an address.
        on_denied_default: what becomes of denied items where the file does not say; None leaves that to `decide`.

    Raises:
        RegistryError: with the line of everything that cannot be used. Nothing of such a file is in force.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        file = read_registry_file(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RegistryError(source, [RegistryProblem(line, "This is not UTF-8; save the file as UTF-8.")]) from None
    if file.problems:
        raise RegistryError(source, file.problems)
    return Registry(
        entries=tuple(file.entries),
        reserved=tuple(file.reserved),
        teams=file.teams,
        on_denied=file.on_denied or on_denied_default,
        version=sha256(raw).hexdigest()[:12],
        source=source,
    )
