"""The sandbox: real programs, kept in one directory, ended to the last process."""

import json
import os
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from kb_dr.errors import SandboxError
from kb_dr.sandbox import processes
from kb_dr.sandbox.alert_part import alerts_url
from kb_dr.sandbox.bring_up import installation_of, note_pages, state_of, up
from kb_dr.sandbox.clusters import query
from kb_dr.sandbox.describe import describe
from kb_dr.sandbox.load import running_load, surviving
from kb_dr.sandbox.places import BUCKETS, Places, open_places
from kb_dr.sandbox.story import archive
from kb_dr.sandbox.take_down import down, lose_production
from kb_dr.settings import Email, SlackWebhook

ENTRIES = 300
PARTS = ("production", "storage", "region-primary", "region-offsite", "alerts")


def quiet(_line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sandbox whose path is longer than a socket's may be, and full of special characters."""
    deep = tmp_path_factory.mktemp("deep") / "it's 100% a knowledge base's" / ("x" * 80) / "sandbox"
    try:
        up(deep, entries=ENTRIES, say=quiet)
        yield deep
    finally:
        if deep.exists():
            down(deep, purge=True)


@pytest.fixture(autouse=True)
def everything_runs(directory: Path) -> None:
    """Each test begins with a sandbox that is up, whatever the one before it did to it."""
    up(directory, entries=ENTRIES, say=quiet)


def pids(directory: Path) -> dict[str, int | None]:
    return {part.name: part.pid for part in describe(directory)}


def processes_about(directory: Path) -> list[str]:
    """Every process that names the directory, works in it or has a file of it open."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            known = [*process.cmdline(), process.cwd()]
            known += [file.path for file in process.open_files()]
        except psutil.Error:
            continue
        if any(str(directory) in word for word in known):
            found.append(f"{process.pid} {' '.join(known)}")
    return found


def files_of(places: Places) -> dict[str, bytes]:
    kept = (places.state, places.env_file, places.identity, *places.root.glob("run/*.json"))
    return {str(path): path.read_bytes() for path in kept}


def test_a_second_up_changes_nothing(directory: Path) -> None:
    places = open_places(directory)
    before = pids(directory), files_of(places)

    up(directory, entries=ENTRIES + 1000, say=quiet)

    assert (pids(directory), files_of(places)) == before
    count = query(state_of(directory), "production", "select count(*) from knowledge_entries")
    assert count == [(ENTRIES,)]


def test_a_third_copy_added_to_its_settings_stays_and_is_made_ready(directory: Path) -> None:
    places, third = open_places(directory), directory / "third"
    before = places.env_file.read_text()
    try:
        places.env_file.write_text(f'{before}KB_DR_LOCAL_COPY_PATH="{third}"\n')
        up(directory, entries=ENTRIES, say=quiet)

        installation = installation_of(directory)
        assert installation.copies == ("primary", "offsite", "local")
        assert installation.initialise("local").service == "kb"
        assert (third / "repository.json").is_file()
    finally:
        places.env_file.write_text(before)


def test_production_has_what_a_knowledge_base_has(directory: Path) -> None:
    state = state_of(directory)
    tables = query(
        state, "production", "select relname from pg_class where relkind = 'r'"
        " and relnamespace = 'public'::regnamespace order by 1"
    )  # fmt: skip
    assert [row[0] for row in tables] == [
        "alembic_version", "embedding_cache", "knowledge_entries", "organizations", "packages",
    ]  # fmt: skip
    assert query(state, "production", "show data_checksums") == [("on",)]
    assert query(state, "production", "show archive_mode") == [("on",)]
    assert query(
        state, "production", "select distinct vector_dims(embedding) from knowledge_entries"
    ) == [(384,)]
    assert query(
        state, "production", "select amname from pg_am m join pg_class c on c.relam = m.oid"
        " where relname = 'knowledge_entries_embedding'"
    ) == [("hnsw",)]  # fmt: skip


def test_production_archives_into_region_a_and_the_command_line_sees_it(directory: Path) -> None:
    segment = archive(state_of(directory))

    stored = list((directory / "region-a" / BUCKETS["primary"]).rglob(f"{segment}-*.zst.age"))
    assert len(stored) == 1
    asked = subprocess.run(
        [sys.executable, "-m", "kb_dr.cli", "--env-file", str(open_places(directory).env_file),
         "wal", "audit", "--json"],
        capture_output=True, text=True, timeout=240, cwd="/",
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert segment in asked.stdout


def test_no_secret_is_open_to_others_or_in_any_argument(directory: Path) -> None:
    places, state = open_places(directory), state_of(directory)
    for path in (places.state, places.env_file, places.identity):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    hidden = [state.secrets.postgres, state.secrets.s3_secret, state.secrets.age_identity]
    spoken = "\n".join(processes_about(directory))
    spoken += "".join(path.read_text(errors="replace") for path in directory.glob("logs/*"))
    assert not [secret for secret in hidden if secret in spoken]


def test_a_write_load_knows_what_production_confirmed(directory: Path) -> None:
    state = state_of(directory)
    with running_load(state) as load:
        load.wait_for(20)
    assert {row.title for row in load.confirmed} == surviving(state, load.token)
    query(
        state, "production", "delete from knowledge_entries where title = %s",
        [load.confirmed[3].title],
    )  # fmt: skip
    assert load.confirmed[3].title not in surviving(state, load.token)
    query(
        state, "production", "delete from knowledge_entries where title like %s",
        [f"load {load.token} %"],
    )  # fmt: skip


def test_what_was_killed_is_started_again_on_the_same_port(directory: Path) -> None:
    before = state_of(directory)
    killed = ("production", "region-primary")
    for part in killed:
        process = processes.running(open_places(directory).pid_file(part))
        assert process is not None
        family = processes.descendants(process)
        process.kill()
        processes.wait_gone([process, *family])
    assert [part.state for part in describe(directory) if part.name in killed] == ["stopped"] * 2

    up(directory, entries=ENTRIES, say=quiet)

    assert all(part.running for part in describe(directory))
    assert state_of(directory) == before
    archive(before)


def test_a_server_nobody_noted_is_ended_before_another_is_started(directory: Path) -> None:
    places = open_places(directory)
    orphan = processes.running(places.pid_file("production"))
    assert orphan is not None
    places.pid_file("production").unlink()

    up(directory, entries=ENTRIES, say=quiet)

    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert query(state_of(directory), "production", "select 1") == [(1,)]


def test_a_port_that_is_taken_meanwhile_is_given_up(directory: Path) -> None:
    before = state_of(directory)
    down(directory)
    taken = ("production", "region-primary")
    with (
        socket.create_server(("127.0.0.1", before.ports[taken[0]])),
        socket.create_server(("127.0.0.1", before.ports[taken[1]])),
    ):
        up(directory, entries=ENTRIES, say=quiet)

    after = state_of(directory)
    assert all(after.ports[part] != before.ports[part] for part in taken)
    assert after.ports["storage"] == before.ports["storage"]
    archive(after)  # its archive_command finds the new address
    assert installation_of(directory).settings.source.port == after.ports["production"]


def test_what_is_sent_to_the_channels_of_its_settings_shows_on_its_page(directory: Path) -> None:
    channels = installation_of(directory).settings.alerting.channels
    slack, mail = channels["slack"], channels["email"]
    assert isinstance(slack, SlackWebhook)
    assert isinstance(mail, Email)
    block = {"type": "header", "text": {"type": "plain_text", "text": "WAL piles up"}}
    body = json.dumps({"text": "t", "blocks": [block]}).encode()
    with urllib.request.urlopen(slack.url.reveal(), data=body, timeout=30) as answer:
        assert answer.read() == b"ok"
    with smtplib.SMTP(mail.host, mail.port, timeout=30) as client:
        client.sendmail(mail.sender, mail.to, "Subject: by mail\r\n\r\nWAL")

    # Another process, the same page.
    processes.end_noted(open_places(directory).pid_file("alerts"), signal.SIGKILL)
    up(directory, entries=ENTRIES, say=quiet)

    with urllib.request.urlopen(alerts_url(state_of(directory)), timeout=30) as answer:
        page = answer.read().decode()
    assert '<h2 class="header">WAL piles up</h2>' in page
    assert "<td>by mail</td>" in page


def test_the_address_of_the_pages_is_known_to_alerts_and_stays(directory: Path) -> None:
    note_pages(directory, "http://127.0.0.1:4711")
    before = files_of(open_places(directory))

    up(directory, entries=ENTRIES, say=quiet)

    assert files_of(open_places(directory)) == before
    assert installation_of(directory).settings.alerting.pages_url == "http://127.0.0.1:4711"


def test_a_stranger_with_a_number_used_again_gets_no_signal(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                          stdin=subprocess.PIPE) as stranger:  # fmt: skip
        try:
            record = tmp_path / "part.json"
            processes.note(record, stranger.pid)
            noted = msgspec.json.decode(record.read_bytes(), type=processes.Noted)
            assert processes.running(record) is not None
            boot, ticks = str(noted.started).split()
            for started in (f"{boot} {int(ticks) - 1}", f"{boot[::-1]} {ticks}"):
                record.write_bytes(msgspec.json.encode(processes.Noted(stranger.pid, started)))
                assert processes.running(record) is None
                assert not processes.end_noted(record, signal.SIGKILL)
                assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("content", [b"{}", b"", b"not json"])
def test_a_record_that_was_cut_short_names_nobody(tmp_path: Path, content: bytes) -> None:
    record = tmp_path / "part.json"
    record.write_bytes(content)
    assert processes.running(record) is None
    assert not processes.end_noted(record)


def test_a_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "thesis.txt"
    kept.write_text("the only copy")
    before = stat.S_IMODE(tmp_path.stat().st_mode)

    with pytest.raises(SandboxError, match="something else"):
        up(tmp_path, entries=ENTRIES, say=quiet)
    with pytest.raises(SandboxError, match="there is none"):
        down(tmp_path, purge=True)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert kept.read_text() == "the only copy"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == before


def test_status_as_json_names_every_part(directory: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "kb_dr.cli", "sandbox", "status", "--json", "--dir", str(directory)],
        capture_output=True, text=True, timeout=120, cwd="/",
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert {part["name"]: part["state"] for part in json.loads(asked.stdout)} == dict.fromkeys(
        PARTS, "running"
    )


def test_lost_production_stays_lost_until_a_restore(tmp_path: Path) -> None:
    place = tmp_path / "sandbox"
    try:
        up(place, entries=100, say=quiet)
        with running_load(state_of(place)) as load:
            load.wait_for(5)
            lose_production(place)
            # The load rests between two rows: it notices at its next one.
            with pytest.raises(SandboxError, match="write load"):
                load.wait_for(1_000_000)
        assert load.failure is not None
        assert not (place / "production" / "data").exists()
        assert processes_about(place / "production") == []

        up(place, entries=100, say=quiet)

        assert {part.name: part.state for part in describe(place)} == dict.fromkeys(
            PARTS, "running"
        ) | {"production": "lost"}
    finally:
        if place.exists():
            down(place, purge=True)


def test_down_leaves_no_process_and_purge_no_file(tmp_path: Path) -> None:
    place = tmp_path / "sandbox"
    outside = stat.S_IMODE(tmp_path.stat().st_mode)
    up(place, entries=100, say=quiet)
    assert processes_about(place)

    assert sorted(down(place)) == sorted(PARTS)
    assert processes_about(place) == []
    assert {part.state for part in describe(place)} == {"stopped"}
    assert down(place) == ()

    down(place, purge=True)
    assert list(tmp_path.iterdir()) == []
    assert stat.S_IMODE(tmp_path.stat().st_mode) == outside
