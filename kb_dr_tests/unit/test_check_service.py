"""What the tables and the schema version of a replaced service say."""

from dataclasses import replace

import pytest

from kb_dr.domain.fingerprint import TableFingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.replacement import ServiceLook
from kb_dr.errors import ServiceUnhealthy
from kb_dr.operations.check_service import check_schema
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.stored_backups import STARTED, store_backup


@pytest.fixture
def manifest() -> Manifest:
    made = store_backup(MemoryRepository(), PlainCodec(), started=STARTED).manifest
    tables = tuple(TableFingerprint(f"public.{name}", 1, (), (), ()) for name in ("one", "two"))
    return replace(
        made,
        fingerprint=replace(made.fingerprint, tables=tables),
        source=replace(made.source, schema_version="v1"),
    )


def _look(*tables: str, version: str | None = "v1") -> ServiceLook:
    names = frozenset(f"public.{each}" for each in tables)
    return ServiceLook(7, 2, Lsn(0x3000000), False, True, names, version)


def test_the_schema_of_the_backup_is_well(manifest: Manifest) -> None:
    assert check_schema(_look("one", "two", "three"), manifest) == ()


def test_a_later_schema_is_told_and_may_lack_a_table(manifest: Manifest) -> None:
    first, second = check_schema(_look("one", version="v2"), manifest)

    assert "schema version v2, v1 when" in first
    assert "public.two" in second


def test_a_table_that_nothing_explains_the_loss_of_is_an_error(manifest: Manifest) -> None:
    with pytest.raises(ServiceUnhealthy, match=r"public\.two missing, with schema version v1"):
        check_schema(_look("one"), manifest)


def test_another_database_is_an_error(manifest: Manifest) -> None:
    with pytest.raises(ServiceUnhealthy, match="none of 2 tables"):
        check_schema(_look("three", version="v2"), manifest)
    with pytest.raises(ServiceUnhealthy, match="no schema version, expected v1"):
        check_schema(_look("one", "two", version=None), manifest)
