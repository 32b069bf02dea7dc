"""What the bench ran on, without a word that names the host."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

import psutil

import kb_dr
from kb_dr_tests.bench.contestants.barman_cloud import version as barman_version
from kb_dr_tests.postgres_servers import programs_of

QUIET_CORES = 0.1
"""Cores that others kept busy while we did nothing; from here on the page says so."""

_LOOK_SECONDS = 1.0
_SYNCS = 30
_SYNCED_BYTES = 16 << 20
_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "zstd": ("zstd", "--version"),
    "age": ("age", "--version"),
    "tar": ("tar", "--version"),
    "cp": ("cp", "--version"),
    "pgBackRest": ("pgbackrest", "version"),
    "WAL-G": ("wal-g", "--version"),
}
_LIBRARIES = ("pyrage", "zstandard", "obstore", "boto3", "dagster")
_CODE = Path(kb_dr.__file__).parent
_BENCH = Path(__file__).parent
_SAME_MEMORY = 0.01
"""The share by which a machine's memory may differ: its kernel keeps some at each start."""
_NUMBERS = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    cores: int
    """That we may use."""
    processor: str
    memory_bytes: int
    disk: str
    """File system and kind of the device, as far as one can see."""
    sync_milliseconds: float
    """A block of 8 KiB written and forced to that disk, as a commit does: median."""
    sync_mib_per_second: float
    """16 MiB written and forced to that disk, as a segment of WAL is: median."""
    kernel: str
    versions: Mapping[str, str]
    """Of every program and library that is measured or measured with, the peers among them."""

    def is_like(self, other: "Machine") -> bool:
        """Whether results from both may stand in one table."""
        return not self.unlike(other)

    def unlike(self, other: "Machine") -> tuple[str, ...]:
        """What keeps results of both from standing in one table; what is timed is not compared."""
        pairs = {
            "cores": (self.cores, other.cores),
            "processor": (self.processor, other.processor),
            "kernel": (self.kernel, other.kernel),
            "disk": (self.disk, other.disk),
        }
        if abs(self.memory_bytes - other.memory_bytes) > _SAME_MEMORY * self.memory_bytes:
            pairs["bytes of memory"] = (self.memory_bytes, other.memory_bytes)
        for name in {**self.versions, **other.versions}:
            pairs[name] = (self.versions.get(name, "none"), other.versions.get(name, "none"))
        return tuple(f"{what} {one}, now {two}" for what, (one, two) in pairs.items() if one != two)


def look_at_machine(directory: Path, major: int) -> Machine:
    """Look at this machine; ``directory`` is where the bench works."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_bytes=_memory_bytes(),
        disk=_disk(directory),
        sync_milliseconds=_sync_seconds(directory, 8192) * 1000,
        sync_mib_per_second=_SYNCED_BYTES / 2**20 / _sync_seconds(directory, _SYNCED_BYTES),
        kernel=f"{platform.system()} {_numbers(platform.release())}",
        versions=_versions(major),
    )


def code_digest() -> str:
    """Names the state of kb_dr's code, whatever becomes of its history: the same for the same.

    All that comes with the package counts, its shell scripts, too.
    """
    return _digest(_CODE, (each for each in _CODE.rglob("*") if each.suffix != ".pyc"))


def bench_digest() -> str:
    """The same of what measures it."""
    return _digest(_BENCH, _BENCH.rglob("*.py"))


def _digest(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(each for each in files if each.is_file()):
        content = file.read_bytes()
        # The length keeps the end of one file from passing for the beginning of the next.
        digest.update(f"{file.relative_to(folder)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def busy_cores() -> float:
    """How many cores are kept busy now; asked while we do nothing it is what others take."""
    return psutil.cpu_percent(interval=_LOOK_SECONDS) / 100 * (psutil.cpu_count() or 1)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_bytes() -> int:
    """Of the machine, or what our control group may take of it."""
    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        return min(total, int(text))
    return total


def _disk(directory: Path) -> str:
    found = [
        each for each in psutil.disk_partitions(all=True)
        if directory.resolve().is_relative_to(each.mountpoint)
    ]  # fmt: skip
    if not found:
        return "unknown"
    mounted = max(found, key=lambda each: len(each.mountpoint))
    return f"{mounted.fstype} on {_device_kind(directory)}"


def _device_kind(directory: Path) -> str:
    number = directory.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not device.exists():
        return "a device that cannot be seen"
    # A partition has no queue of its own: its disk is the folder it lies in.
    disk = device.resolve()
    if not (disk / "queue").is_dir():
        disk = disk.parent
    if disk.name.startswith(("vd", "xvd")):
        return "a virtual disk"
    if disk.name.startswith("nvme"):
        return "NVMe"
    rotational = disk / "queue" / "rotational"
    if rotational.is_file():
        return "a rotating disk" if rotational.read_text().strip() == "1" else "solid state"
    return "a device of unknown kind"


def _sync_seconds(directory: Path, size: int) -> float:
    file = directory / "synced"
    block = os.urandom(size)
    taken = []
    try:
        with file.open("wb") as sink:
            for _ in range(_SYNCS if size < _SYNCED_BYTES else 3):
                sink.seek(0)
                began = time.perf_counter()
                sink.write(block)
                sink.flush()
                os.fsync(sink.fileno())
                taken.append(time.perf_counter() - began)
    finally:
        file.unlink(missing_ok=True)
    return median(taken)


def _versions(major: int) -> dict[str, str]:
    postgres = programs_of(major)
    found = {
        "kb_dr": metadata.version("kb-dr"),
        "PostgreSQL": _numbers(_said(str(postgres.path("postgres")), "--version")),
        "Python": platform.python_version(),
    }
    found |= {name: metadata.version(name) for name in _LIBRARIES}
    found |= {
        name: _numbers(_said(*words)) for name, words in _PROGRAMS.items() if shutil.which(words[0])
    }
    found |= {"barman": barman} if (barman := barman_version()) else {}
    # Ours comes with Python's packages, where the S3 server of the bench has it from, too.
    rclone = Path(sys.executable).with_name("rclone")
    return found | {"rclone": _numbers(_said(str(rclone), "version"))}


def _said(*words: str) -> str:
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    return ran.stdout or ran.stderr


def _numbers(text: str) -> str:
    """The first version in a text; a distribution's or a host's own marks are left out."""
    found = _NUMBERS.search(text)
    return found[0] if found else "unknown"
