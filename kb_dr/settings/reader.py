"""Takes values out of a mapping and remembers everything that is wrong with them."""

import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from kb_dr.errors import ConfigurationError

T = TypeVar("T")


def is_slot_name(text: str) -> bool:
    """Whether PostgreSQL takes this as the name of a replication slot."""
    return re.fullmatch(r"[a-z0-9_]{1,63}", text) is not None


class Reader:
    """Takes values out of a mapping and remembers everything that is wrong with them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._problems: dict[str, str] = {}

    def problem(self, name: str, seen: str, expected: str) -> None:
        self._problems.setdefault(name, f"{name}: {seen}, expected {expected}")

    def text(self, name: str, default: str) -> str:
        return self._values.get(name, "").strip() or default

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(part for part in self.text(name, "").replace(",", " ").split() if part)

    def path(self, name: str) -> Path | None:
        found = self.text(name, "")
        if found.startswith("AGE-SECRET-KEY-"):
            self.problem(name, "a secret key itself", "the file that holds it")
        return Path(found).expanduser().absolute() if found else None

    def name(self, name: str, default: str) -> str:
        found = self.text(name, default)
        if not found.replace("-", "").replace("_", "").isalnum() or found != found.lower():
            self.problem(name, repr(found), "lower-case letters, digits, - and _")
        return found

    def slot(self, name: str, default: str) -> str:
        found = self.text(name, default)
        if not is_slot_name(found):
            self.problem(name, repr(found), "lower-case letters, digits and _, 63 at most")
        return found

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        return self._converted(name, default, int, f"a whole number, {least} to {most}",
                               lambda value: least <= value <= most)  # fmt: skip

    def number(self, name: str, default: float, least: float) -> float:
        return self._converted(name, default, float, f"a number, at least {least:g}",
                               lambda value: least <= value < float("inf"))  # fmt: skip

    def switch(self, name: str, *, default: bool) -> bool:
        found = self.text(name, "on" if default else "off")
        # YAML reads a bare on as true.
        if found.lower() not in ("on", "off", "true", "false"):
            self.problem(name, repr(found), "on or off")
        return found.lower() in ("on", "true")

    def word(self, name: str, default: str, *others: str) -> str:
        found = self.text(name, default).lower()
        if found not in (default, *others):
            self.problem(name, repr(found), " or ".join((default, *others)))
        return found

    def cron(self, name: str, default: str) -> str:
        found = self.text(name, default)
        if len(found.split()) != 5:
            self.problem(name, repr(found), "five fields of cron, such as 0 2 * * *")
        return found

    def cron_or_off(self, name: str, default: str) -> str | None:
        found = self.text(name, default)
        # YAML reads a bare off as false.
        return None if found.lower() in ("off", "false") else self.cron(name, default)

    def secret_file(self, name: str, path: Path) -> str:
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                self.problem(name, "the file is open to others", "mode 0600")
            return path.read_text().strip()
        except OSError as error:
            # Without the path: somebody may have put the password itself there.
            self.problem(name, f"{error.strerror}", "a readable file")
        except ValueError:
            self.problem(name, "the file is not text", "a readable file")
        return ""

    def finish(self) -> None:
        if self._problems:
            listed = "\n".join(f"  {line}" for line in self._problems.values())
            raise ConfigurationError(
                f"read settings: {len(self._problems)} cannot be used\n{listed}",
                hint=".env.example lists every setting with its meaning.",
            )

    def _converted(
        self,
        name: str,
        default: T,
        convert: Callable[[str], T],
        expected: str,
        holds: Callable[[T], bool],
    ) -> T:
        found = self.text(name, "")
        if not found:
            return default
        try:
            value = convert(found)
        except ValueError:
            self.problem(name, repr(found), expected)
            return default
        if not holds(value):
            self.problem(name, repr(found), expected)
            return default
        return value
