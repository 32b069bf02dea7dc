"""The fake codec keeps the contract of the real one, so tests may rely on it."""

import pytest

from kb_dr.ports import Codec
from kb_dr_tests.contracts.codec_contract import CodecContract
from kb_dr_tests.fakes import PlainCodec


class TestPlainCodec(CodecContract):
    @pytest.fixture
    def codec(self) -> Codec:
        return PlainCodec()
