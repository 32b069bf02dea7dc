"""What an engine would do with deploy/compose, by the kernel's own means and without images.

Docker Compose itself reads the file. Each service then runs in a mount namespace of its own, in
the network of the one it names: with the user, secrets, configs and volumes the file says, on a
root directory that is as read-only as it says. What an image would bring comes from this machine:
Debian's programs, our virtual environment at /opt/kb-dr, PostgreSQL's programs of that major. The
entry point of PostgreSQL's image is played by a few lines of ours. Namespaces and users take root.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kb_dr.sandbox.postgres_binaries import install_postgres

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy" / "compose"
POSTGRES_UID = 999
"""Of the user in PostgreSQL's image."""
DEADLINE_SECONDS = 180.0
"""Generous: the machine may be starved. Never measured against."""

_FROM_THIS_MACHINE = ("usr", "bin", "sbin", "lib", "lib64", "etc", "dev", "proc", "sys")
_PLAYED = """
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="${POSTGRES_USER:-postgres}" --pwfile="$POSTGRES_PASSWORD_FILE" \\
    --pgdata="$PGDATA" --no-sync $POSTGRES_INITDB_ARGS >/dev/null
  PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
  export PGPASSWORD PGUSER="${POSTGRES_USER:-postgres}" PGHOST=/tmp
  pg_ctl -D "$PGDATA" -w -o "-c listen_addresses= -c unix_socket_directories=/tmp" start >/dev/null
  psql -d postgres -qc "create database $POSTGRES_DB"
  for each in /docker-entrypoint-initdb.d/*.sql; do
    if [ -e "$each" ]; then psql -d "$POSTGRES_DB" -qf "$each"; fi
  done
  pg_ctl -D "$PGDATA" -w stop >/dev/null
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  unset PGPASSWORD PGUSER PGHOST
fi
exec "$@" -c unix_socket_directories=/tmp
"""


def compose_model(profiles: str | None = None) -> dict[str, Any]:
    """The file as Docker Compose understands it; AssertionError with its words if it does not."""
    program = Path(sys.executable).with_name("docker-compose")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    chosen = {} if profiles is None else {"COMPOSE_PROFILES": profiles}
    done = subprocess.run(
        [program, "config", "--format", "json"],
        cwd=COMPOSE, env=kept | chosen, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model: dict[str, Any] = json.loads(done.stdout)
    return model


def instructions(dockerfile: Path = ROOT / "Dockerfile") -> list[tuple[str, str]]:
    """Each instruction with its words, continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    words = (line.partition(" ") for line in joined.splitlines() if line)
    return [(word, rest) for word, _, rest in words]


@dataclass
class Deployment:
    """The services of the file that were started, below one directory."""

    directory: Path
    model: Mapping[str, Any]
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @cached_property
    def secrets(self) -> Path:
        """The host's directory with the secrets."""
        made = self.directory / "secrets"
        made.mkdir(mode=0o700, exist_ok=True)
        return made

    def start(self, name: str) -> None:
        """Start a service after all it waits for, and wait until it is what others wait for."""
        service = self.model["services"][name]
        for other, wanted in service.get("depends_on", {}).items():
            if other in self.model["services"] and other not in self.running:
                self.start(other)
                self._wait_for(other, wanted["condition"])
        if name not in self.running:
            self.running[name] = self._popen(name, service.get("command") or ())

    def is_healthy(self, name: str) -> tuple[bool, str]:
        """What the service's own health check says, run where it would run."""
        test = self.model["services"][name]["healthcheck"]["test"]
        assert test[0] == "CMD"
        done = self.execute(name, *test[1:], entry_point=False)
        return done.returncode == 0, done.stdout + done.stderr

    def execute(
        self, name: str, *words: str, entry_point: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in a service, as ``docker compose exec`` does."""
        return subprocess.run(
            self._contained(name, words, entry_point=entry_point),
            env={}, capture_output=True, text=True, timeout=DEADLINE_SECONDS,
        )  # fmt: skip

    def run(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Run a service of its own to its end, as ``docker compose run --rm`` does."""
        return self.execute(name, *self.model["services"][name]["command"], entry_point=True)

    def log(self, name: str) -> str:
        """What it said."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End all, in the reverse order; what does not end in time is killed."""
        for process in reversed(list(self.running.values())):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait_for(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            assert self.running[name].wait(DEADLINE_SECONDS) == 0, self.log(name)
        if condition != "service_healthy":
            return
        self.wait_until_healthy(name)

    def wait_until_healthy(self, name: str) -> None:
        """Until its own health check says so; AssertionError with its log if that never happens."""
        process, deadline = self.running[name], time.monotonic() + DEADLINE_SECONDS
        said = ""
        while time.monotonic() < deadline:
            assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            healthy, said = self.is_healthy(name)
            if healthy:
                return
            time.sleep(0.5)
        raise AssertionError(f"{name} is not healthy: {said}\n{self.log(name)}")

    def _popen(self, name: str, words: Sequence[str]) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._contained(name, words, True)],
                env={}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _contained(self, name: str, words: Sequence[str], entry_point: bool) -> list[str]:
        """A command line that runs ``words`` in a service."""
        service = self.model["services"][name]
        ours = "build" in service
        user = service.get("user") or (
            self._image_user() if ours else f"{POSTGRES_UID}:{POSTGRES_UID}"
        )
        uid, gid = user.split(":")
        root = self.directory / "roots" / name
        root.mkdir(parents=True, exist_ok=True)
        environment = self._environment(ours) | service.get("environment", {})
        if "KB_DR_POSTGRES_BIN_DIRS" in environment:
            environment["KB_DR_POSTGRES_BIN_DIRS"] = str(self._postgres)
        if ours and entry_point:
            words = [*self._entry_point(), *words]
        elif entry_point:
            words = ["sh", "-euc", _PLAYED, "entry-point", *words]
        dropped = ["--bounding-set", "-all"] if uid != "0" else []
        script = [
            *self._mounts(root, service, ours),
            "exec " + shlex.join([
                "chroot", str(root), "setpriv", "--reuid", uid, "--regid", gid, "--clear-groups",
                "--no-new-privs", *dropped, "env", "--ignore-environment",
                "--chdir", "/tmp",
                *(f"{key}={value}" for key, value in environment.items()), *words,
            ]),
        ]  # fmt: skip
        return [*self._network(service), "unshare", "--mount", "--propagation", "private", "--",
                "bash", "-euc", "\n".join(script)]  # fmt: skip

    def _network(self, service: Mapping[str, Any]) -> list[str]:
        mode = service.get("network_mode", "")
        if not mode.startswith("service:"):
            # One of its own, with nothing but a loopback in it.
            up = 'PATH=$PATH:/usr/sbin:/sbin; ip link set lo up; exec "$@"'
            return ["unshare", "--net", "--", "sh", "-euc", up, "network"]
        holder = self.running[mode.removeprefix("service:")]
        return ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]

    def _mounts(self, root: Path, service: Mapping[str, Any], ours: bool) -> list[str]:
        """Shell lines that make the root directory of a service."""
        lines = [f"mount -t tmpfs -o mode=0755 none {root}"]
        for each in _FROM_THIS_MACHINE:
            place = Path("/", each)
            if place.is_symlink():
                lines.append(f"ln -s {os.readlink(place)} {root}/{each}")
            elif place.is_dir():
                lines += _bound(place, root, f"/{each}", recursive=True)
        lines += _bound(self._passwd(), root, "/etc/passwd")
        lines += [f"mkdir -p {root}/tmp {root}/run", f"mount -t tmpfs -o mode=1777 none {root}/tmp"]
        # Where this Python and these PostgreSQL programs lie here; an image has them elsewhere.
        lines += _bound(self._postgres.parent, root, str(self._postgres.parent))
        if ours:
            lines += _bound(ROOT, root, str(ROOT))
            lines += _bound(Path(sys.prefix), root, sys.prefix)
            lines += _bound(Path(sys.base_prefix), root, sys.base_prefix)
            lines += _bound(Path(sys.prefix), root, "/opt/kb-dr")
            lines += _bound(ROOT / "deploy" / "image", root, "/opt/kb-dr-image")
        for source, target in self._laid(service):
            lines += _bound(source, root, target)
        if service.get("read_only"):
            lines.append(f"mount -o remount,ro,bind {root}")
        return lines

    def _laid(self, service: Mapping[str, Any]) -> list[tuple[Path, str]]:
        """Volumes first, then what may lie inside them: configs and secrets."""
        found: list[tuple[Path, str]] = []
        for each in service.get("volumes", ()):
            if each["type"] == "bind":
                assert Path(each["source"]) == COMPOSE / "secrets"
                found.append((self.secrets, each["target"]))
            else:
                found.append((self._volume(each["source"], service), each["target"]))
        for each in service.get("configs", ()):
            found.append((Path(self.model["configs"][each["source"]]["file"]), each["target"]))
        for each in service.get("secrets", ()):
            file = Path(self.model["secrets"][each["source"]]["file"])
            assert file.parent == COMPOSE / "secrets"
            found.append(
                (self.secrets / file.name, each.get("target") or f"/run/secrets/{file.name}")
            )
        return found

    def _volume(self, name: str, service: Mapping[str, Any]) -> Path:
        made = self.directory / "volumes" / name
        if not made.is_dir():
            made.mkdir(mode=0o700, parents=True)
            uid, gid = (self._image_user().split(":") if "build" in service
                        else (POSTGRES_UID, POSTGRES_UID))  # fmt: skip
            os.chown(made, int(uid), int(gid))
        return made

    def _environment(self, ours: bool) -> dict[str, str]:
        """Of the image."""
        if not ours:
            libraries = self._postgres.parent / "lib"
            return {"PATH": f"{self._postgres}:/usr/bin:/bin", "LC_ALL": "C.UTF-8",
                    "LD_LIBRARY_PATH": str(libraries),
                    "PGDATA": "/var/lib/postgresql/data"}  # fmt: skip
        found: dict[str, str] = {}
        for word, rest in instructions():
            if word == "ENV":
                found |= dict(part.split("=", 1) for part in shlex.split(rest))
        there = "/usr/lib/postgresql/${POSTGRES_MAJOR}/bin"
        assert there in found["PATH"]
        return found | {"PATH": found["PATH"].replace(there, str(self._postgres))}

    def _entry_point(self) -> list[str]:
        (found,) = [json.loads(rest) for word, rest in instructions() if word == "ENTRYPOINT"]
        return list(found)

    def _image_user(self) -> str:
        arguments = self.model["services"]["network"]["build"]["args"]
        return f"{arguments['KB_DR_UID']}:{arguments['KB_DR_GID']}"

    def _passwd(self) -> Path:
        """The users of both images."""
        made = self.directory / "passwd"
        uid, gid = self._image_user().split(":")
        made.write_text(
            "root:x:0:0::/root:/bin/sh\n"
            f"kb-dr:x:{uid}:{gid}::/var/lib/kb-dr:/bin/sh\n"
            f"postgres:x:{POSTGRES_UID}:{POSTGRES_UID}::/var/lib/postgresql:/bin/sh\n"
        )
        return made

    @cached_property
    def _postgres(self) -> Path:
        arguments = self.model["services"]["network"]["build"]["args"]
        return install_postgres(int(arguments["POSTGRES_MAJOR"]))


def _bound(source: Path, root: Path, target: str, *, recursive: bool = False) -> list[str]:
    place = shlex.quote(f"{root}{target}")
    if source.is_dir():
        made = f"mkdir -p {place}"
    else:
        made = f"mkdir -p $(dirname {place}); [ -e {place} ] || touch {place}"
    return [
        made,
        f"mount {'--rbind' if recursive else '--bind'} {shlex.quote(str(source))} {place}",
    ]
