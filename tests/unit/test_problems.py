"""Each code is told in one sentence that names the object, with one fix."""

import pytest

from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.problems import WORDINGS, Code, Problem, Severity

CODES = list(Code)
DENIALS = set(DecisionCode) - {DecisionCode.GRANTED, DecisionCode.DEFAULT_ASSIGNED}


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_sentence_that_names_the_object(code: Code) -> None:
    problem = Problem(code, "a/b/thing.json")
    assert "a/b/thing.json" in problem.message
    assert problem.message[0].isupper()
    assert problem.message.endswith(".")


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_one_fix_that_is_a_sentence(code: Code) -> None:
    fix = Problem(code, "x").fix
    assert fix[0].isupper()
    assert fix.endswith(".")
    assert "{" not in fix


def test_the_table_has_a_row_for_each_code_and_no_other() -> None:
    assert set(WORDINGS) == set(Code)


def test_every_denial_of_governance_is_a_problem_of_severity_error() -> None:
    for denial in DENIALS:
        assert WORDINGS[Code(str(denial))].severity is Severity.ERROR


def test_the_document_has_the_form_that_the_command_line_and_the_api_promise() -> None:
    document = Problem(Code.LINK_MISSING, "items/a.json", "It was linked from catalog.json.").to_document()
    assert document == {
        "code": "link_missing",
        "severity": "error",
        "object": "items/a.json",
        "message": "The document items/a.json is linked but is not there. It was linked from catalog.json.",
        "fix": "Upload the document, or take the link out of the catalog.",
    }


def test_braces_in_the_object_are_told_as_they_are() -> None:
    assert "{0}{x}" in Problem(Code.ITEM_INVALID, "{0}{x}").message
