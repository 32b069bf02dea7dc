"""`kb-dr`, as it is, but PostgreSQL forces nothing to disk in a restore: unforced_cli WORDS...

Nobody is given this: it is there to measure what it costs to be sure of a restore.
"""

import sys

from kb_dr.cli.__main__ import main as kb_dr_main
from kb_dr.domain.manifest import Source
from kb_dr.domain.scratch_configuration import scratch_settings
from kb_dr.operations import recover


def _not_durable(source: Source, *, durable: bool) -> dict[str, str]:
    del durable  # whatever a restore asks for
    return scratch_settings(source, durable=False)


def main(words: list[str]) -> int:
    """Run one command; return its exit code."""
    vars(recover)["scratch_settings"] = _not_durable
    return kb_dr_main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
