"""A registry file is read as docs/governance.md says, or refused with the line."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.governance.entries import Kind
from maap_stac_orchestration.governance.lines import Mapping, Sequence, read_lines
from maap_stac_orchestration.governance.registry import Registry, RegistryError, load_registry

FULL = """\
version: 1
on_denied: reject
reserved: ["esa-*", nasa]
teams:
  boreal: [hrodmn, jjfrench]
  nobody: []
grants:
  - collection: jsmith--flood-catalog-2025
    users: [jsmith]
  - collection: "maap-*"
    users: ["@boreal", "*"]
    algorithms: ["my-flood-detector@v1.*"]
    create: true
    on_denied: fallback
    template:
      title: Floods
      description: Where water stood.
      license: CC-BY-4.0
      keywords: [flood, water]
      providers:
        - name: NASA
          roles: [producer]
          url: https://nasa.gov
  - collection: "{username}--*"
    users: ["{username}"]
    create: yes
deny:
  - collection: maap-floods
    users: [hrodmn]
"""


def refused(text: str | bytes) -> list[tuple[int | None, str]]:
    with pytest.raises(RegistryError) as caught:
        load_registry(text, "registry.yaml")
    return [(problem.line, problem.sentence) for problem in caught.value.problems]


def test_the_full_form() -> None:
    registry = load_registry(FULL, "registry.yaml")
    assert registry.on_denied is OnDenied.REJECT
    assert [one.label for one in registry.reserved] == ['reserved[1] "esa-*" (line 3)', 'reserved[2] "nasa" (line 3)']
    assert registry.teams == {"boreal": frozenset({"hrodmn", "jjfrench"}), "nobody": frozenset()}
    first, second, third, denial = registry.entries
    assert (first.label, first.create, first.on_denied) == (
        'grants[1] "jsmith--flood-catalog-2025" (line 8)',
        False,
        None,
    )
    assert (second.users, second.create, second.on_denied) == (("@boreal", "*"), True, OnDenied.FALLBACK)
    assert [one.text for one in second.algorithms] == ["my-flood-detector@v1.*"]
    assert second.template == {
        "title": "Floods",
        "description": "Where water stood.",
        "license": "CC-BY-4.0",
        "keywords": ["flood", "water"],
        "providers": [{"name": "NASA", "url": "https://nasa.gov", "roles": ["producer"]}],
    }
    assert (third.users, third.create) == (("{username}",), True)
    assert (denial.kind, denial.label) == (Kind.DENY, 'deny[1] "maap-floods" (line 28)')


def test_the_flat_form_allows_creation() -> None:
    text = '{"maap-*": ["ana", "bob"],\n "floods": ["ana"],\n "unused": []}'
    entries = load_registry(text, "registry.json").entries
    assert [(entry.pattern.text, entry.users, entry.create, entry.label) for entry in entries] == [
        ("maap-*", ("ana", "bob"), True, '"maap-*" (line 1)'),
        ("floods", ("ana",), True, '"floods" (line 2)'),
        ("unused", (), True, '"unused" (line 3)'),
    ]


@pytest.mark.parametrize("text", ["{}", "version: 1", '{"version": 1, "grants": []}', "# nothing\n{}\n"])
def test_a_registry_may_grant_nothing(text: str) -> None:
    assert load_registry(text, "registry.yaml").entries == ()


@pytest.mark.parametrize(
    "text",
    [
        '{\n\t"maap-*":\t["ana"]\r\n}',
        '{"maap-*": ["\\u0061na"]}',
        '\ufeff{"maap-*": ["ana"]}',
        "maap-*: [ana]",
        '{"version": 1, "grants": [{"collection": "maap-*", "users": ["ana"]}]}',
    ],
)
def test_json_and_yaml_say_the_same(text: str) -> None:
    (entry,) = load_registry(text, "registry").entries
    assert (entry.pattern.text, entry.users) == ("maap-*", ("ana",))


def test_json_escapes_beyond_the_basic_plane_are_read() -> None:
    document = {
        "version": 1,
        "grants": [{"collection": "maap-*", "users": ["ana"], "template": {"title": "Floods 🌊 \\ud83c"}}],
    }
    (entry,) = load_registry(json.dumps(document, indent="\t"), "registry.json").entries
    assert entry.template == {"title": "Floods 🌊 \\ud83c"}


def test_the_version_is_the_hash_of_the_bytes() -> None:
    raw = FULL.replace("\n", "\r\n").encode()
    assert load_registry(raw, "registry.yaml").version == sha256(raw).hexdigest()[:12]
    assert load_registry(FULL, "registry.yaml").version == load_registry(FULL.encode(), "other.yaml").version
    assert Registry.empty().version == "none"


ENTRY = "version: 1\ngrants:\n  - collection: maap-floods\n    users: [ana]\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("version: 1\ngrants:\n  - users: [ana]\n    collection: ma*p\n", 4, "a * elsewhere"),
        ("version: 1\ngrants:\n  - users: [ana]\n    collection: ma*\n", 4, "fewer than 3 characters"),
        ('version: 1\ngrants:\n  - users: [ana]\n    collection: "*"\n', 4, "fewer than 3 characters"),
        ("version: 1\ngrants:\n  - collection: maap-floods\n    users:\n      - '@x'\n", 5, 'no team "@x"'),
        ("version: 1\ngrants:\n  - collection: maap-floods\n    users: []\n", 4, "users is empty"),
        ("version: 1\ngrants:\n  - collection: maap-floods\n    users: ana\n", 4, "must be a list"),
        ("version: 1\ngrants:\n  - collection: maap-floods\n    users: [1]\n", 4, "put it in quotes"),
        ("version: 1\ngrants:\n  - collection: maap-floods\n    users: ['a*']\n", 4, "not a username"),
        ("version: 1\ngrants:\n  - collection: maap-floods\n    users: ['{username}']\n", 4, "needs {username}"),
        ("version: 1\ngrants:\n  - collection: maap-floods\n", 3, "has no users"),
        ("version: 1\ngrants:\n  - users: [ana]\n", 3, "has no collection"),
        ("version: 1\ngrants:\n  - maap-floods\n", 3, "must be an object"),
        ("version: 1\ngrants: {}\n", 2, "must be a list"),
        ("version: 1\ngrants:\n", 2, "must be a list"),
        (ENTRY + "    user: [ana]\n", 5, 'unknown key "user"'),
        (ENTRY + "    create: 1\n", 5, "create must be true or false"),
        (ENTRY + "    on_denied: drop\n", 5, "must be fallback or reject"),
        (ENTRY + "    algorithms: [flood]\n", 5, "name@version"),
        (ENTRY + "    algorithms: []\n", 5, "algorithms is empty"),
        (ENTRY + "    algorithms: flood@v1\n", 5, "must be a list"),
        (ENTRY + "    users: [bob]\n", 5, 'the key "users" is there already, in line 4'),
        (ENTRY + "    template:\n      name: x\n", 6, 'unknown key "name"'),
        (ENTRY + "    template:\n      title: 2024\n", 6, "put it in quotes"),
        (ENTRY + "    template:\n      title: 2024-01-01\n", 6, "a date"),
        (ENTRY + "    template:\n      title: ''\n", 6, "is empty"),
        (ENTRY + "    template:\n      providers: [{url: x}]\n", 6, "has no name"),
        (ENTRY + "    template:\n      providers: [{name: x, roles: [boss]}]\n", 6, '"boss" is none of'),
        (ENTRY.replace("grants", "deny") + "    template: {}\n", 5, 'unknown key "template"'),
        (ENTRY + "who: me\n", 5, 'unknown key "who"'),
        (ENTRY + "reserved: [a*]\n", 5, "fewer than 3"),
        (ENTRY + "reserved: ['{username}--*']\n", 5, "means nothing there"),
        (ENTRY + "teams: [a]\n", 5, "must be an object"),
        (ENTRY + "teams:\n  a: ['@b']\n", 6, "without @"),
        (ENTRY + "teams:\n  a: ['*']\n", 6, "not a username"),
        (ENTRY + "teams:\n  a b: [ana]\n", 6, "team name"),
        (ENTRY + "on_denied: no\n", 5, "must be fallback or reject"),
        ("grants: []\n", 1, "version: 1"),
        ("on_denied: reject\n", 1, "version: 1"),
        ("version: 2\n", 1, "must be the number 1"),
        ("version: '1'\n", 1, "must be the number 1"),
        ("version: true\n", 1, "must be the number 1"),
        ("version: 1.0\n", 1, "must be the number 1"),
        ("maap-floods: ana\n", 1, "must be a list"),
        ('{"maap-floods": ["ana"],\n "maap-floods": ["bob"]}', 2, "there already, in line 1"),
        ("a-b-c: [ana]\n1: [ana]\n", 2, "a key must be a text"),
        ("[a]: [ana]\n", 1, "a key must be a text"),
        ("- a\n", 1, "an object with keys"),
        ("hello\n", 1, "an object with keys"),
        ("maap-floods: &a [ana]\nmaap-fires: *a\n", 1, "anchors"),
        ("maap-floods: [*a]\n", 1, "anchors"),
        ("maap-floods: !!python/name:os.system []\n", 1, "tag"),
        ("maap-floods: [!!str ana]\n", 1, "tag"),
        ("maap-floods: [@team]\n", 1, "need quotes"),
        ("maap-floods: [ana\n\n", 3, "not YAML or JSON"),
        ("{}\n---\n{}\n", 2, "second document"),
        ("a-b-c: [ana]\n# \x00\n", 2, "does not belong in a text"),
        ("", None, "the file is empty"),
        ("# only a comment\n", None, "the file is empty"),
        (b"a-b-c: [ana]\n# \xff\n", 2, "not UTF-8"),
    ],
)
def test_what_is_refused_is_refused_with_its_line(text: str | bytes, line: int | None, words: str) -> None:
    problems = refused(text)
    assert [one for one, sentence in problems if words in sentence] == [line], problems
    assert len(problems) == 1


@pytest.mark.parametrize("opening", ["[", '{"a":', "- "])
def test_a_file_that_nests_without_end_is_refused(opening: str) -> None:
    """PyYAML's own composer ends the process on these."""
    assert refused(opening * 100_000) == [(1, "lists and objects are nested too deeply.")]


def test_a_file_that_is_too_large_is_refused() -> None:
    assert refused("#" * (2**24 + 1)) == [(None, "the file is larger than 16 MB.")]


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_lines() -> None:
    text = FULL.replace("users: [jsmith]", "users: []").replace("create: true", "creates: true")
    text = text.replace("version: 1", "version: 3")
    assert [line for line, _ in refused(text)] == [1, 9, 13]


def test_the_message_names_file_and_line() -> None:
    with pytest.raises(RegistryError, match=r"^s3://b/registry\.yaml, line 1: version must be the number 1"):
        load_registry("version: 2", "s3://b/registry.yaml")


def test_of_very_many_problems_the_first_are_told() -> None:
    problems = refused("version: 1\n" + "".join(f"key-{number}: 1\n" for number in range(1000)))
    assert len(problems) == 51
    assert problems[-1] == (None, "There are 950 more problems.")


def is_loaded_or_refused(text: str | bytes) -> bool:
    try:
        load_registry(text, "registry.yaml")
    except RegistryError as error:
        return len(error.problems) > 0
    return True


@given(text=st.text() | st.text('{}[]:-,"&*!@ \n\tabc'))
def test_every_text_loads_or_is_refused(text: str) -> None:
    assert is_loaded_or_refused(text)


@given(raw=st.binary())
def test_all_bytes_load_or_are_refused(raw: bytes) -> None:
    assert is_loaded_or_refused(raw)


names = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=3, max_size=20)


@given(grants=st.dictionaries(names.map(lambda name: f"{name}-*"), st.lists(names), max_size=5), indent=st.booleans())
def test_the_flat_form_reads_whatever_json_writes(grants: dict[str, list[str]], indent: bool) -> None:
    text = json.dumps(grants, indent="\t" if indent else None)
    entries = load_registry(text, "registry.json").entries
    assert {entry.pattern.text: list(entry.users) for entry in entries} == grants


def test_lines_are_counted_from_one() -> None:
    document = read_lines("a:\n  - b\n  - c\n")
    assert isinstance(document, Mapping)
    assert document.lines == {"a": 1}
    inner = document.values["a"]
    assert isinstance(inner, Sequence)
    assert [one.line for one in inner.values] == [2, 3]
