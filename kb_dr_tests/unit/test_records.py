"""Reading a record is safe for threads, also the first of its kind."""

import subprocess
import sys

FIRST_READS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, make_dataclass
from threading import Barrier

from kb_dr import records

READERS, KINDS = 8, 100
together = Barrier(READERS)


def new_kind():
    inner = make_dataclass("Inner", [(f"field_{n}", int, field(default=n)) for n in range(9)])
    outer = [("schema_version", int), *((f"inner_{n}", inner) for n in range(9))]
    return make_dataclass("Record", outer)


def read(kind, body):
    together.wait()
    records.from_json(kind, body, what="a record")


sys.setswitchinterval(1e-6)
body = b'{"schema_version": 1, %s}' % b", ".join(b'"inner_%d": {}' % n for n in range(9))
with ThreadPoolExecutor(READERS) as pool:
    for kind in [new_kind() for _ in range(KINDS)]:
        list(pool.map(read, [kind] * READERS, [body] * READERS))
print("all read")
"""


def test_threads_that_read_the_first_record_of_a_kind_at_once_all_get_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_READS], capture_output=True, text=True, check=False
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "all read\n", "")
