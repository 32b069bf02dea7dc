"""Make the input of a stage: coded_file compress|encrypt FROM TO [RECIPIENT]."""

import sys

import pyrage
import zstandard


def main(what: str, source: str, target: str, *words: str) -> None:
    """Write ``target``, as the product would compress or encrypt ``source``."""
    with open(source, "rb") as read, open(target, "wb") as write:
        if what == "compress":
            zstandard.ZstdCompressor(level=1, threads=2, write_checksum=True).copy_stream(
                read, write
            )
        else:
            pyrage.encrypt_io(read, write, [pyrage.x25519.Recipient.from_str(words[0])])


if __name__ == "__main__":
    main(*sys.argv[1:])
