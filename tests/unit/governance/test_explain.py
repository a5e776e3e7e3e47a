"""`maap-stac explain`, called as people and scripts call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from maap_stac_orchestration.cli import explain
from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.settings import Settings

REGISTRY = """\
version: 1
grants:
  - {collection: floods, users: [ana]}
  - {collection: "maap-*", users: [ana], create: true}
"""
#: Runs the command and tells on stderr what it imported and how many seconds of CPU the process used.
WATCHED = """
import atexit, resource, sys
def told():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("IMPORTED", *sorted(sys.modules), file=sys.stderr)
    print("CPU", used.ru_utime + used.ru_stime, file=sys.stderr)
atexit.register(told)
from maap_stac_orchestration.cli import main
main()
"""
ANA = ("--username", "ana", "--algorithm", "Flood", "--version", "v1")


@pytest.fixture
def registry(tmp_path: Path) -> str:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    return str(path)


def called(
    *arguments: str, variables: Mapping[str, str] | None = None, given: bytes = b""
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "MAAP_STAC_"))}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "explain", *arguments],
        input=given,
        capture_output=True,
        env={**environment, **(variables or {})},
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_the_form_of_the_document(registry: str) -> None:
    done = called(*ANA, "--tag", "demo", "--collection", "maap-x", "--registry", registry, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "decision": "granted",
        "outcome": "accept",
        "collection": "maap-x",
        "requested": "maap-x",
        "rule": 'grants[2] "maap-*" (line 4)',
        "message": "The items go to the collection maap-x, which is created with them.",
        "registry_version": json.loads(done.stdout)["registry_version"],
    }


def test_it_imports_nothing_heavy(registry: str) -> None:
    done = called(*ANA, "--collection", "maap-x", "--registry", registry, "--json")
    imported = done.stderr.partition("IMPORTED ")[2].split()
    assert "maap_stac_orchestration.governance.decide" in imported
    heavy = {"dagster", "pystac", "boto3", "pandas", "pydantic", "psycopg", "sqlalchemy", "fastapi", "obstore", "numpy"}
    assert not heavy.intersection(imported)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "decision", "outcome", "collection"),
    [
        ((), 0, "default_assigned", "default", "ana__Flood__v1"),
        (("--collection", ""), 0, "default_assigned", "default", "ana__Flood__v1"),
        (("--tag", "a b"), 0, "default_assigned", "default", "ana__Flood__v1__a-b"),
        (("--collection", "floods"), 1, "collection_not_found", "fallback", "ana__Flood__v1"),
        (("--collection", "floods", "--existing", "x", "--existing", "floods"), 0, "granted", "accept", "floods"),
        (("--collection", "maap-x", "--existing", "MAAP-X"), 1, "name_conflict", "fallback", "ana__Flood__v1"),
        (("--collection", "other"), 1, "user_not_authorized", "fallback", "ana__Flood__v1"),
    ],
)
def test_the_exit_code_tells_whether_something_is_denied(
    registry: str, arguments: tuple[str, ...], exit_code: int, decision: str, outcome: str, collection: str
) -> None:
    done = called(*ANA, *arguments, "--registry", registry, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["decision"], answer["outcome"], answer["collection"]) == (
        exit_code,
        decision,
        outcome,
        collection,
    )


def test_people_read_a_sentence(registry: str) -> None:
    done = called(*ANA, "--collection", "other", "--registry", registry)
    assert done.returncode == 1
    assert done.stdout.startswith("user_not_authorized: The user who ran the job may not write to")
    assert f"registry  {registry}, version " in done.stdout


def test_the_environment_names_the_registry_and_what_becomes_of_denied_items(registry: str) -> None:
    variables = {
        "MAAP_STAC_REGISTRY": registry,
        "MAAP_STAC_ON_DENIED": "reject",
        "MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE": "{username}__{algorithm_name}",
    }
    assert json.loads(called(*ANA, "--json", variables=variables).stdout)["collection"] == "ana__Flood"
    denied = called(*ANA, "--collection", "other", "--json", variables=variables)
    assert json.loads(denied.stdout)["outcome"] == "reject"
    assert json.loads(denied.stdout)["collection"] is None


def test_without_any_registry_nobody_may_choose() -> None:
    done = called(*ANA, "--collection", "maap-x", "--json")
    assert (done.returncode, json.loads(done.stdout)["registry_version"]) == (1, "none")
    assert "no registry is named" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (("--username", "ana"), {}, "missing --algorithm, --version"),
        ((*ANA, "--registry", "/nowhere/registry.yaml"), {}, "The registry /nowhere/registry.yaml cannot be read"),
        ((*ANA, "--cases", "-"), {}, "--cases takes the place of"),
        (("--cases", "/nowhere/cases"), {}, "The file of cases /nowhere/cases cannot be read"),
        (ANA, {"MAAP_STAC_ON_DENIED": "drop"}, "MAAP_STAC_ON_DENIED is 'drop', which cannot be used"),
        (ANA, {"MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE": "{tag}"}, "must contain {username}"),
        ((*ANA, "--tag", "\udcff"), {}, "--tag is not UTF-8"),
        (
            (*ANA, "--collection", "maap-x"),
            {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGUSER": "nobody"},
            "cannot be reached",
        ),
    ],
)
def test_wrong_use_is_a_sentence(arguments: tuple[str, ...], variables: dict[str, str], sentence: str) -> None:
    done = called(*arguments, variables=variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_registry_that_does_not_load_is_refused_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY.replace("maap-*", "m*p").replace("[ana]}", "['@x']}"))
    done = called(*ANA, "--registry", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f'{path}, line 3: grants[1] "floods": there is no team "@x"' in done.stderr
    assert f"{path}, line 4:" in done.stderr


def test_notes_about_the_registry_go_to_stderr(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text('{"bob--*": ["ana"]}')
    done = called(*ANA, "--registry", str(path), "--json")
    assert '"bob--*" (line 1) grants nothing to anyone but a user called bob' in done.stderr
    assert json.loads(done.stdout)


def case(**values: Any) -> dict[str, Any]:
    return {"username": "ana", "algorithm": "Flood", "version": "v1", **values}


def answers(*lines: bytes | dict[str, Any], options: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]]]:
    given = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    done = called("--cases", "-", *options, given=given)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_cases_are_answered_a_line_for_a_line(registry: str) -> None:
    code, found = answers(
        case(collection="maap-x"),
        case(),
        case(collection="floods", existing=["floods"], tag="t"),
        case(collection=None, tag=None, existing=None, registry=None),
        options=("--registry", registry),
    )
    assert code == 0
    assert [one["decision"] for one in found] == ["granted", "default_assigned", "granted", "default_assigned"]


def test_a_case_answers_like_the_options(registry: str) -> None:
    _, (found,) = answers(case(collection="other", tag="x"), options=("--registry", registry))
    alone = called(*ANA, "--tag", "x", "--collection", "other", "--registry", registry, "--json")
    assert json.loads(alone.stdout) == found


def test_cases_that_are_denied_make_the_exit_code_1(registry: str) -> None:
    assert answers(case(), case(collection="other"), case(), options=("--registry", registry))[0] == 1


def test_what_a_case_does_not_say_is_taken_from_the_options(registry: str, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"other": ["ana"]}')
    _, found = answers(
        case(collection="floods"),
        case(collection="floods", existing=[]),
        case(collection="other", registry=str(other)),
        case(collection="other"),
        options=("--registry", registry, "--existing", "floods"),
    )
    assert [one["decision"] for one in found] == [
        "granted",
        "collection_not_found",
        "granted",
        "user_not_authorized",
    ]


def test_a_line_that_cannot_be_read_is_answered_in_its_place(registry: str) -> None:
    code, found = answers(
        case(),
        b"{",
        b"",
        b"[]",
        b"\xff",
        {"username": "ana"},
        case(version=""),
        case(version=1),
        case(users="ana"),
        case(existing="floods"),
        case(existing=[1]),
        case(tag=1),
        case(registry="/nowhere"),
        case(),
        options=("--registry", registry),
    )
    assert code == 2
    assert [one["decision"] for one in (found[0], found[-1])] == ["default_assigned"] * 2
    errors = [one["error"] for one in found[1:-1]]
    for number, (error, words) in enumerate(
        zip(
            errors,
            [
                "not JSON",
                "empty line",
                "a JSON object",
                "not JSON",
                "algorithm and version must be given",
                "version must be given",
                "version must be a text",
                "'users' is not known",
                "existing must be a list",
                "existing must be a list",
                "tag must be a text",
                "The registry /nowhere cannot be read",
            ],
            strict=True,
        ),
        2,
    ):
        assert error.startswith(f"line {number}: ")
        assert words in error


def test_a_case_is_answered_before_the_next_one_is_given(registry: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, "explain", "--cases", "-", "--registry", registry],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for collection, decision in [("maap-x", "granted"), ("other", "user_not_authorized")]:
            process.stdin.write(orjson.dumps(case(collection=collection)) + b"\n")
            process.stdin.flush()
            assert orjson.loads(process.stdout.readline())["decision"] == decision
        process.stdin.close()
        assert process.wait() == 1


def test_cases_come_from_a_file_too(registry: str, tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_bytes(b"".join(orjson.dumps(case(collection=f"maap-{number}")) + b"\n" for number in range(1000)))
    done = called("--cases", str(cases), "--registry", registry)
    assert [json.loads(line)["collection"] for line in done.stdout.splitlines()] == [f"maap-{n}" for n in range(1000)]


def test_who_has_read_enough_may_stop_reading(registry: str, tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_bytes((orjson.dumps(case()) + b"\n") * 20_000)
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, "explain", "--cases", str(cases), "--registry", registry],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read().decode()
        assert process.wait() == 0
    assert "Traceback" not in told
    assert "BrokenPipe" not in told


def test_what_is_read_by_hand_is_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MAAP_STAC_")]:
        monkeypatch.delenv(name)
    explainer = explain._Explainer(None, None)
    assert (explainer.template, explainer.on_denied) == (
        Settings().default_collection_template,
        Settings().on_denied,
    )
    monkeypatch.setenv("MAAP_STAC_ON_DENIED", "reject")
    monkeypatch.setenv("MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE", "{username}__{algorithm_name}")
    explainer = explain._Explainer(None, None)
    assert explainer.on_denied is Settings().on_denied is OnDenied.REJECT
    assert explainer.template == Settings().default_collection_template
