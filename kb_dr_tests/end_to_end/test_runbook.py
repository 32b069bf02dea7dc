"""The documents a person recovers by: every command line in them, typed on a real service.

Each scenario begins with the disaster it is written for and ends by reading rows: those of the
moment asked for are there, those that came later are not.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import psycopg
import pyrage
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.operations.catalog import readable
from kb_dr_tests.protected_service import Service
from kb_dr_tests.recoverable import entries, write
from kb_dr_tests.runbook_service import ENTRIES, Site, just_after, running_site
from kb_dr_tests.typed_documents import ROOT, Printed, Shell, steps, wait_until

RUNBOOK = ROOT / "docs" / "DISASTER-RECOVERY-RUNBOOK.md"

PROCEDURES = ROOT / "docs" / "recovery-procedures.md"

TYPED = {
    (RUNBOOK.name, "corruption"),
    (RUNBOOK.name, "inplace"),
    (RUNBOOK.name, "storage"),
    (RUNBOOK.name, "total"),
    (RUNBOOK.name, "breach"),
    (RUNBOOK.name, "validate"),
    (RUNBOOK.name, "service"),
    (PROCEDURES.name, "procedures"),
}
"""What the tests here type; another test holds it equal to what the documents have."""

Look = Callable[[Printed], None]


@pytest.fixture
def site(postgres_programs: PostgresPrograms, tmp_path: Path) -> Iterator[Site]:
    with running_site(postgres_programs, tmp_path) as built:
        yield built


def _type(
    shell: Shell,
    scenario: str,
    *,
    document: Path = RUNBOOK,
    look: Mapping[str, Look] | None = None,
    statuses: Mapping[str, Collection[int]] | None = None,
) -> dict[str, Printed]:
    """Type all steps of a scenario; ``look`` runs behind a step, before the next one is typed."""
    assert (document.name, scenario) in TYPED
    blocks = steps(document, scenario)
    assert blocks, f"{document.name} has no scenario {scenario}"
    unknown = {*(look or {}), *(statuses or {})} - blocks.keys()
    assert not unknown, f"{document.name}, {scenario}: no steps {unknown}"
    printed = {}
    for step, block in blocks.items():
        printed[step] = shell.type(block, statuses=(statuses or {}).get(step, (0,)))
        if look is not None and step in look:
            look[step](printed[step])
    return printed


def _ledger(conninfo: str) -> list[str]:
    with psycopg.connect(conninfo) as connection:
        return [row[0] for row in connection.execute("select entry from ledger order by id")]


def _says(*texts: str) -> Look:
    def look(printed: Printed) -> None:
        for text in texts:
            assert text in printed.out, printed.out

    return look


# --- A: corruption ------------------------------------------------------------------------


def test_what_a_bad_delete_took_is_copied_back_from_just_before_it(site: Site) -> None:
    good = just_after(write(site.cluster, "before the delete"))
    site.cluster.query("delete from knowledge_entries where id > 100")
    write(site.cluster, "behind the delete")
    names = site.placeholders(good)

    def beside(printed: Printed) -> None:
        assert f"{ENTRIES}" in printed.out
        assert _ledger(names["RESTORED"]) == ["before the delete"]
        assert site.cluster.value("select count(*) from knowledge_entries") == 100
        with (
            pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
            psycopg.connect(names["RESTORED"]) as connection,
        ):
            connection.execute("delete from ledger")

    def planned(printed: Printed) -> None:
        assert not Path(names["TARGET"]).exists()
        _says("dry run: nothing was changed", "Recoverable windows")(printed)

    with site.shell(names) as shell:
        printed = _type(
            shell,
            "corruption",
            look={
                "commits": _says("COMMIT 20"),
                "fetch": _says("COMMIT 20"),
                "plan": planned,
                "restore": _says("as planned"),
                "look": beside,
                "rescue": _says(f"\n{ENTRIES}\n"),
                "end": _says("is complete"),
            },
        )

        assert "off" in printed["look"].out
        assert entries(site.cluster) == ["before the delete", "behind the delete"]
        assert site.cluster.value("select count(*) from knowledge_entries") == ENTRIES
        assert not Path(names["TARGET"]).exists()


def test_production_is_replaced_in_place_when_all_that_came_since_is_worthless(
    site: Site,
) -> None:
    good = just_after(write(site.cluster, "before the migration"))
    site.cluster.query("drop table organizations")
    write(site.cluster, "behind the migration")
    site.archive()
    names = site.placeholders(good)
    kept: list[Path] = []

    def planned(printed: Printed) -> None:
        _says("dry run: nothing was changed", ".before-")(printed)
        assert not list(site.cluster.data.parent.glob("data.before-*"))

    def replaced(_: Printed) -> None:
        kept.extend(site.cluster.data.parent.glob("data.before-*"))

    with site.shell(names) as shell:
        _type(shell, "inplace", look={"stop": planned, "replace": replaced})
        shell.type(steps(RUNBOOK, "storage")["look"])
        _has(names["RESTORED"], ["before the migration"])
        _into_service(shell, names["PRODUCTION"])

        assert entries(site.cluster) == ["before the migration", "in service again"]
        assert site.cluster.value("select count(*) from organizations") == 20
        assert [each.is_dir() for each in kept] == [True], "the old one is kept for a rollback"


# --- B: the storage -----------------------------------------------------------------------


def test_a_lost_disk_comes_back_to_the_newest_archived_commit_and_into_service(
    site: Site,
) -> None:
    write(site.cluster, "archived")
    site.archive()
    write(site.cluster, "never archived")
    site.cluster.lose()
    names = site.placeholders()

    with site.shell(names) as shell:
        _type(
            shell,
            "storage",
            look={
                "status": _says("recoverable: yes", "lost if disaster now"),
                "restore": _says("as planned"),
                "look": lambda _: _has(names["RESTORED"], ["archived"]),
            },
            statuses={"flush": (2,), "status": (63,)},
        )
        _validate(shell)
        _into_service(shell, names["PRODUCTION"])

        assert entries(site.cluster) == ["archived", "in service again"]
        assert site.cluster.value("select timeline_id from pg_control_checkpoint()") == 2


def _has(conninfo: str, expected: list[str]) -> None:
    assert _ledger(conninfo) == expected


def _validate(shell: Shell) -> None:
    _type(
        shell,
        "validate",
        look={
            "data": _says(" f  ", "20260101_first", "vector", f"{ENTRIES}"),
            "fingerprint": _says("Fingerprint", "knowledge_entries", f"{ENTRIES}"),
            "verify": _says("PROVEN"),
        },
        statuses={"doctor": (60,)},
    )


def _into_service(shell: Shell, production: str) -> None:
    def applications_write(printed: Printed) -> None:
        _says("recoverable: yes")(printed)
        with psycopg.connect(production, autocommit=True) as connection:
            connection.execute("insert into ledger (entry) values ('in service again')")
            connection.execute("select pg_switch_wal()")

    _type(
        shell,
        "service",
        look={
            "backup": _says("on\n", "is complete", "PROVEN"),
            "green": applications_write,
            "drill": _says("PASSED"),
        },
    )


# --- C: everything ------------------------------------------------------------------------


def test_a_new_machine_with_settings_identity_and_the_other_region_is_enough(
    site: Site,
) -> None:
    write(site.cluster, "copied offsite")
    site.archive()
    write(site.cluster, "never copied")
    site.cluster.archive_everything()
    site.lose_region("primary")
    site.cluster.lose()
    machine = site.moved_to(site.person / "machine")
    names = machine | {"NEW_PRIMARY": str(site.person / "machine" / "repository")}

    with site.shell(names) as shell:
        _type(
            shell,
            "total",
            look={
                "settings": _says(names["NEW_PRIMARY"], "s3://"),
                "list": _says("kb-full-"),
                "restore": _says("as planned"),
                "look": lambda _: _has(names["RESTORED"], ["copied offsite"]),
            },
        )
        _validate(shell)
        _into_service(shell, names["PRODUCTION"])

        assert _ledger(names["PRODUCTION"]) == ["copied offsite", "in service again"]
        stored = list(Path(names["NEW_PRIMARY"]).glob("wal/*/00000002/*"))
        assert stored, "it archives on its own timeline, into the new repository"


# --- D: breach ----------------------------------------------------------------------------


def test_after_a_breach_the_state_before_it_stands_apart_with_new_keys(site: Site) -> None:
    clean = just_after(write(site.cluster, "before the breach"))
    site.cluster.query("create role intruder login superuser password 'x'")
    site.cluster.query("update knowledge_entries set title = 'encrypted'")
    write(site.cluster, "behind the breach")
    site.archive()
    before = {copy: site.keys(copy) for copy in site.regions}
    place = site.person
    names = site.placeholders(clean) | {
        "NEW_IDENTITY": str(place / "new.agekey"),
        "NEW_PRIMARY": str(place / "new-primary"),
        "NEW_OFFSITE": str(place / "new-offsite"),
        "NEW_ENV_FILE": str(place / "new.env"),
    }

    with site.shell(names) as shell:
        _type(
            shell,
            "breach",
            look={
                "trust": _says("nothing wrong was found", "sha256"),
                "restore": _says("as planned"),
                "look": lambda printed: _is_clean(names["RESTORED"], printed),
                "lock": lambda printed: _ends_with(printed, "1"),
                "backup": _says("is complete", "PROVEN"),
            },
        )

    assert {copy: site.keys(copy) for copy in site.regions} == before, "the old ones are evidence"
    opened = Service(place / "looking", _settings_in(Path(names["NEW_ENV_FILE"]))).opened()
    [stored] = readable(opened.catalog("offsite"))
    new = pyrage.x25519.Identity.from_str(
        next(
            line
            for line in Path(names["NEW_IDENTITY"]).read_text().splitlines()
            if line.startswith("AGE-SECRET-KEY-")
        )
    )
    assert stored.manifest.recipients == (str(new.to_public()),)


def _is_clean(conninfo: str, printed: Printed) -> None:
    assert "intruder" not in printed.out
    assert _ledger(conninfo) == ["before the breach"]
    with psycopg.connect(conninfo) as connection:
        found = connection.execute(
            "select count(*) from knowledge_entries where title = 'encrypted'"
        ).fetchone()
    assert found == (0,)


def _ends_with(printed: Printed, word: str) -> None:
    assert printed.out.split()[-1] == word, printed.out


def _settings_in(file: Path) -> dict[str, str]:
    lines = (line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    return {name: text.strip("'") for name, text in lines}


# --- each procedure on its own ------------------------------------------------------------


def test_every_procedure_does_what_its_page_says(site: Site) -> None:
    write(site.cluster, "first")
    moment = just_after(write(site.cluster, "second"))
    lsn = site.cluster.value("select pg_current_wal_lsn()::text")
    write(site.cluster, "third")
    site.archive()
    names = site.placeholders(moment) | {"LSN": lsn}

    def named(printed: Printed) -> None:
        write(site.cluster, "behind the migration")
        site.archive()

    def refused(printed: Printed) -> None:
        assert not Path(names["TARGET"]).exists()
        assert "hint: " in printed.out

    def early(printed: Printed) -> None:
        _says("before every backup", "Recoverable windows", "nearest after: ")(printed)
        refused(printed)

    def beating(printed: Printed) -> None:
        _says("made table")(printed)
        site.cluster.wait_for(
            "select exists (select from kb_dr.heartbeat where beat > %s)", [moment]
        )

    def streamed(_: Printed) -> None:
        write(site.cluster, "in the open segment")
        wait_until(lambda: all(_has_partial(site.keys(copy)) for copy in site.regions))

    def no_slot() -> None:
        assert site.cluster.value("select count(*) from pg_replication_slots") == 0

    with site.shell(names) as shell:
        printed = _type(
            shell,
            "procedures",
            document=PROCEDURES,
            look={
                "plan": _says("dry run: nothing was changed", '"reachable": true'),
                "windows": _says("Recoverable windows", "asked for"),
                "latest": _says("asked for latest", "as planned"),
                "time": _says("as planned", "just before time"),
                "lsn": _says(f"LSN {lsn}", "yes"),
                "name": named,
                "named": _says("restore point before migration 42", "as planned"),
                "timeline": _says("on timeline 1"),
                "backup": _says("asked for", "latest", "kb-full-"),
                "copy": _says("the nearest copy that holds it", "read from offsite: asked for"),
                "nozone": refused,
                "unknown": refused,
                "early": early,
                "verify": _says("PROVEN"),
                "drill": _says("PASSED", "drawn by seed"),
                "seed": _says("drawn by seed 4711", "latest"),
                "controls": _says("Negative controls"),
                "replace": _says("dry run: nothing was changed", ".before-"),
                "beat": beating,
                "unbeat": _says("(1 row)", "dropped table"),
                "stream": streamed,
                "unstream": lambda _: no_slot(),
            },
            statuses={"nozone": (2,), "unknown": (49,), "early": (41,)},
        )
        assert entries(site.cluster)[:4] == ["first", "second", "third", "behind the migration"]

    assert "a time without a zone" in printed["nozone"].out
    assert "no such restore point" in printed["unknown"].out


def _has_partial(keys: set[str]) -> bool:
    return any(".partial/" in key for key in keys)
