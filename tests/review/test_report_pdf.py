"""The PDF of a report, read back by pypdf."""

from datetime import UTC, datetime

import pypdf
import pytest

from parfocal.review.report import Report
from parfocal.review.report_forms import load_form
from parfocal.review.report_pdf import pdf_bytes, write_pdf

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def gram(**changes):
    counts = {"gpc-clusters": 412, "gnb": 0, "pus": 210}
    content = {"fields": 30, "field_area_mm2": 0.0371, "counts": counts, "answers": {"comment": "Größe µm"}}
    return Report(load_form("gram"), "K7M2", **{**content, **changes})


def text_of(report, path):
    write_pdf(report, path)
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.pdf"


def test_it_tells_the_findings_with_grades_and_who_signed(path):
    report = gram().sign("Dr. Žofia Ñandú", NOON)
    text = text_of(report, path)
    for words in ("Gram stain", "Slide K7M2", "Gram-positive cocci in clusters", "412", "3+", "Moderate", "None seen"):
        assert words in text, words
    for words in ("Größe µm", "Dr. Žofia Ñandú, 2026-03-02 12:00 UTC", report.signature.digest, "Research use only"):
        assert words in text, words
    assert "Draft" not in text


def test_a_draft_says_so(path):
    text = text_of(gram(), path)
    assert "Draft: not signed" in text
    assert "Signed by" not in text


def test_an_amendment_tells_what_it_replaces_and_why(path):
    first = gram().sign("Dr. A", NOON)
    text = text_of(first.amend("Bacilli were precipitate").sign("Dr. A", NOON), path)
    assert "Amended, version 2: Bacilli were precipitate" in text
    assert first.signature.digest in text


def test_a_differential_tells_shares_and_that_too_few_were_counted(path):
    report = Report(load_form("blood-smear"), "S", counts={"neutrophil": 55, "lymphocyte": 45})
    assert "55.0" in text_of(report, path)
    assert "fewer than the 100" not in text_of(report, path)
    few = Report(load_form("blood-smear"), "S", counts={"neutrophil": 5})
    assert "5 cells counted: fewer than the 100 that are asked for" in text_of(few, path)


def test_a_non_interpretable_slide_is_told(path):
    assert "Non-interpretable" in text_of(Report(load_form("gram"), "S", interpretable=False), path)


def test_letters_that_the_font_lacks_are_shown_as_boxes_and_told(path):
    text = text_of(gram().sign("Dr. ಕನ", NOON), path)
    assert "Dr. □□" in text
    assert "letters that this document's font lacks" in text


def test_long_text_goes_on_on_the_next_page_with_the_footer(path):
    write_pdf(gram(answers={"comment": "A long remark.\n" * 120}), path)
    pages = pypdf.PdfReader(path).pages
    assert len(pages) > 2
    assert all(f"page {number} of {len(pages)}" in page.extract_text() for number, page in enumerate(pages, start=1))


def test_the_same_report_gives_the_same_file_with_a_title():
    report = gram().sign("Dr. A", NOON)
    assert pdf_bytes(report) == pdf_bytes(report)


def test_the_file_has_a_title_and_a_language(path):
    write_pdf(gram(), path)
    read = pypdf.PdfReader(path)
    assert read.metadata.title == "Gram stain, slide K7M2"
    assert read.trailer["/Root"]["/Lang"] == "en"
