"""A line says whether it is whole, and stays JSON that any tool reads."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.slide.fields.sealed import is_whole, parsed, sealed

values = st.dictionaries(st.text(min_size=1), st.one_of(st.integers(), st.text(), st.booleans()), min_size=1)


def body(told):
    return json.dumps({name: value for name, value in told.items() if name != "crc32"} | {"z": 0})


@given(values, st.integers(0, 2**40))
def test_what_was_told_comes_back_with_what_was_known_late(told, length):
    line = sealed(body(told), file_bytes=length)
    assert line.endswith(b"\n")
    read = json.loads(line)
    crc = read.pop("crc32")
    assert read == json.loads(body(told)) | {"file_bytes": length}
    before, _, _ = line.rpartition(b', "crc32"')
    assert crc == f"{zlib.crc32(before):08x}"
    assert is_whole(line.rstrip(b"\n"))


@given(values, st.data())
def test_a_bit_that_turns_over_is_found_wherever_it_is(told, data):
    line = bytearray(sealed(body(told)).rstrip(b"\n"))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not is_whole(bytes(line))


@given(values, st.data())
def test_a_line_that_is_cut_is_not_whole(told, data):
    line = sealed(body(told)).rstrip(b"\n")
    assert not is_whole(line[: data.draw(st.integers(0, len(line) - 1))])


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_an_empty_one(text):
    assert parsed(text) == {}
