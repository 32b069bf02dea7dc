"""The S3 servers of the bench: rclone's, with or without TLS, silent or telling."""

import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from kb_dr_tests.object_stores import Program, RcloneStore, answers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "localhost"


class TellingRcloneStore(RcloneStore):
    """rclone's server, which can be made to say what it is asked.

    It remembers the ETag of an object, as every store does that is made for it. By itself it would
    read and hash each object anew whenever it is listed or looked at, and the figures would be of
    that: of 20 objects of 16 MiB a listing took 0.5 s, and 0.004 s with its memory.
    """

    _tells = False

    def command(self) -> list[str]:
        *words, buckets = super().command()
        words += ["--cache-dir", str(self.directory / "etags")]
        words += ["-vv"] if self._tells else []
        return [*words, f":hasher,remote={buckets},hashes=md5,max_age=off:"]

    @contextmanager
    def telling_requests(self) -> Iterator[None]:
        """While the block runs its log has a line for each request: it is slower then."""
        self._restart(tells=True)
        try:
            yield
        finally:
            self._restart(tells=False)

    def _restart(self, *, tells: bool) -> None:
        self.stop()
        self._tells = tells
        self.start()


class SecuredRcloneStore(TellingRcloneStore):
    """`rclone serve s3` with a certificate for ``localhost``, of an authority made for this run."""

    @property
    def endpoint_url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate of the authority, to be trusted."""
        return self.directory / "authority.crt"

    @property
    def trust(self) -> Mapping[str, str]:
        """What makes programs that take no option for it trust the authority."""
        return {"SSL_CERT_FILE": str(self.authority), "AWS_CA_BUNDLE": str(self.authority)}

    def command(self) -> list[str]:
        certificate = ["--cert", str(self.directory / "server.crt")]
        return [*super().command(), *certificate, "--key", str(self.directory / "server.key")]

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.authority.exists():
            _make_certificates(self.directory)
        super().start()

    def client(self) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            verify=str(self.authority),
            config=Config(s3={"addressing_style": "path"}),
        )

    def _started(self) -> Program:
        program = Program(
            self.command(), self.directory / "server.log", environment=self.environment()
        )
        program.wait_until(lambda: _answers_https(self.port, self.authority))
        return program


def _make_certificates(directory: Path) -> None:
    def openssl(*words: Any) -> None:
        subprocess.run(
            ["openssl", *map(str, words)], cwd=directory, check=True, capture_output=True
        )

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "authority.key", "-out", "authority.crt",
            "-days", 30, "-subj", "/CN=kb_dr bench authority")  # fmt: skip
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={HOST}")
    extensions = directory / "server.ext"
    extensions.write_text(f"subjectAltName = DNS:{HOST}, IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr",
            "-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial",
            "-days", 30, "-extfile", extensions, "-out", "server.crt")  # fmt: skip


def _answers_https(port: int, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    return answers(HTTPSConnection(HOST, port, timeout=10, context=context))
