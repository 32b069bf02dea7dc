"""Backup and restore, whole and stage by stage, of one size through one kind of repository."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kb_dr_tests.bench.results import Cost, Memory, Transfer, median_cost
from kb_dr_tests.bench.site import DATABASE, Site
from kb_dr_tests.bench.usage import clean_environment, measured, python, run

_READ = "server read, hashed"

Say = Callable[[str], None]


@dataclass(frozen=True)
class StageFiles:
    """One base backup in each of its forms, for the stages that are measured alone."""

    plain: Path
    compressed: Path
    coded: Path

    @property
    def plain_bytes(self) -> int:
        return self.plain.stat().st_size


@dataclass(frozen=True)
class Alone:
    """What no store has a part in, each stage measured alone, and the files it was measured on."""

    place: Path
    files: StageFiles
    costs: Mapping[str, Cost]

    def forget(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.place)


def measure_alone(site: Site, mib: int, repeats: int, say: Say) -> Alone:
    """Measure them for the database as it is now; its files stay until they are forgotten."""
    place = site.directory / f"stages-{mib}"
    place.mkdir()
    say(f"{mib} MiB: each stage alone")
    return Alone(place, *_local_stages(site, place, repeats))


def measure_transfers(
    site: Site, store: str, alone: Alone, repeats: int, cores: int, say: Say
) -> tuple[list[Transfer], list[Memory]]:
    """Measure the same database on one kind of repository; nothing of that is left on disk."""
    org = alone.place.name
    say(f"{store}: upload and fetch alone, then backup, restore and verify")
    env_file = site.env_file(store, org)
    try:
        site.archive_into(env_file)
        case = _Case(site, store, env_file, alone.files, repeats, cores)
        backup, backup_peak, newest = _backup(case, alone.costs)
        restore, restore_peak = _restore(case, alone.costs, newest)
        verify_peak = _verify(case)
    finally:
        site.cluster.archive_with("/bin/true")
        site.forget(store, org)
    return [backup, restore], [
        Memory(command, store, alone.files.plain_bytes, peak)
        for command, peak in (
            ("backup full", backup_peak), ("restore", restore_peak), ("verify", verify_peak)
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class _Case:
    site: Site
    store: str
    env_file: Path
    files: StageFiles
    repeats: int
    cores: int

    @property
    def environment(self) -> dict[str, str]:
        return {**clean_environment(), **self.site.trust}

    @property
    def store_servers(self) -> tuple[int, ...]:
        return self.site.servers(self.store, postgres=False)


def _local_stages(site: Site, place: Path, repeats: int) -> tuple[StageFiles, dict[str, Cost]]:
    files = StageFiles(place / "base.tar", place / "base.tar.zst", place / "base.tar.zst.age")
    costs: dict[str, Cost] = {}
    # First to a file: so that no later reader is the one that brings it all into the page cache.
    _read_server(site, files.plain)
    os.sync()
    costs[_READ] = _read_alone(site, repeats)
    run(python("kb_dr_tests.bench.coded_file", "compress", str(files.plain), str(files.compressed)),
        env=clean_environment())  # fmt: skip
    run(python("kb_dr_tests.bench.coded_file", "encrypt", str(files.compressed), str(files.coded),
               site.recipient), env=clean_environment())  # fmt: skip
    os.sync()
    for name, words in (
        ("digest", (str(files.plain),)),
        ("compress", (str(files.plain),)),
        ("encrypt", (str(files.compressed), site.recipient)),
        ("decrypt", (str(files.coded), str(site.identity_file))),
        ("decompress", (str(files.compressed),)),
    ):
        costs[name] = _times(repeats, lambda name=name, words=words: stage(name, *words))  # type: ignore[misc]  # these, now
    costs["unpack"] = _times(repeats, lambda: _unpack(files.plain, place / "unpacked"))
    return files, costs


def _backup(case: _Case, shared: Mapping[str, Cost]) -> tuple[Transfer, int, str]:
    upload = _times(
        case.repeats,
        lambda: stage(
            "upload",
            str(case.files.coded),
            str(case.env_file),
            servers=case.store_servers,
            trust=case.site.trust,
        ),
    )
    phases_file = case.env_file.with_name("phases.json")
    costs, phases, peak = [], [], 0
    manifest = {}
    for _ in range(case.repeats):
        ran = run(
            python(
                "kb_dr_tests.bench.watched_cli",
                str(phases_file),
                *("--env-file", str(case.env_file), "backup", "full", "--json"),
            ),
            env=case.environment,
            cwd=case.env_file.parent,
            servers=case.site.servers(case.store, postgres=True),
            watch_memory=True,
        )
        os.sync()
        costs.append(ran.cost)
        told = json.loads(phases_file.read_text())
        phases.append(told["seconds"])
        peak = max(peak, ran.peak_bytes)
        manifest = json.loads(ran.output)["manifest"]
    seconds = _median_phases(phases)
    stages = {name: shared[name] for name in (_READ, "compress", "encrypt")}
    return (
        Transfer(
            "backup", case.store, manifest["plain_bytes"], _stored_bytes(manifest),
            stages | {"upload": upload}, seconds["base backup"],
            median_cost(costs), seconds, case.cores, case.repeats,
        ),
        peak,
        manifest["id"],
    )  # fmt: skip


def _restore(case: _Case, shared: Mapping[str, Cost], newest: str) -> tuple[Transfer, int]:
    fetch = _times(
        case.repeats,
        lambda: stage(
            "fetch",
            str(case.env_file),
            newest,
            servers=case.store_servers,
            trust=case.site.trust,
        ),
    )
    costs, phases, peak = [], [], 0
    target = case.env_file.with_name("restored")
    for _ in range(case.repeats):
        ran = run(
            case.site.kb_dr(
                case.env_file, "restore", "--backup", newest, "--into", str(target), "--json"
            ),
            env=case.environment,
            cwd=case.env_file.parent,
            servers=case.store_servers,
            watch_memory=True,
        )
        shutil.rmtree(target)
        os.sync()
        costs.append(ran.cost)
        told = json.loads(ran.output)
        phases.append({each["name"]: each["seconds"] for each in told["phases"]})
        peak = max(peak, ran.peak_bytes)
    seconds = _median_phases(phases)
    stages = {name: shared[name] for name in ("decrypt", "decompress", "digest", "unpack")}
    return (
        Transfer(
            "restore", case.store, case.files.plain_bytes, case.files.coded.stat().st_size,
            {"fetch": fetch} | stages, seconds["fetch and unpack"],
            median_cost(costs), seconds, case.cores, case.repeats,
        ),
        peak,
    )  # fmt: skip


def _verify(case: _Case) -> int:
    ran = run(
        case.site.kb_dr(case.env_file, "verify", "latest", "--json"),
        env=case.environment,
        cwd=case.env_file.parent,
        watch_memory=True,
    )
    assert json.loads(ran.output)["verdict"] == "PROVEN", ran.output
    return ran.peak_bytes


def stage(
    name: str, *words: str, servers: Sequence[int] = (), trust: Mapping[str, str] | None = None
) -> Cost:
    """One stage alone; the CPU of ``servers`` is counted in, the start of Python is not."""
    with measured(servers) as whole:
        before = os.times()
        ran = run(
            python("kb_dr_tests.bench.stage", name, *words),
            env={**clean_environment(), **(trust or {})},
        )
        after = os.times()
    own = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    told = json.loads(ran.output)
    served = max(whole.cost.cpu_seconds - own, 0.0)
    return Cost(told["seconds"], told["cpu_seconds"] + served)


def _read_server(site: Site, output: Path) -> None:
    programs = site.cluster.programs
    command = [str(programs.path("pg_basebackup")), "-d", site.cluster.conninfo(DATABASE)]
    command += ["-D", "-", "-Ft", "-X", "none", "-c", "fast"]
    with (
        output.open("wb") as sink,
        programs.unprivileged.running(
            command, env=programs.environment(), stdout=sink, stderr=subprocess.DEVNULL
        ) as process,
    ):
        assert process.wait() == 0, f"pg_basebackup ended with {process.returncode}"


def _read_alone(site: Site, repeats: int) -> Cost:
    org = "read"
    env_file = site.env_file("directory", org)
    try:
        return _times(
            repeats, lambda: stage("read_server", str(env_file), servers=[site.postmaster])
        )
    finally:
        site.forget("directory", org)


def _unpack(plain: Path, directory: Path) -> Cost:
    directory.mkdir()
    with measured() as result:
        subprocess.run(
            ["tar", "-x", "--blocking-factor=512", "-f", plain, "-C", directory], check=True
        )
    shutil.rmtree(directory)
    os.sync()
    return result.cost


def _times(repeats: int, work: Callable[[], Cost]) -> Cost:
    return median_cost([work() for _ in range(repeats)])


def _median_phases(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        name: median_cost([Cost(each[name], 0.0) for each in runs if name in each]).seconds
        for name in runs[0]
    }


def _stored_bytes(manifest: Mapping[str, object]) -> int:
    chunks = manifest["chunks"]
    assert isinstance(chunks, list)
    return sum(int(chunk["size_bytes"]) for chunk in chunks)
