"""`maap-stac explain`: which decision would be taken, and why.

Here belongs how requests are read and decisions are printed. Not here: the decision (`governance.decide`).

It must answer in under half a second of CPU, so nothing heavy is imported, not even `settings`, whose import alone
takes most of that: the three variables that matter here are read by hand, and a test holds them to `settings`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import orjson

from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import Decision, OnDenied, Outcome, Request
from maap_stac_orchestration.governance.default_collection import (
    DEFAULT_TEMPLATE,
    TemplateError,
    check_template,
    default_collection_id,
)
from maap_stac_orchestration.governance.registry import Registry, RegistryError, load_registry

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection

#: The keys of a case; what is required must be a text that is not empty.
_REQUIRED = ("username", "algorithm", "version")
_OPTIONAL = ("tag", "collection", "registry")
_KEYS = (*_REQUIRED, *_OPTIONAL, "existing")


class CaseError(ValueError):
    """A line of a file of cases cannot be answered; the message is a clause."""


@click.command()
@click.option("--username", metavar="U", help="Who runs the job.")
@click.option("--algorithm", metavar="A", help="The algorithm's name, as in the job metadata.")
@click.option("--version", metavar="V", help="The algorithm's version.")
@click.option("--tag", metavar="T", help="The job's tag, where it has one.")
@click.option("--collection", metavar="C", help="The collection that the item asks for; without it: none.")
@click.option("--registry", metavar="FILE", help="A registry file; then no database is asked.")
@click.option("--existing", metavar="ID", multiple=True, help="A collection that there is; may be repeated.")
@click.option("--cases", metavar="FILE", help="One JSON object of these names a line, - for standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    ctx: click.Context,
    username: str | None,
    algorithm: str | None,
    version: str | None,
    tag: str | None,
    collection: str | None,
    registry: str | None,
    existing: tuple[str, ...],
    cases: str | None,
    as_json: bool,
) -> int:
    """Tell which decision would be taken for a job's items, and why.

    Without --registry the registry is that of MAAP_STAC_REGISTRY. Which collections there are is said by --existing;
    without it, and without --registry, the database is asked, where PGHOST, PGSERVICE or PGDATABASE is set.

    \b
    Example:
      maap-stac explain --username jsmith --algorithm flood --version v1 \\
          --collection maap-floods --registry registry.yaml --existing maap-floods

    --cases answers a line for a line: each line of the file is a JSON object such as
    {"username": "jsmith", "algorithm": "flood", "version": "v1", "collection": "maap-floods", "existing": []}
    and each line of the answer a decision, or {"error": "…"} where the line cannot be read. What a line does not say of
    registry and existing is taken from the options.

    Exit code: 0 when everything asked for is allowed, 1 when something is denied, 2 when something cannot be answered.
    """
    explainer = _Explainer(registry, list(existing) or None)
    if cases is not None:
        if username or algorithm or version or tag or collection:
            raise click.UsageError("--cases takes the place of --username, --algorithm, --version, --tag, --collection")
        return _answer_cases(explainer, cases)
    missing = [name for name, value in zip(_REQUIRED, (username, algorithm, version), strict=True) if not value]
    if missing:
        raise click.UsageError(f"missing {', '.join(f'--{name}' for name in missing)} (or --cases)")
    for name, text in zip(
        (*_REQUIRED, "tag", "collection"), (username, algorithm, version, tag, collection), strict=True
    ):
        if text is not None and not _is_utf8(text):
            raise click.UsageError(f"--{name} is not UTF-8")
    case = {"username": username, "algorithm": algorithm, "version": version, "tag": tag, "collection": collection}
    loaded = explainer.registry(None)
    for note in loaded.notes():
        click.echo(f"maap-stac: note: {note}", err=True)
    decision = explainer.decide(case)
    if explainer.assumed_none:
        click.echo("maap-stac: note: as if there were no collections yet; name them with --existing.", err=True)
    if as_json:
        click.echo(orjson.dumps(document(decision), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(_text(decision, loaded))
    return exit_code(decision)


def document(decision: Decision) -> dict[str, Any]:
    """The contract's form of a decision."""
    return {
        "decision": decision.code.value,
        "outcome": decision.outcome.value,
        "collection": decision.collection,
        "requested": decision.requested,
        "rule": decision.rule,
        "message": decision.message,
        "registry_version": decision.registry_version,
    }


def exit_code(decision: Decision) -> int:
    """0 where the items go where they were meant to, 1 where that is denied."""
    return 0 if decision.outcome in (Outcome.ACCEPT, Outcome.DEFAULT) else 1


def _is_utf8(text: str) -> bool:
    """False for what the shell passed on in another encoding, which Python keeps as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(decision: Decision, registry: Registry) -> str:
    goes_to = decision.collection or "nowhere"
    return (
        f"{decision.code.value}: {decision.message}\n"
        f"  outcome   {decision.outcome.value}, the items go to {goes_to}\n"
        f"  rule      {decision.rule}\n"
        f"  registry  {registry.source}, version {registry.version}"
    )


@dataclass
class _Explainer:
    """Answers one case after another, with the registry files read once each."""

    registry_option: str | None
    existing_option: list[str] | None
    #: Whether a case was answered as if there were no collections, because nothing told which there are.
    assumed_none: bool = False
    _registries: dict[str | None, Registry | Told] = field(default_factory=dict)
    _last_existing: tuple[list[str], ExistingCollections] | None = None
    _connection: Connection | None = None

    def __post_init__(self) -> None:
        self.template = os.environ.get("MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE", DEFAULT_TEMPLATE)
        try:
            check_template(self.template)
        except TemplateError as error:
            raise Told(
                f"MAAP_STAC_DEFAULT_COLLECTION_TEMPLATE is {self.template!r}, which cannot be used: {error}."
            ) from None
        setting = os.environ.get("MAAP_STAC_ON_DENIED", OnDenied.FALLBACK.value)
        try:
            self.on_denied = OnDenied(setting)
        except ValueError:
            raise Told(f"MAAP_STAC_ON_DENIED is {setting!r}, which cannot be used: write fallback or reject.") from None

    def decide(self, case: Mapping[str, Any]) -> Decision:
        """The decision for a case whose values have been checked."""
        tag, collection = case.get("tag"), case.get("collection")
        names = (case["username"], case["algorithm"], case["version"], tag)
        request = Request(*names, collection, self.default_collection(case, names))
        return decide(request, self.registry(case.get("registry")), self.existing(case), self.on_denied)

    def registry(self, file: str | None) -> Registry:
        """The registry of this file, or the one that the options or the environment name.

        Raises:
            Told: it cannot be read.
        """
        if file not in self._registries:
            try:
                self._registries[file] = self._load(file or self.registry_option)
            except RegistryError as error:
                self._registries[file] = Told(f"The registry cannot be used.\n{error}")
            except Told as error:
                self._registries[file] = error
        found = self._registries[file]
        if isinstance(found, Told):
            raise found
        return found

    def _load(self, file: str | None) -> Registry:
        if not file and _names_a_database():
            return self._in_force()
        source = file or os.environ.get("MAAP_STAC_REGISTRY")
        if not source:
            click.echo("maap-stac: note: no registry is named, so nobody may choose a collection.", err=True)
            return Registry.empty()
        if source.startswith("s3://"):
            return _from_s3(source)
        try:
            return load_registry(Path(source.removeprefix("file://")).read_bytes(), source)
        except OSError as error:
            raise Told(f"The registry {source} cannot be read: {error.strerror}.") from None

    def default_collection(self, case: Mapping[str, Any], names: tuple[str, str, str, str | None]) -> str:
        """The id of the default collection: the one that the database would give, where that is asked."""
        if case.get("registry") or self.registry_option or not _names_a_database():
            return default_collection_id(names, self.template).preferred
        from maap_stac_orchestration.pipeline.decide import default_collections_told

        with self._database("whose the ids of default collections are") as connection:
            return default_collections_told(connection, [names], self.template)[names]

    def existing(self, case: Mapping[str, Any]) -> ExistingCollections:
        """The collections that there are for this case: as it says, as the options say, or as the database has them."""
        ids = case.get("existing")
        if ids is None:
            ids = self.existing_option
        if ids is None:
            from_file = case.get("registry") or self.registry_option
            if not from_file and _names_a_database():
                return self._from_database(case.get("collection"))
            self.assumed_none = True
            ids = []
        # Files of cases tend to say the same in each line.
        if self._last_existing is None or self._last_existing[0] != ids:
            self._last_existing = (ids, ExistingCollections.of(ids))
        return self._last_existing[1]

    def _in_force(self) -> Registry:
        """The registry file with the entries of the database; asking puts nothing on record."""
        from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, registry_in_force
        from maap_stac_orchestration.settings import Settings

        try:
            with self._database("which entries of the registry it has") as connection:
                found = registry_in_force(Settings.from_environment(), connection, write_down=False)
        except RegistryUnavailable as error:
            raise Told(str(error)) from None
        if found.warning:
            click.echo(f"maap-stac: note: {found.warning}", err=True)
        return found.registry

    def _from_database(self, collection: str | None) -> ExistingCollections:
        from maap_stac_orchestration.pipeline.decide import existing_collections

        if not collection or "\0" in collection:
            return ExistingCollections.of(())
        with self._database("which collections there are") as connection:
            return existing_collections(connection, [collection])

    @contextmanager
    def _database(self, tells: str) -> Iterator[Connection]:
        """The connection, opened when it is first needed.

        Raises:
            Told: it cannot be opened, or a question cannot be answered.
        """
        import psycopg

        from maap_stac_orchestration.ledger.connection import DatabaseUnavailable, connect

        try:
            if self._connection is None:
                self._connection = connect(application_name="maap-stac explain", autocommit=True)
            yield self._connection
        except DatabaseUnavailable as error:
            raise Told(f"{error} Or name a registry file with --registry; then no database is asked.") from None
        except psycopg.Error as error:
            reason = str(error).partition("\n")[0].removesuffix(".")
            raise Told(f"The database does not tell {tells}: {reason}. `maap-stac doctor` tells more.") from None


def _names_a_database() -> bool:
    return any(os.environ.get(name) for name in ("PGHOST", "PGSERVICE", "PGDATABASE"))


def _from_s3(source: str) -> Registry:
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, current_registry
    from maap_stac_orchestration.settings import Settings

    try:
        return current_registry(Settings.from_environment().model_copy(update={"registry": source}))
    except RegistryUnavailable as error:
        raise Told(str(error)) from None


def _answer_cases(explainer: _Explainer, file: str) -> int:
    # A registry of the options that cannot be used is told once, not in every line.
    if explainer.registry_option is not None:
        for note in explainer.registry(None).notes():
            click.echo(f"maap-stac: note: {note}", err=True)
    if file == "-":
        return _answer_readers(explainer, sys.stdin.buffer)
    try:
        lines = Path(file).open("rb")  # noqa: SIM115 - the with statement below would also catch errors of writing
    except OSError as error:
        raise Told(f"The file of cases {file} cannot be read: {error.strerror}.") from None
    with lines:
        return _answer_readers(explainer, lines)


def _answer_readers(explainer: _Explainer, lines: BinaryIO) -> int:
    try:
        return _answer_lines(explainer, lines)
    except BrokenPipeError:
        # Who reads has read enough (`| head`). Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answer_lines(explainer: _Explainer, lines: BinaryIO) -> int:
    worst = 0
    out = sys.stdout.buffer
    # Who asks line by line through a pipe waits for each answer; who gives a file does not.
    at_once = lines is sys.stdin.buffer
    for number, line in enumerate(lines, 1):
        answer: dict[str, Any]
        try:
            decision = explainer.decide(_case(line))
        except (CaseError, Told) as error:
            answer = {"error": f"line {number}: {error}"}
            worst = 2
        else:
            answer = document(decision)
            worst = max(worst, exit_code(decision))
        out.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
        if at_once:
            out.flush()
    out.flush()
    return worst


def _case(line: bytes) -> dict[str, Any]:
    """Checks one line.

    Raises:
        CaseError: it is no case.
    """
    try:
        case = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CaseError("an empty line" if not line.strip() else f"not JSON: {error.msg}") from None
    if not isinstance(case, dict):
        raise CaseError("a case is a JSON object")
    for key, value in case.items():
        if key not in _KEYS:
            raise CaseError(f"the key {key!r} is not known; there are {', '.join(_KEYS)}")
        if key == "existing":
            if value is not None and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
                raise CaseError("existing must be a list of texts")
        elif not isinstance(value, str) and (value is not None or key in _REQUIRED):
            raise CaseError(f"{key} must be a text")
    missing = [key for key in _REQUIRED if not case.get(key)]
    if missing:
        raise CaseError(f"{' and '.join(missing)} must be given")
    return case
