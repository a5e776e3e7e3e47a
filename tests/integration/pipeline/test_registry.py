"""Which registry is in force."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, current_registry, registry_in_force
from tests.conftest import MotoStore
from tests.integration.pipeline.batches import SETTINGS

GOOD = "version: 1\ngrants:\n  - {collection: shared, users: ['*']}\n"
Connection = psycopg.Connection[Any]


def at(source: object) -> Any:
    return SETTINGS.model_copy(update={"registry": str(source)})


def test_without_a_registry_the_empty_one_is_in_force(connection: Connection) -> None:
    found = registry_in_force(SETTINGS.model_copy(update={"registry": None}), connection)
    assert (found.registry.entries, found.warning) == ((), None)


def test_a_file_is_loaded_and_written_down_once(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    found = registry_in_force(at(file), connection)
    registry_in_force(at(file), connection)
    assert (len(found.registry.entries), found.warning) == (1, None)
    rows = connection.execute("SELECT version, source, ok, content FROM ledger.registry_version").fetchall()
    assert rows == [(found.registry.version, str(file), True, GOOD)]


def test_a_registry_in_s3_is_loaded(object_store: MotoStore) -> None:
    object_store.put("admin/registry.yaml", GOOD.encode())
    assert len(current_registry(at("s3://maap-ops-workspace/admin/registry.yaml")).entries) == 1


@pytest.mark.parametrize("breaking", ["grants: 7", "version: 1\ngrants: [", "\0", "version: 1\ngrants: 'é\ud800'"])
def test_a_broken_registry_leaves_the_last_good_one_in_force_and_says_so(
    connection: Connection, tmp_path: Path, breaking: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    good = registry_in_force(at(file), connection).registry
    file.write_bytes(breaking.encode(errors="surrogatepass"))
    found = registry_in_force(at(file), connection)
    assert found.registry == good
    assert found.registry.version == good.version
    assert found.warning is not None
    assert str(file) in found.warning
    assert good.version in found.warning
    with caplog.at_level(logging.ERROR):
        assert current_registry(at(file), connection) == good
    assert str(file) in caplog.text
    refused = connection.execute("SELECT count(*) FROM ledger.registry_version WHERE NOT ok").fetchone()
    assert refused == (1,)


def test_a_registry_that_is_gone_leaves_the_last_good_one_in_force(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(GOOD)
    good = registry_in_force(at(file), connection).registry
    file.unlink()
    found = registry_in_force(at(file), connection)
    assert found.registry == good
    assert found.warning is not None


def test_a_bucket_that_does_not_answer_leaves_the_last_good_one_in_force(
    connection: Connection, object_store: MotoStore
) -> None:
    source = at("s3://maap-ops-workspace/registry.yaml")
    object_store.put("registry.yaml", GOOD.encode())
    good = registry_in_force(source, connection).registry
    object_store.client().delete_object(Bucket=object_store.bucket, Key="registry.yaml")
    assert registry_in_force(source, connection).registry == good


def test_where_there_never_was_a_good_one_nothing_is_decided(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="was ever in force"):
        registry_in_force(at(tmp_path / "nowhere.yaml"), connection)


def test_without_a_ledger_a_broken_registry_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("grants: 7")
    with pytest.raises(RegistryUnavailable, match=r"registry\.yaml"):
        current_registry(at(file))
