"""Data directories under their final names: what may be renamed, and what a new one is given."""

import os
import stat
from pathlib import Path

import pytest

from kb_dr.adapters import standing_clusters
from kb_dr.adapters.standing_clusters import LocalStandingClusters
from kb_dr.domain.replacement import ServerState
from kb_dr.errors import RecoveryError


def test_a_rename_replaces_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    with pytest.raises(RecoveryError, match="something stands there"):
        LocalStandingClusters().rename(tmp_path / "one", tmp_path / "two")


def test_a_stale_pid_file_is_told_from_none(tmp_path: Path) -> None:
    clusters = LocalStandingClusters()
    assert clusters.server_of(tmp_path) is ServerState.STOPPED
    (tmp_path / "postmaster.pid").write_text("1\n/elsewhere\n1\n")
    assert clusters.server_of(tmp_path) is ServerState.STALE


def test_configuration_owner_and_mode_are_those_of_the_old_directory(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for place, word in ((old, "host"), (new, "backup")):
        (place / "conf.d").mkdir(parents=True)
        for name in (
            "postgresql.conf",
            "pg_hba.conf",
            "server.key",
            "conf.d/more.conf",
            "PG_VERSION",
        ):
            (place / name).write_text(word)
    (old / "postgresql.auto.conf").write_text("work_mem = '7MB'\narchive_mode = 'on'\n")
    (new / "postgresql.auto.conf").write_text("work_mem = '1MB'\n")
    (new / "conf.d" / "stray.conf").touch()
    old.chmod(0o750)
    new.chmod(0o700)

    LocalStandingClusters().inherit(old, new, ["archive_mode = 'off'"])

    for name in ("postgresql.conf", "pg_hba.conf", "server.key", "conf.d/more.conf"):
        assert (new / name).read_text() == "host", name
    assert (new / "PG_VERSION").read_text() == "backup"
    assert not (new / "conf.d" / "stray.conf").exists()
    auto = (new / "postgresql.auto.conf").read_text()
    assert auto == "work_mem = '7MB'\narchive_mode = 'off'\n"
    assert new.stat().st_mode == old.stat().st_mode


@pytest.mark.parametrize("inside", ["", "/pg_wal", "/base/1"])
def test_a_mount_at_or_in_a_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """A bind mount from the same file system has no device of its own."""
    directory = tmp_path / "my data"
    (directory / inside.strip("/")).mkdir(parents=True)
    line = "36 35 98:0 /mnt1 {} rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
    escaped = str(directory).replace(" ", r"\040")
    listed = tmp_path / "mountinfo"
    monkeypatch.setattr(standing_clusters, "_MOUNTS", listed)
    listed.write_text(line.format("/") + line.format(f"{escaped}.other"))
    LocalStandingClusters().check_replaceable(directory)
    listed.write_text(line.format("/") + line.format(f"{escaped}{inside}"))

    with pytest.raises(RecoveryError, match="mount point") as refused:
        LocalStandingClusters().check_replaceable(directory)

    assert (str(directory) + inside) in str(refused.value)


def test_what_is_copied_keeps_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of root's with 0640 is good; the same one given to the server's user is refused."""
    old, new = tmp_path / "old", tmp_path / "new"
    for place in (old, new):
        (place / "conf.d").mkdir(parents=True)
        for name in ("server.key", "conf.d/more.conf", "postgresql.auto.conf", "PG_VERSION"):
            (place / name).touch()
    (old / "server.key").chmod(0o640)
    given: dict[str, int] = {}

    def chown(path: Path, user: int, _group: int, **_: bool) -> None:
        given[str(Path(path).relative_to(new))] = user

    theirs = {old: 77, old / "conf.d" / "more.conf": 78}
    lstat, whole = Path.lstat, Path.stat

    def owned(path: Path, seen: os.stat_result) -> os.stat_result:
        return os.stat_result((*seen[:4], theirs.get(path, 0), *seen[5:]))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(Path, "lstat", lambda self: owned(self, lstat(self)))
    monkeypatch.setattr(Path, "stat", lambda self, **words: owned(self, whole(self, **words)))

    LocalStandingClusters().inherit(old, new, [])

    assert given["server.key"] == given["conf.d"] == 0
    assert given["conf.d/more.conf"] == 78
    assert given["PG_VERSION"] == given["postgresql.auto.conf"] == given["."] == 77
    assert stat.S_IMODE((new / "server.key").stat().st_mode) == 0o640


def test_a_key_whose_owner_cannot_be_kept_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for place in (old, new):
        place.mkdir()
    (old / "server.key").touch(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: old.stat().st_uid + 1)

    LocalStandingClusters().inherit(old, new, [])

    assert stat.S_IMODE((new / "server.key").stat().st_mode) == 0o600
