"""Report forms: those that come with Parfocal, and what is refused."""

import copy
import re
import tomllib
from pathlib import Path

import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.review.report_forms import form_names, load_form, parse_form

SMALL = tomllib.loads(
    """
    name = "small"
    title = "Small"
    version = 1
    areas.field = { title = "field", magnification = 40, field_number_mm = 20 }
    scales.few.area = "field"
    scales.few.grades = [{ name = "0", title = "none", up_to = 0 }, { name = "1", title = "some" }]
    [[groups]]
    title = "All"
    items = [
        { key = "cells", title = "Cells", kind = "count", scale = "few" },
        { key = "shape", title = "Shape", kind = "choice", options = ["round", "long"] },
    ]
    """
)


def test_three_forms_come_with_parfocal():
    assert form_names() == ("blood-smear", "free", "gram")
    assert [load_form(name).name for name in form_names()] == list(form_names())


def test_the_gram_form_asks_for_what_table_2_and_the_study_report():
    asked = {item.key: item for item in load_form("gram").items()}
    assert {"gpc-clusters", "gpc-chains", "gpc-pairs", "gnb", "other", "yeast", "pus", "epithelial"} <= set(asked)
    assert {asked[key].finding for key in ("gpc-clusters", "gpc-chains", "gpc-pairs")} == {"gram-positive cocci"}
    assert (asked["gnb"].scale, asked["pus"].scale) == ("bacteria", "cells")


def test_a_form_of_ones_own_is_read_from_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\nversion = 2\n[[groups]]\ntitle = "A"\n'
        'items = [{ key = "a", title = "A", kind = "text" }]\n',
        encoding="utf-8",
    )
    form = load_form(tmp_path / "mine.toml")
    assert (form.version, [item.key for item in form.items()]) == (2, ["a"])


def test_an_unknown_form_is_told_with_those_that_are_there(tmp_path):
    with pytest.raises(FileError, match="no form 'gramm': blood-smear, free, gram"):
        load_form("gramm")
    with pytest.raises(FileError, match=r"none\.toml: cannot be read"):
        load_form(tmp_path / "none.toml")


def test_a_question_that_is_not_asked_is_told():
    with pytest.raises(SettingsError, match="does not ask for 'size', but for cells, shape"):
        parse_form(SMALL, "small").item("size")


def _set(table, path, value):
    *parents, last = path
    for step in parents:
        table = table[step]
    table[last] = value


ITEM = ("groups", 0, "items", 0)
GRADES = ("scales", "few", "grades")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("version",), 0, "version"),
        (("colour",), "red", "colour"),
        (("groups",), [], "groups"),
        ((*ITEM, "key"), "Cells!", "key"),
        ((*ITEM, "key"), "shape", "several items shape"),
        ((*ITEM, "scale"), "many", "no scale many"),
        ((*ITEM, "kind"), "text", "only a count has a scale"),
        ((*ITEM, "options"), ["a"], "a choice needs options, and nothing else"),
        (("groups", 0, "items", 1, "options"), [], "a choice needs options"),
        (("scales", "few", "area"), "glass", "no area glass"),
        (("scales", "few", "other_areas"), ["glass"], "no area glass"),
        ((*GRADES, 0, "up_to"), None, "grade 0 needs up_to or below"),
        ((*GRADES, 0, "below"), 1, "grade 0 needs up_to or below"),
        ((*GRADES, 1, "up_to"), 5, "the last grade, 1, has no upper limit"),
        (GRADES, [{"name": n, "title": n, **more} for n, more in (("a", {"up_to": 2}), ("b", {"up_to": 1}), ("c", {}))],
         "do not rise"),
        (("areas", "field", "magnification"), 0, "magnification"),
    ],
)  # fmt: skip
def test_a_form_that_contradicts_itself_is_refused(path, value, told):
    form = copy.deepcopy(SMALL)
    _set(form, path, value)
    with pytest.raises(FileError, match=f"small.*{told}"):
        parse_form(form, "small")


def test_one_finding_has_one_scale():
    form = copy.deepcopy(SMALL)
    form["groups"][0]["items"][0]["finding"] = "x"
    form["groups"][0]["items"].append({"key": "more", "title": "More", "kind": "count", "finding": "x"})
    with pytest.raises(FileError, match="x is graded by two scales"):
        parse_form(form, "small")


def test_the_form_of_the_documentation_is_one():
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert parse_form(tomllib.loads(text), "docs").name == "my-form"
