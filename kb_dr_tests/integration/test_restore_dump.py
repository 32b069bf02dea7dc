"""Restores of dumps and local files on real servers: beside, in part, in another's place, back."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.load_plan import Part, StoredDump
from kb_dr.errors import (
    ChecksumMismatch,
    ConfigurationError,
    KbDrError,
    LoadFailed,
    RecoveryError,
    TargetLacks,
)
from kb_dr.installation.loading import LoadWords
from kb_dr_tests.dumped_service import DATABASE, DumpedService, dumped
from kb_dr_tests.loaded_dumps import databases, load, rows, with_checksum
from kb_dr_tests.made_archives import dump
from kb_dr_tests.postgres_servers import RunningCluster, programs_of
from kb_dr_tests.protected_service import environment


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DumpedService]:
    """Of this module alone: databases come and go on its server."""
    with ExitStack() as stack:
        yield dumped(postgres_programs, tmp_path_factory.mktemp("loaded"), stack)


@pytest.fixture(scope="module")
def plain(service: DumpedService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain dump with a space in its path, gzipped by another hand."""
    import gzip

    directory = tmp_path_factory.mktemp("local files")
    sql = dump(service.cluster, DATABASE, directory / "a.sql", form="plain")
    file = directory / "a.sql.gz"
    file.write_bytes(gzip.compress(sql.read_bytes()))
    return with_checksum(file)


@pytest.fixture(scope="module")
def custom(service: DumpedService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_checksum(dump(service.cluster, DATABASE, tmp_path_factory.mktemp("c") / "a.dump"))


# beside


def test_a_whole_dump_stands_beside_exactly_as_recorded(service: DumpedService) -> None:
    said = service.run("restore", "--dump", "--json").require(0)

    (new,) = [each for each in databases(service.cluster) if each.startswith("kb_restored_")]
    assert f'"database": "{new}"' in said.out
    assert "exactly as recorded" in said.out
    assert "vector search works" in said.out
    assert rows(service.cluster, "knowledge_entries", new) == 300
    assert rows(service.cluster, '"Wissen; drop"."Ort ""é"" %s"', new) == 40
    ((owner,),) = service.cluster.query(
        "select tableowner::text from pg_tables where tablename = 'organizations'", database=new
    )
    assert owner == "kb_app"
    ((granted,),) = service.cluster.query(
        "select has_table_privilege('kb_reader', 'knowledge_entries', 'select')", database=new
    )
    assert granted
    assert service.cluster.query("select loid from pg_largeobject_metadata l(loid)", database=new)
    assert rows(service.cluster, "knowledge_entries", DATABASE) == 300
    assert not list((service.directory / "scratch").glob("kb-dr-scratch-*"))


def test_one_table_and_one_schema_come_with_what_is_theirs(service: DumpedService) -> None:
    part = Part(tables=("public.knowledge_entries",), schemas=("Wissen; drop",))

    loaded = load(service, into="postgresql:///part", part=part)

    found = service.cluster.query(
        "select schemaname || '.' || tablename from pg_tables"
        " where schemaname in ('public', 'Wissen; drop') order by 1",
        database="part",
    )
    assert [row[0] for row in found] == ['Wissen; drop.Ort "é" %s', "public.knowledge_entries"]
    indexes = service.cluster.query("select indexname from pg_indexes where tablename ="
                                    " 'knowledge_entries'", database="part")  # fmt: skip
    assert {row[0] for row in indexes} >= {"knowledge_entries_pkey", "knowledge_entries_place"}
    assert loaded.compared.startswith("2 tables, 340 rows")


def test_tables_of_a_part_that_were_not_counted_are_said(service: DumpedService) -> None:
    opened = service.opened()
    words = LoadWords(None, None, None, "postgresql:///uncounted", False)
    part = Part(tables=("public.knowledge_entries", "notes"))
    plan = opened.plan_load(words, part, LogProgress())
    assert isinstance(plan.what, StoredDump)
    fingerprint = plan.what.manifest.fingerprint
    counted = tuple(each for each in fingerprint.tables if "knowledge" in each.table)
    manifest = replace(plan.what.manifest, fingerprint=replace(fingerprint, tables=counted))
    stored = replace(plan.what.stored, manifest=manifest)

    loaded = opened.load(
        replace(plan, what=replace(plan.what, stored=stored)), words, LogProgress()
    )

    assert loaded.compared.startswith("1 tables, 300 rows")
    assert loaded.compared.endswith("exactly as recorded; 1 others were not compared")


def test_a_plain_file_and_an_archive_of_another_hand_are_loaded(
    service: DumpedService, plain: Path, custom: Path
) -> None:
    for number, file in enumerate((plain, custom)):
        loaded = load(service, file=file, into=f"postgresql:///file{number}")

        assert rows(service.cluster, "notes", f"file{number}") == 100
        assert "nothing was compared" in loaded.compared


def test_files_that_kb_dr_wrote_are_compared_with_the_counts_in_them(
    service: DumpedService, tmp_path: Path
) -> None:
    for form in ("plain", "custom", "directory"):
        directory = tmp_path / form
        directory.mkdir()
        service.run("backup", "dump", "--to", str(directory), "--format", form).require(0)
        (file,) = [each for each in directory.iterdir() if each.suffix != ".sha256"]

        loaded = load(service, file=file, into=f"postgresql:///of_{form}")

        assert rows(service.cluster, "knowledge_entries", f"of_{form}") == 300
        assert form != "plain" or "exactly as recorded" in loaded.compared
    before = databases(service.cluster)
    part = sorted((tmp_path / "directory").glob("*.dir/*.dat*"))[0]
    part.chmod(0o600)
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ChecksumMismatch, match="checksum"):
        load(service, file=part.parent)
    assert databases(service.cluster) == before


# refused before any change


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("truncated", ChecksumMismatch),
        ("truncated, with a checksum of its own", ChecksumMismatch),
        ("flipped", ChecksumMismatch),
        ("empty", ChecksumMismatch),
        ("a picture", ChecksumMismatch),
        ("without a checksum", ConfigurationError),
        ("with a checksum of another file", ConfigurationError),
        ("with a command of psql", ConfigurationError),
        ("renaming another database", ConfigurationError),
        ("missing", ConfigurationError),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "custom"])
def test_a_bad_file_is_refused_before_anything_is_changed(
    service: DumpedService,
    plain: Path,
    custom: Path,
    tmp_path: Path,
    kind: str,
    damage: str,
    error: type[KbDrError],
) -> None:
    import gzip

    source = plain if kind == "plain" else custom
    file = tmp_path / source.name
    shutil.copy(source, file)
    shutil.copy(f"{source}.sha256", f"{file}.sha256")
    body = file.read_bytes()
    beside = Path(f"{file}.sha256")
    if damage.startswith("truncated"):
        file.write_bytes(body[: len(body) * 2 // 3])
    if damage == "truncated, with a checksum of its own":
        if kind == "plain":
            with_checksum(file)
        else:
            beside.unlink()
    if damage == "flipped":
        file.write_bytes(body[:5000] + bytes([body[5000] ^ 255]) + body[5001:])
    if damage == "empty":
        file.write_bytes(b"")
    if damage == "a picture":
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 1000)
    if damage == "without a checksum":
        beside.unlink()
    if damage == "with a checksum of another file":
        beside.write_text(beside.read_text().replace(file.name, "another.dump"))
    added = {
        "with a command of psql": b"\\connect kb\n",
        "renaming another database": b"ALTER DATABASE kb RENAME TO gone;\n",
    }
    if damage in added:
        sql = gzip.decompress(plain.read_bytes()).replace(
            b"SET row_security", added[damage] + b"SET row_security", 1
        )
        file.write_bytes(gzip.compress(sql))
        with_checksum(file)
    if damage == "missing":
        file.unlink()
    before = databases(service.cluster)
    checksum = damage != "truncated, with a checksum of its own" or kind == "plain"

    with pytest.raises(error) as caught:
        load(service, file=file, checksum=checksum)

    assert str(file.name) in str(caught.value)
    assert databases(service.cluster) == before


def test_a_damaged_dump_of_the_repository_is_refused_before_anything_is_changed(
    service: DumpedService, tmp_path: Path
) -> None:
    copied = service.copied(tmp_path)
    chunk = copied.chunk()
    chunk.chmod(0o600)
    chunk.write_bytes(chunk.read_bytes()[:-100])
    before = databases(service.cluster)

    with pytest.raises(KbDrError) as caught:
        load(copied)

    assert caught.value.exit_code in (12, 14)
    assert databases(service.cluster) == before


@pytest.mark.parametrize(
    ("part", "into", "replace", "error", "text"),
    [
        (Part(tables=("nowhere",)), None, False, ConfigurationError, "nowhere"),
        (Part(tables=("notes",)), None, True, ConfigurationError, "would be gone"),
        (Part(), "postgresql:///kb", False, RecoveryError, "already"),
        (Part(), "postgresql:///" + "x" * 64, False, ConfigurationError, "cannot be called"),
        (Part(), "postgresql:///none", True, RecoveryError, "there is none"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    service: DumpedService,
    part: Part,
    into: str | None,
    replace: bool,
    error: type[KbDrError],
    text: str,
) -> None:
    before = databases(service.cluster)

    with pytest.raises(error, match=text):
        load(service, part=part, into=into, replace=replace)

    assert databases(service.cluster) == before


def test_an_older_server_and_one_without_extension_or_role_are_refused(
    service: DumpedService, tmp_path: Path
) -> None:
    programs = programs_of(15)
    with RunningCluster(programs, tmp_path / "older") as older:
        into = f"postgresql://postgres@/kb?host={older.sockets}&port=5432"

        with pytest.raises(TargetLacks, match="PostgreSQL 15, expected 16"):
            load(service, into=into)

        assert databases(older) == ["postgres", "template0", "template1"]


def test_roles_that_are_missing_are_named_and_made_only_when_asked(
    service: DumpedService, tmp_path: Path
) -> None:
    with RunningCluster(service.cluster.programs, tmp_path / "other") as other:
        into = f"postgresql://postgres@/kb?host={other.sockets}&port=5432"
        with pytest.raises(TargetLacks, match="kb_app, kb_reader") as caught:
            load(service, into=into)
        assert "--globals" in caught.value.hint
        assert databases(other) == ["postgres", "template0", "template1"]

        load(service, into=into, part=Part(owners=False, grants=False))
        assert rows(other, "organizations", "kb") == 20
        load(service, into=into.replace("/kb?", "/kb2?"), part=Part(make_roles=True))

        found = other.query("select rolname::text, rolcanlogin from pg_roles"
                            " where rolname like 'kb%' order by 1")  # fmt: skip
        assert found == [("kb_app", False), ("kb_reader", False)]


def test_an_error_in_a_plain_file_leaves_no_database(service: DumpedService, plain: Path) -> None:
    import gzip

    sql = gzip.decompress(plain.read_bytes())
    bad = plain.with_name("bad.sql")
    bad.write_bytes(
        sql.replace(b"-- PostgreSQL database dump complete",
                    b"SELECT 1/0;\n\n-- PostgreSQL database dump complete")
    )  # fmt: skip
    with_checksum(bad)
    before = databases(service.cluster)

    with pytest.raises(LoadFailed) as caught:
        load(service, file=bad)

    assert "was dropped again" in caught.value.hint
    assert databases(service.cluster) == before


# the script


def script(*words: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    where = Path(__file__).parents[2] / "scripts" / "restore-kb.sh"
    return subprocess.run(
        [str(where), *words], env=environment(settings), cwd=cwd, capture_output=True, text=True,
        timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_script_restores_a_file_from_any_directory(
    service: DumpedService, plain: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "a path with spaces"
    directory.mkdir()
    for each in (plain, Path(f"{plain}.sha256")):
        shutil.copy(each, directory)

    done = script(
        "--local", "--backup-file", plain.name, "--yes", "--into", "postgresql:///by_script",
        cwd=directory, KB_DR_ENV_FILE=str(service.env_file),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "What to do now" in done.stdout
    assert rows(service.cluster, "knowledge_entries", "by_script") == 300


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "nothing was asked for"),
        (["--local"], "no --backup-file"),
        (["--local", "--backup-file"], "no value follows"),
        (["--local", "--rds"], "--local was given, too"),
        (["--local", "--frobnicate"], "not a word of restore-kb.sh"),
        (["--rds", "--snapshot-id", "s", "--target-instance", "i"], "not supported yet"),
        (["--pitr", "--target-time", "t", "--target-instance", "i"], "kb-dr restore --target-time"),
    ],
)
def test_the_script_refuses_words_that_make_no_sense(
    tmp_path: Path, words: list[str], text: str
) -> None:
    done = script(*words, cwd=tmp_path)

    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert "hint: " in done.stderr
