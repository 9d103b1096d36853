"""Reading a CSV of readings: what it may look like, and that every mistake is told with its line."""

import pytest

from parfocal.errors import FileError, InputError
from parfocal.review.agreement import Comparison
from parfocal.review.readings import Reading, parse_organisms, read_readings

HEAD = "reader,slide,modality,organisms\n"


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "readings.csv"
    path.write_bytes(text.encode(encoding))
    return read_readings(path)


def test_organisms_are_a_set_separated_by_semicolons(tmp_path):
    (one,) = read(tmp_path, HEAD + "A,S1,glass,yeast; Gram-Positive  cocci ;yeast\n")
    assert one == Reading("A", "S1", "glass", frozenset({"yeast", "gram-positive cocci"}))
    assert one.answer == "gram-positive cocci; yeast"


def test_an_empty_cell_says_that_none_was_seen(tmp_path):
    (one,) = read(tmp_path, HEAD + "A,S1,glass,\n")
    assert one.organisms == frozenset()
    assert one.interpretable
    assert one.answer == "none"


@pytest.mark.parametrize("cell", ["none", "None seen", " NIL ", "-"])
def test_none_is_the_name_of_no_organism(tmp_path, cell):
    glass, digital = read(tmp_path, HEAD + f"A,S1,glass,{cell}\nA,S1,auto,\n")
    assert (glass.organisms, glass.answer) == (frozenset(), "none")
    assert Comparison(digital, glass).verdict == "concurrence"
    (found,) = read(tmp_path, HEAD + "A,S1,auto,gnb\n")
    assert Comparison(found, glass).verdict == "surpassed"


@pytest.mark.parametrize("cell", ["none; yeast", "yeast; -", "none=2+"])
def test_none_does_not_stand_beside_organisms(cell):
    with pytest.raises(InputError, match="says that none was seen"):
        parse_organisms(cell)


def test_non_interpretable_is_an_answer_of_its_own(tmp_path):
    (one,) = read(tmp_path, HEAD + "A,S1,glass,Non-interpretable\n")
    assert not one.interpretable
    assert one.organisms == frozenset()
    assert one.answer == "non-interpretable"


def test_columns_come_in_any_order_with_others_a_byte_order_mark_and_windows_line_ends(tmp_path):
    text = "organisms,remark,modality,slide,reader\r\nyeast,late,glass,S1,A\r\n\r\n"
    (one,) = read(tmp_path, text, "utf-8-sig")
    assert one == Reading("A", "S1", "glass", frozenset({"yeast"}))


def test_organisms_may_carry_grades(tmp_path):
    (one,) = read(tmp_path, HEAD + "A,S1,glass,yeast=1+; gram-positive cocci = 4+; others\n")
    assert one.grades == {"yeast": 1, "gram-positive cocci": 4}
    assert [one.grade(name) for name in ("yeast", "gram-negative bacilli", "others")] == [1, 0, None]


def test_repeats_are_numbered(tmp_path):
    first, second = read(tmp_path, "reader,slide,modality,organisms,repeat\nA,S1,glass,,\nA,S1,glass,,2\n")
    assert (first.repeat, second.repeat) == (1, 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column 'reader'"),
        (HEAD, "holds no reading"),
        ("reader,slide,modality\nA,S1,glass\n", "no column 'organisms'"),
        ("reader;slide;modality;organisms\nA;S1;glass;\n", "no column 'reader'.*commas"),
        ("reader,slide,slide,modality,organisms\nA,S1,S1,glass,\n", "more than one column 'slide'"),
        (HEAD + "A,S1,glass,\n,S2,glass,\n", "line 3: reader is empty"),
        (HEAD + "A, ,glass,\n", "line 2: slide is empty"),
        (HEAD + "A,S1,,\n", "line 2: modality is empty"),
        (HEAD + "A,S1,glass\n", "line 2: does not have 4 cells"),
        (HEAD + "A,S1,glass,yeast,cocci\n", "line 2: does not have 4 cells"),
        (HEAD + "A,S1,glass,\nA,S1,glass,yeast\n", "reader A, slide S1, glass: stands there twice"),
        (HEAD + "A,S1,glass,yeast=5+\n", r"line 2: 'yeast=5\+': a grade is one of 1\+"),
        (HEAD + "A,S1,glass,yeast=1+;yeast=2+\n", r"yeast is graded 1\+ and 2\+"),
        (HEAD + "A,S1,glass,non-interpretable;yeast\n", "line 2: non-interpretable stands beside organisms"),
        ("reader,slide,modality,organisms,repeat\nA,S1,glass,,0\n", "repeat '0'"),
        ("reader,slide,modality,organisms,repeat\nA,S1,glass,," + "9" * 5000, "repeat '99999"),
    ],
)
def test_a_mistake_is_told(tmp_path, text, told):
    with pytest.raises(FileError, match=told):
        read(tmp_path, text)


def test_a_file_that_is_not_text_is_told(tmp_path):
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(FileError, match=r"picture\.csv: is no CSV file in UTF-8"):
        read_readings(tmp_path / "picture.csv")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileError, match=r"readings\.csv: cannot be read: No such file"):
        read_readings(tmp_path / "readings.csv")


def test_what_could_not_be_interpreted_has_no_organisms():
    with pytest.raises(InputError, match="reader A, slide S1, glass: non-interpretable"):
        Reading("A", "S1", "glass", frozenset({"yeast"}), interpretable=False)


def test_empty_parts_of_a_cell_do_not_count():
    assert parse_organisms(" ;; yeast;") == (frozenset({"yeast"}), {})
