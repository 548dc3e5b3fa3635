"""Codecs of vectors: every word has its encoder."""

import pytest

from fedling_protocol.wire import codecs
from fedling_protocol.wire.codecs import Codec


@pytest.mark.parametrize("codec", Codec)
def test_encode_gives_the_same_for_the_same_vector(codec: Codec) -> None:
    vector = bytes(range(256)) * 4
    assert codecs.encode(codec, vector) == codecs.encode(codec, bytes([*vector])) != b""


def test_raw_int16_is_the_vector() -> None:
    assert codecs.encode(Codec.RAW_INT16, b"\x01\x02\xff\x80") == b"\x01\x02\xff\x80"
