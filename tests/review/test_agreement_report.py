"""The whole of a study's agreement: JSON, tables, page, plot, and the command that makes them."""

import csv
import json
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from PIL import Image
from tables import paper_rows
from tables import write_csv as write_readings

from parfocal.cli.studying import study
from parfocal.errors import InputError, SettingsError
from parfocal.review.agreement_report import measure_agreement
from parfocal.review.agreement_tables import text, write_csv, write_html
from parfocal.review.forest_plot import write_forest
from parfocal.review.readings import Reading, read_readings


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_readings(tmp_path_factory.mktemp("paper") / "readings.csv", paper_rows())


@pytest.fixture(scope="module")
def figures(file):
    return measure_agreement(read_readings(file), margin_percent=10, resamples=100).to_json()


# JSON


def test_the_figures_have_the_names_that_others_rely_on(figures):
    assert set(figures["readers"]) == {"1", "2"}
    row = figures["readers"]["1"]["automated-40x"]
    names = {"n", "concurrences", "surpassed", "non_concurrences", "percent", "wilson95", "strict", "kappa", "gwet_ac1"}
    assert names <= set(row)
    assert set(row["strict"]) == {"concurrences", "percent", "wilson95"}
    assert "glass" not in figures["readers"]["1"]
    assert {"n", "concurrences", "percent", "wilson95", "kappa"} <= set(figures["between_readers"]["glass"])


def test_the_figures_are_json_without_infinities(figures):
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_reader_who_only_read_the_reference_has_no_rows():
    readings = [Reading("A", "S1", "glass", frozenset())]
    assert measure_agreement(readings).to_json()["readers"] == {"A": {}}


def test_the_bootstrap_holds_the_figure_and_can_be_left_out(file, figures):
    row = figures["readers"]["1"]["automated-40x"]
    low, high = row["kappa_bootstrap95"]
    assert low < row["kappa"] < high
    pooled = figures["pooled"]["automated-40x"]
    assert (pooled["slides"], pooled["readings"], pooled["concurrences"]) == (32, 64, 28 + 30)
    assert pooled["bootstrap95"][0] < pooled["percent"] == 100 * 58 / 64 < pooled["bootstrap95"][1]
    without = measure_agreement(read_readings(file), resamples=0).to_json()
    assert without["pooled"]["automated-40x"]["bootstrap95"] is None
    assert "kappa_bootstrap95" not in without["readers"]["1"]["automated-40x"]


def test_pooled_intervals_are_wider_than_if_readings_were_independent():
    """Both readers fail on the same slides: that is one piece of evidence a slide, not two."""
    readings = [
        Reading(reader, f"S{n}", modality, frozenset({"a"} if modality == "glass" or n % 4 else {"b"}))
        for reader in "AB"
        for n in range(40)
        for modality in ("glass", "scan")
    ]
    report = measure_agreement(readings, resamples=1000)
    low, high = report.to_json()["pooled"]["scan"]["bootstrap95"]
    independent = np.random.default_rng(1).binomial(80, 0.75, 20000) / 0.8
    assert high - low > 1.2 * np.ptp(np.quantile(independent, [0.025, 0.975]))


def test_remarks_tell_what_the_figures_do_not(figures):
    told = " ".join(figures["remarks"])
    assert "32 cases: a validation needs at least 60" in told
    assert "Reader 2 read 29 of 32 slides in manual-40x." in told
    assert "14 days" in told
    assert "Research use only" in told
    assert "No margin" not in told


def test_sixty_cases_are_enough():
    readings = [Reading("A", f"S{n}", modality, frozenset()) for n in range(60) for modality in ("glass", "scan")]
    remarks = " ".join(measure_agreement(readings, resamples=0).remarks)
    assert "60 (CAP)" not in remarks
    assert "No margin of non-inferiority was given" in remarks


@pytest.mark.parametrize("resamples", [-1, 99])
def test_too_few_resamples_are_refused(file, resamples):
    with pytest.raises(SettingsError, match=f"{resamples} resamples"):
        measure_agreement(read_readings(file), resamples=resamples)


def test_pairs_of_three_readers_stand_in_a_table():
    readings = [Reading(who, f"S{n}", "glass", frozenset("ab"[: n % 2])) for who in "ABC" for n in range(4)]
    figures = measure_agreement(readings, resamples=0).to_json()
    assert [pair["readers"] for pair in figures["reader_pairs"]] == [["A", "B"], ["A", "C"], ["B", "C"]]
    assert re.search(r"^glass, A : C +4 +4 +100\.00", text(figures), re.MULTILINE)


# Tables and plot


def test_the_text_has_the_rows_of_tables_3_and_4(figures):
    rows = re.findall(r"^(automated-40x|manual-\d+x) +(\d+) +(\d+) +(\d+) +([\d.]+) ", text(figures), re.MULTILINE)
    assert [row for row in rows if row[0] == "automated-40x"][:2] == [
        ("automated-40x", "28", "4", "6", "87.50"),
        ("automated-40x", "30", "2", "3", "93.75"),
    ]


def test_the_text_tells_all_readers_together_with_intervals_over_slides(figures):
    assert re.search(r"^automated-40x +32 +64 +90\.62 +[\d.]+ to [\d.]+ +76\.56 ", text(figures), re.MULTILINE)


def test_the_csv_holds_the_numbers_in_full(figures, tmp_path):
    write_csv(figures, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["reader"], row["modality"]): row for row in csv.DictReader(file)}
    for (reader, modality), row in rows.items():
        known = figures["readers"][reader][modality]
        assert float(row["percent"]) == known["percent"]
        assert float(row["strict_wilson95_high"]) == known["strict"]["wilson95"][1]
        assert float(row["kappa"]) == known["kappa"]
    assert len(rows) == 6


def test_an_undefined_figure_is_an_empty_cell_and_a_dash(tmp_path):
    readings = [Reading("A", f"S{n}", modality, frozenset()) for n in range(3) for modality in ("glass", "scan")]
    figures = measure_agreement(readings, resamples=0).to_json()
    write_csv(figures, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()[1].endswith(",,")
    assert re.search(r"^scan .*– +–$", text(figures), re.MULTILINE)


def test_the_page_has_tables_picture_and_discordances_and_no_markup_of_readers(tmp_path):
    readings = [
        Reading("<b>A</b>", "S1", "glass", frozenset({"a"})),
        Reading("<b>A</b>", "S1", "scan", frozenset({"<script>"})),
    ]
    write_html(measure_agreement(readings, resamples=0).to_json(), tmp_path / "page.html")
    page = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    assert page.find("b") is None
    assert page.find("script") is None
    assert page.img["src"].startswith("data:image/svg+xml;base64,")
    assert page.img["alt"]
    assert all(head.text for head in page.find_all("th"))
    captions = [caption.text for caption in page.find_all("caption")]
    assert captions == ["Reader <b>A</b> against the same reader's glass", "All readers together", "Discordances"]
    assert "not found in scan: a, found in scan only: <script>" in page.text


def test_a_name_between_dollars_is_no_formula_in_the_plot(figures, tmp_path):
    of_first = next(iter(figures["readers"].values()))
    named = {"auto $x^$": next(iter(of_first.values()))}
    write_forest({**figures, "readers": {"raj": named}}, tmp_path / "forest.svg")
    assert (tmp_path / "forest.svg").stat().st_size > 1000


def test_the_plot_is_written_in_the_format_of_its_name(figures, tmp_path):
    write_forest(figures, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 800
    write_forest(figures, tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert "reader 1, automated-40x" in drawn
    write_forest(figures, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == drawn
    write_forest(figures, tmp_path / "plot.pdf")
    assert (tmp_path / "plot.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(SettingsError, match=r"\.png, \.svg, \.pdf"):
        write_forest(figures, tmp_path / "plot.gif")


# The command


def test_the_command_prints_json_or_tables_and_writes_files(file, tmp_path, figures):
    out = {kind: tmp_path / f"out.{kind}" for kind in ("html", "csv", "svg")}
    arguments = ["agreement", str(file), "--margin", "10", "--resamples", "100", "--json"]
    arguments += ["--html", str(out["html"]), "--csv", str(out["csv"]), "--plot", str(out["svg"])]
    done = CliRunner().invoke(study, arguments, catch_exceptions=False)
    assert json.loads(done.stdout) == figures
    assert all(path.stat().st_size for path in out.values())
    done = CliRunner().invoke(study, ["agreement", str(file), "--resamples", "0"], catch_exceptions=False)
    assert "Reader 1 against the same reader's glass" in done.stdout


def test_the_command_refuses_an_unknown_reference(file):
    with pytest.raises(InputError, match="'microscope'"):
        CliRunner().invoke(study, ["agreement", str(file), "--reference", "microscope"], catch_exceptions=False)
