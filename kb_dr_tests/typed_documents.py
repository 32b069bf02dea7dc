"""Documents whose command lines are typed by tests: the blocks in them, and the shell they go to.

A block fenced as ``bash run=SCENARIO.STEP`` is typed by a test; one fenced as ``bash shown`` needs
what no test machine has, and is not. Any other word behind ``bash`` is refused.
"""

import os
import re
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kb_dr.adapters.unprivileged import Unprivileged, end

ROOT = Path(__file__).parents[1]
SECONDS = 240.0
"""How long one block may take on a starved machine."""

_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"run=([a-z]+)\.([a-z-]+)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a document."""

    document: str
    language: str
    words: str
    """What stands behind the language."""
    text: str

    @property
    def scenario(self) -> str | None:
        """Whose steps it belongs to; None when it is not typed."""
        found = _STEP.fullmatch(self.words)
        return found[1] if found else None

    @property
    def step(self) -> str:
        """Its name in the scenario."""
        found = _STEP.fullmatch(self.words)
        assert found is not None, f"{self.document}: ```{self.language} {self.words}"
        return found[2]


def blocks(document: Path) -> tuple[Block, ...]:
    """Every fenced block, in order."""
    return tuple(
        Block(str(document.relative_to(ROOT)), found[1], found[2].strip(), found[3])
        for found in _FENCE.finditer(document.read_text())
    )


def steps(document: Path, scenario: str) -> dict[str, Block]:
    """The blocks of one scenario by step, in the order they are typed."""
    found = [each for each in blocks(document) if each.scenario == scenario]
    named = {each.step: each for each in found}
    assert len(named) == len(found), f"{document}: a step of {scenario} is there twice"
    return named


@dataclass(frozen=True, slots=True)
class Printed:
    """What one block came to."""

    status: int
    out: str
    """Both streams, as a person sees them."""


class Shell:
    """One shell, as the user PostgreSQL runs as; what a block sets, later ones find.

    A command that fails ends the block it stands in, and the test, unless that is expected.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._process = Unprivileged().start(
            ["bash", "--noprofile", "--norc"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
        )
        self.transcript = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end(self._process)

    def type(self, block: Block, *, statuses: Collection[int] = (0,)) -> Printed:
        """Type a block, wait for its end; its last status must be one of those expected."""
        strict = "set -euo pipefail" if set(statuses) == {0} else "set +e; set -uo pipefail"
        printed = self._run(f"{strict}\n{block.text}")
        assert printed.status in statuses, (
            f"{block.document}, {block.words}: exit {printed.status}, expected {statuses}\n"
            f"{self.transcript[-6000:]}"
        )
        return printed

    def _run(self, lines: str) -> Printed:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        mark = f"ended-{secrets.token_hex(8)}"
        self.transcript += "\n$ " + lines.strip().replace("\n", "\n$ ") + "\n"
        try:
            # What a program reads from stdin must not be the lines that follow.
            stdin.write(f"{{ {lines}\n}} < /dev/null\nprintf '\\n{mark} %s\\n' $?\n".encode())
            stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the shell is gone:\n{self.transcript[-6000:]}") from None
        out, deadline = b"", time.monotonic() + SECONDS
        pattern = re.compile(rb"\n" + mark.encode() + rb" (\d+)\n")
        while (found := pattern.search(out)) is None:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(stdout.fileno(), 65536) if ready else b""
            if not piece:
                why = "a command failed" if ready else f"not ended within {SECONDS:.0f} s"
                said = self.transcript + out.decode("utf-8", "replace")
                raise AssertionError(f"{why}:\n{said[-6000:]}")
            out += piece
        text = out[: found.start()].decode("utf-8", "replace")
        self.transcript += text
        return Printed(int(found[1]), text)


def end_server(data: Path) -> None:
    """End a server that a block started, if it runs."""
    pid_file = data / "postmaster.pid"
    try:
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return
    wait_until(lambda: not pid_file.exists())


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)
