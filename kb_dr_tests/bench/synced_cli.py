"""`kb-dr`, with another way to bring a restored cluster safely to disk: synced_cli WAY WORDS...

Only the bench runs it: what the ways cost is measured with it, and no setting offers them.
"""

import sys

from kb_dr.adapters import postgres_host
from kb_dr.adapters.sync_method import sync_settings
from kb_dr.cli.__main__ import main

WAYS = {
    "file-system": sync_settings,  # as the product does it: syncfs, where it is safe
    "each-file": dict,
    "nothing": lambda: {"fsync": "off"},
}


def run(way: str, words: list[str]) -> int:
    """Run one command so; its exit code."""
    vars(postgres_host)["sync_settings"] = WAYS[way]
    return main(words)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
