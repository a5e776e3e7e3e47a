"""What is wrong with a job's output is told in sentences that name the object, with one fix, to people who never saw
the insides of this system; and docs/problems.md tells the same.
"""

from __future__ import annotations

import json
import re
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maap_stac_orchestration.governance.decide import ExistingCollections, owned_by_other, problem_of
from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.governance.registry import load_registry
from maap_stac_orchestration.pipeline.preflight import Names, local_place, preflight
from maap_stac_orchestration.problems import WORDINGS, Code, Problem, Severity, documentation
from maap_stac_orchestration.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"
CODES = list(Code)
DENIALS = set(DecisionCode) - {DecisionCode.GRANTED, DecisionCode.DEFAULT_ASSIGNED}

#: What a fix begins with: something that the reader can do.
IMPERATIVES = frozenset(
    "Ask Check Choose Correct Give Keep Leave Link Make Remove Split Upload Use Write".split()  # noqa: SIM905
)
#: The most words of one sentence that is read in a hurry.
MOST_WORDS = 26
#: Words of those who wrote the system, not of those who use it.
JARGON = re.compile(
    r"\b(None|null|NaN|Exception|Traceback|Error|self|dict|str|int|kwargs|regex|psycopg|pydantic|obstore|orjson|boto3|"
    r"jsonschema|ledger|lease|claim|fencing|generation|enum|upsert|partition|sidecar|pin)\b|\w+(Error|Exception)\b|[{}]"
)


def sentences(text: str) -> list[str]:
    """The text cut behind each full stop, question mark or colon that ends something."""
    return [one for one in re.split(r"(?<=[.!?])\s+(?=[A-Z`'\"0-9])", text) if one]


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_sentence_that_names_the_object_once(code: Code) -> None:
    sentence = WORDINGS[code].sentence
    assert [name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None] == ["object"]
    message = Problem(code, "a/b/thing.json").message
    assert "a/b/thing.json" in message
    assert message[0].isupper()
    assert message.endswith(".")
    assert len(sentences(message)) == 1


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_one_fix_that_tells_the_reader_what_to_do(code: Code) -> None:
    fix = WORDINGS[code].fix
    assert fix.split()[0] in IMPERATIVES
    assert fix.endswith(".")
    assert len(sentences(fix)) == 1


@pytest.mark.parametrize("code", CODES)
def test_each_code_says_what_becomes_of_the_item_or_the_job(code: Code) -> None:
    effect = WORDINGS[code].effect
    assert effect[0].isupper()
    assert effect.endswith(".")
    assert re.search(r"\b(item|items|job|document|catalog|Nothing)\b", effect)
    assert re.search(r"\b(loaded|lost|read|rejected)\b", effect)


@pytest.mark.parametrize("code", CODES)
def test_what_is_told_is_short_and_free_of_the_words_of_programmers(code: Code) -> None:
    wording = WORDINGS[code]
    for text in (wording.sentence.format(object="x"), wording.fix, wording.effect):
        assert JARGON.search(text) is None, text
        for sentence in sentences(text):
            assert len(sentence.split()) <= MOST_WORDS, sentence


def test_only_what_costs_no_item_is_a_warning() -> None:
    kept = {code for code in CODES if WORDINGS[code].severity is Severity.WARNING}
    assert kept == {
        Code.LINK_CYCLE,
        Code.ASSET_MISSING,
        Code.ASSET_LOCAL_PATH,
        Code.ASSET_OUTSIDE,
        Code.SCHEMA_INVALID,
        Code.SCHEMA_UNAVAILABLE,
    }
    for code in kept:
        assert re.search(r"[Tt]he item is loaded|Nothing is lost", WORDINGS[code].effect), code


def test_no_two_codes_are_told_in_the_same_words() -> None:
    told = [wording.sentence for wording in WORDINGS.values()]
    assert len(set(told)) == len(told)


def test_the_table_has_a_row_for_each_code_and_no_other() -> None:
    assert set(WORDINGS) == set(Code)


def test_every_denial_of_governance_is_a_problem_of_severity_error() -> None:
    for denial in DENIALS:
        assert WORDINGS[Code(str(denial))].severity is Severity.ERROR


def test_the_times_that_are_told_are_the_defaults_of_the_settings() -> None:
    defaults = {name: Settings.model_fields[name].default for name in ("wait_deadline", "asset_deadline")}
    assert defaults == {"wait_deadline": timedelta(minutes=15), "asset_deadline": timedelta(minutes=1)}
    for code, words in {
        Code.METADATA_MISSING: "until 15 minutes after the catalog",
        Code.LINK_MISSING: "until 15 minutes after the catalog",
        Code.ASSET_MISSING: "until one minute after the catalog",
        Code.ASSET_LOCAL_PATH: "until one minute after the catalog",
    }.items():
        assert words in WORDINGS[code].effect
    waited = {code for code in CODES if "waited for" in WORDINGS[code].effect}
    assert len(waited) == 4


def test_the_document_has_the_form_that_the_command_line_and_the_api_promise() -> None:
    document = Problem(Code.LINK_MISSING, "items/a.json", "It is linked in catalog.json.").to_document()
    assert document == {
        "code": "link_missing",
        "severity": "error",
        "object": "items/a.json",
        "message": "A link of the catalog leads to items/a.json, where there is no file. It is linked in catalog.json.",
        "fix": "Upload the missing file, or remove the link from the catalog.",
    }


def test_braces_in_the_object_are_told_as_they_are() -> None:
    assert "{0}{x}" in Problem(Code.ITEM_INVALID, "{0}{x}").message


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text() == documentation(), (
        "run: .venv/bin/python -m maap_stac_orchestration.problems > docs/problems.md"
    )


def test_the_page_is_printed_without_anything_else_being_read_or_written(tmp_path: Path) -> None:
    # Isolated and away from the checkout, with nothing imported but what Python itself brings.
    script = (
        "import runpy, sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]);"
        "runpy.run_module('maap_stac_orchestration.problems', run_name='__main__');"
        "print(sorted(one.partition('.')[0] for one in set(sys.modules) - before"
        " if one.partition('.')[0] not in sys.stdlib_module_names), file=sys.stderr)"
    )
    root = str(PAGE.parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, root], cwd=tmp_path, env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout == documentation()
    assert set(json.loads(done.stderr.replace("'", '"'))) <= {"maap_stac_orchestration"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", CODES)
def test_the_page_leads_to_each_code_and_tells_it_in_full(code: Code) -> None:
    page, wording = documentation(), WORDINGS[code]
    assert f"[`{code}`](#{code})" in page
    section = page.partition(f"\n### `{code}`\n")[2].partition("\n### ")[0]
    for words in (wording.effect, wording.fix, wording.severity.capitalize(), Problem(code, *wording.example).message):
        assert words in section


# What is told of real outputs: each way to spoil a job, read and decided about as a run would.

METADATA = {"username": "u", "algorithm_name": "flood", "algorithm_version": "v1", "tag": "t"}
STAMP = "2025/08/19/09/59/01/262274"
REGISTRY = """version: 1
on_denied: reject
reserved: ["esa-*"]
grants:
  - {collection: "ok-*", users: [u], algorithms: ["flood@v2"]}
  - {collection: "closed-*", users: [u]}
"""


def item(id: Any = "tile-7", **changes: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": id,
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "bbox": [1, 2, 1, 2],
        "properties": {"datetime": "2025-01-01T00:00:00Z"},
        "links": [],
        "assets": {},
        **changes,
    }


def catalog(*links: tuple[str, Any], **changes: Any) -> dict[str, Any]:
    linked = [{"rel": relation, "href": href} for relation, href in links]
    return {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": linked, **changes}


@dataclass(frozen=True)
class Spoiled:
    """A job's files but for its metadata; the code that this is to give."""

    code: Code
    files: Mapping[str, Any]
    metadata: Any = field(default_factory=lambda: METADATA)
    more: Mapping[str, Any] = field(default_factory=dict)


def one(code: Code, document: Any, **more: Any) -> Spoiled:
    return Spoiled(code, {"catalog.json": catalog(("item", "./i.json")), "i.json": document, **more})


def with_asset(code: Code, href: str, **more: Any) -> Spoiled:
    return one(code, item(assets={"image": {"href": href}}), **more)


def with_properties(**properties: Any) -> Spoiled:
    return one(Code.DATETIME_INVALID, item(properties=properties))


def with_shape(geometry: Any, bbox: Any = (0, 0, 1, 1)) -> Spoiled:
    return one(Code.GEOMETRY_INVALID, item(geometry=geometry, bbox=list(bbox)))


def asking(code: Code, collection: str) -> Spoiled:
    return one(code, item(collection=collection))


GOOD = {"catalog.json": catalog(("item", "./i.json")), "i.json": item()}
BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]}
OPEN_RING = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [0, 0.5]]]}
SPOILED = [
    Spoiled(Code.CATALOG_MISSING, {}),
    Spoiled(Code.CATALOG_UNREADABLE, {"catalog.json": '{"a": '}),
    Spoiled(Code.CATALOG_UNREADABLE, {"catalog.json": "\xff"}),
    Spoiled(Code.CATALOG_INVALID, {"catalog.json": catalog(description=3)}),
    Spoiled(Code.CATALOG_INVALID, {"catalog.json": catalog(links=3)}),
    Spoiled(Code.CATALOG_INVALID, {"catalog.json": catalog(("item", 3))}),
    Spoiled(Code.NOT_A_CATALOG, {"catalog.json": {"type": "FeatureCollection", "features": []}}),
    Spoiled(Code.NOT_A_CATALOG, {"catalog.json": {"id": "x"}}),
    Spoiled(Code.NOT_A_CATALOG, {"catalog.json": {"type": 7}}),
    Spoiled(Code.METADATA_INVALID, GOOD, "{"),
    Spoiled(Code.METADATA_INVALID, GOOD, []),
    Spoiled(Code.METADATA_INVALID, GOOD, {"username": "u"}),
    Spoiled(Code.METADATA_INVALID, GOOD, METADATA | {"tag": 7}),
    Spoiled(Code.METADATA_AMBIGUOUS, GOOD | {"output-old.met.json": METADATA}),
    Spoiled(Code.LINK_MISSING, {"catalog.json": catalog(("item", "./i.json"))}),
    Spoiled(Code.LINK_OUTSIDE_JOB, {"catalog.json": catalog(("item", "../../../other.json"))}),
    Spoiled(Code.LINK_OUTSIDE_JOB, {"catalog.json": catalog(("child", "https://example.com/catalog.json"))}),
    Spoiled(
        Code.LINK_CYCLE,
        {"catalog.json": catalog(("child", "a/catalog.json")), "a/catalog.json": catalog(("child", "../catalog.json"))},
    ),
    Spoiled(
        Code.TOO_DEEP,
        {
            "catalog.json": catalog(("child", "a/catalog.json")),
            "a/catalog.json": catalog(("child", "b/catalog.json")),
            "a/b/catalog.json": catalog(),
        },
    ),
    one(Code.TOO_LARGE, item(title="x" * 5000)),
    Spoiled(
        Code.TOO_MANY_ITEMS,
        {"catalog.json": catalog(*[("item", f"{number}.json") for number in range(9)])}
        | {f"{number}.json": item(str(number)) for number in range(9)},
    ),
    one(Code.ITEM_UNREADABLE, "{"),
    one(Code.ITEM_UNREADABLE, "[" * 3000),
    one(Code.ITEM_INVALID, {name: value for name, value in item().items() if name != "assets"}),
    one(Code.ITEM_INVALID, item(properties=3)),
    one(Code.ITEM_INVALID, item(collection=3)),
    one(Code.ITEM_INVALID, item(type="Catalog")),
    one(Code.ITEM_INVALID, item(stac_version="9.1")),
    one(Code.ITEM_INVALID, item(stac_version=None)),
    one(Code.ITEM_INVALID, item(title="a\0b")),
    one(Code.ITEM_ID_UNSAFE, item("a/b")),
    one(Code.ITEM_ID_UNSAFE, item(None)),
    one(Code.ITEM_ID_UNSAFE, item("")),
    one(Code.ITEM_ID_UNSAFE, item("x" * 300)),
    one(Code.ITEM_ID_UNSAFE, item(".")),
    one(Code.ITEM_ID_UNSAFE, item("a\u202eb")),
    Spoiled(
        Code.ITEM_DUPLICATE,
        {"catalog.json": catalog(("item", "a.json"), ("item", "b.json")), "a.json": item(), "b.json": item()},
    ),
    with_shape({"type": "Point", "coordinates": [400, 2]}, (1, 2, 1, 2)),
    with_shape(None),
    with_shape(None, (1, 2)),
    with_shape(BOW_TIE),
    with_shape(OPEN_RING),
    with_shape({"type": "Point", "coordinates": [0, 0]}, (0, 1, 0, -1)),
    with_properties(datetime="2025-01-01"),
    with_properties(datetime=None),
    with_properties(),
    with_properties(datetime=7),
    with_properties(datetime=None, start_datetime="2025-01-02T00:00:00Z", end_datetime="2025-01-01T00:00:00Z"),
    with_properties(datetime="2025-02-30T00:00:00Z"),
    with_asset(Code.ASSET_MISSING, "./a.tif"),
    with_asset(Code.ASSET_MISSING, "../" * 10 + "o.tif"),
    with_asset(Code.ASSET_LOCAL_PATH, "/tmp/output/a.tif"),
    with_asset(Code.ASSET_LOCAL_PATH, "/tmp/output/a.tif", **{"q/a.tif": "", "r/a.tif": ""}),
    with_asset(Code.ASSET_OUTSIDE, "s3://other/a.tif"),
    with_asset(Code.ASSET_OUTSIDE, "http://127.0.0.1/a.tif"),
    with_asset(Code.ASSET_OUTSIDE, "file:///etc/passwd"),
    with_asset(Code.ASSET_OUTSIDE, "s3://maap-ops-workspace/other/a.tif"),
    with_asset(Code.ASSET_OUTSIDE, "/vsicurl/http://x"),
    one(Code.SCHEMA_UNAVAILABLE, item(stac_extensions=["https://example.com/other/v1/schema.json"])),
    one(Code.SCHEMA_INVALID, item(stac_extensions=["https://example.com/own/v1/schema.json"])),
    Spoiled(Code.IDENTITY_MISMATCH, GOOD, METADATA | {"username": "v"}),
    asking(Code.INVALID_NAME, "Bad Name"),
    asking(Code.INVALID_NAME, "a\nb"),
    asking(Code.RESERVED_NAME, "search"),
    asking(Code.RESERVED_NAME, "esa-biomass"),
    asking(Code.RESERVED_PATTERN, "a__b"),
    asking(Code.NAME_CONFLICT, "maap-x"),
    asking(Code.USER_NOT_AUTHORIZED, "maap-y"),
    asking(Code.ALGORITHM_NOT_APPROVED, "ok-x"),
    asking(Code.COLLECTION_NOT_FOUND, "closed-x"),
]

#: Told by others: what waits until its time is over, what the database says, whose item it is.
ELSEWHERE = {Code.METADATA_MISSING, Code.LOAD_REJECTED, Code.ITEM_OWNED_BY_OTHER}


def told(spoiled: Spoiled, folder: Path) -> Iterator[Problem]:
    """What is wrong with the job, and what would be wrong had it no other fault."""
    job = folder / "u" / "dps_output" / "flood" / "v1" / "t" / STAMP
    schema = folder / "schemas" / "example.com" / "own" / "v1" / "schema.json"
    files = {job / name: content for name, content in spoiled.files.items()}
    files[job / "output-1.met.json"] = spoiled.metadata
    files[schema] = {"type": "object", "properties": {"properties": {"required": ["own:colour"]}}}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1") if isinstance(content, str) else json.dumps(content).encode())
    settings = Settings(max_depth=2, max_document_bytes=4000, max_items=6, schemas=str(folder / "schemas"))
    now = datetime.now(UTC)
    place = local_place(job, Names(), settings, now)
    registry = load_registry(REGISTRY, "registry.yaml")
    yield from preflight(
        place, settings, registry, lambda _: ExistingCollections.of(["maap-X"]), lambda _: None, now
    ).problems


@pytest.mark.parametrize("spoiled", SPOILED, ids=[f"{one.code}-{number}" for number, one in enumerate(SPOILED)])
def test_what_is_told_of_real_outputs_is_sentences_that_name_the_object(
    spoiled: Spoiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in Settings.model_fields if name != "schemas"]:
        monkeypatch.delenv(f"MAAP_STAC_{name.upper()}", raising=False)
    problems = list(told(spoiled, tmp_path))
    assert spoiled.code in {problem.code for problem in problems}
    for problem in problems:
        message = problem.message
        assert message.isprintable(), message
        assert problem.object
        assert problem.object in message
        assert str(tmp_path) not in message
        without = message.replace(problem.object, "x")
        for sentence in sentences(without):
            assert sentence[0].isupper() or not sentence[0].isalpha(), message
        assert message.endswith((".", "…")), message
        assert ".." not in without.replace("../", ""), message
        assert "Exception" not in message
        assert "Error" not in message
        assert "None" not in message, message


def test_every_code_is_raised_by_one_of_the_spoiled_jobs_or_tested_where_it_is_raised() -> None:
    assert {one.code for one in SPOILED} | ELSEWHERE == set(Code)
    assert not {one.code for one in SPOILED} & ELSEWHERE


def test_a_denial_as_a_problem_tells_the_rule() -> None:
    problem = problem_of(owned_by_other("maap-x", ["tile-1"], "abc"), "tile-1")
    assert problem is not None
    assert problem.message == (
        "The item tile-1 belongs to another user, whose job wrote it to the collection first. "
        "Rule: an item id belongs to the user whose job wrote it first."
    )
