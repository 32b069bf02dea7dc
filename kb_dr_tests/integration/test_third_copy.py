"""A third copy on a disk, by the command itself: brought, proven, damaged, mended, proven again."""

import json
from pathlib import Path

import pytest

from kb_dr_tests.protected_service import CopiedService, ProtectedService


@pytest.fixture
def service(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    """Two copies, the offsite one proven; and a place for the third."""
    made = protected_service.copied(tmp_path / "copied")
    made.settings["KB_DR_LOCAL_COPY_PATH"] = str(made.directory / "local")
    made.write(made.settings)
    return made


def standings(service: CopiedService) -> dict[str, str]:
    (row,) = json.loads(service.run("list", "--json").require(0).out)
    found = row["standings"]
    assert isinstance(found, dict)
    return found


def broken(service: CopiedService) -> set[str]:
    """The objectives that do not hold."""
    said = service.run("status", "--json").require(63)
    return {
        each["subject"]
        for each in json.loads(said.out)["objectives"]
        if each["outcome"] not in ("passed", "not_applicable")
    }


def flip(path: Path) -> None:
    body = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(body[:100] + bytes([body[100] ^ 1]) + body[101:])


def test_a_third_copy_is_brought_proven_damaged_mended_and_proven_again(
    service: CopiedService,
) -> None:
    local, backup = service.directory / "local", service.stored.manifest.id
    chunk = service.stored.manifest.chunks[1].key
    service.run("init").require(0)
    assert "age of the newest proof of local" in broken(service)

    flip(service.directory / "primary" / chunk)
    service.run("copy").require(0)
    assert (local / chunk).read_bytes() == (service.root / chunk).read_bytes()
    assert standings(service) == {"primary": "unproven", "offsite": "proven", "local": "unproven"}
    assert "age of the newest proof of local" in broken(service)

    service.run("verify", "latest", "--from", "local").require(0)
    assert standings(service)["local"] == "proven"

    flip(local / chunk)
    service.run("verify", backup, "--from", "local").require(61)
    said = service.run("copy", "--repair").require(0).out
    assert f"mended in primary: {chunk}" in said
    assert f"mended in local: {chunk}" in said
    assert standings(service)["local"] == "failed", "a repair proves nothing"
    service.run("validate", backup, "--deep", "--from", "local").require(0)

    service.run("verify", backup, "--from", "local").require(0)
    assert standings(service)["local"] == "proven"
    service.run("restore", "--latest", "--from", "local", "--into",
                str(service.directory / "restored")).require(0)  # fmt: skip


def test_the_doctor_tells_the_room_of_each_directory(service: CopiedService) -> None:
    service.run("init").require(0)

    said = service.run("doctor", "--json")

    rooms = {
        each["subject"]: each
        for each in json.loads(said.out)
        if each["subject"].startswith("room in")
    }
    assert set(rooms) == {"room in primary", "room in offsite", "room in local"}
    assert all("% used; the next backup takes about" in each["seen"] for each in rooms.values())
