"""Documents from elsewhere: read with limits, refused with the file's name and the reason."""

import pytest

from parfocal.documents import parse_json, read_json, read_toml
from parfocal.errors import FileError


def test_an_object_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"z_um": 1.5, "n": 3}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"z_um": 1.5, "n": 3}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[1]", "is not a JSON object"),
        (b"{", "is not JSON: Expecting property name"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1' + b"0" * 30 + b"}", "an integer of 31 digits"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "is not JSON: Exceeds the limit"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "is not JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path, text, why):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(FileError, match=why) as caught:
        read_json(tmp_path / "a.json")
    assert "a.json" in str(caught.value)


def test_a_line_is_named_by_whoever_asks():
    with pytest.raises(FileError, match=r"fields\.jsonl, line 3: is not JSON"):
        parse_json(b"oops", "fields.jsonl, line 3")


def test_a_document_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "' + b"x" * 2**20 + b'"}')
    with pytest.raises(FileError, match="larger than 1 MiB"):
        read_json(tmp_path / "a.json", 2**20)


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_a_file_that_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(FileError, match="missing: cannot be read: No such file"):
        read(tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"a = ", "is not TOML"), (b"\xff", "is not TOML"), (b"a = " + b"[" * 100_000, "nested too deeply")],
)
def test_what_is_no_toml_is_refused(tmp_path, text, why):
    (tmp_path / "a.toml").write_bytes(text)
    with pytest.raises(FileError, match=why):
        read_toml(tmp_path / "a.toml")
