"""The database: its schema, its steps from older ones, and what it promises."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DatabaseError

from parfocal.errors import FileError, SettingsError
from parfocal.review.accounts import trail
from parfocal.review.accounts.trail import now
from parfocal.review.database.connection import Database, upgrade
from parfocal.review.database.tables import AnnotationRow, Base, SheetRow, SlideRow, TrailEntry
from parfocal.review.report_forms import load_form
from parfocal.review.sheets.keeping import attempt_of, make_sheet


@pytest.fixture
def database(database_url):
    opened = Database(database_url)
    yield opened
    opened.close()


def test_the_steps_lead_to_the_schema_of_the_models(empty_url):
    database = Database(empty_url)
    with database.reading() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []
    database.close()


def test_a_database_of_an_older_schema_is_upgraded_and_keeps_what_it_holds(empty_url):
    engine = create_engine(empty_url)
    upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO accounts (name, role, must_change, disabled, created_at) "
                "VALUES ('anna', 'admin', false, false, '2026-01-02 03:04:05')"
            )
        )
    engine.dispose()
    database = Database(empty_url)
    with database.writing() as session:
        session.add(SlideRow(id="0123456789ab", place="a", added_at=now()))
    with database.reading() as session:
        assert session.scalar(text("SELECT name FROM accounts")) == "anna"
    database.close()


def test_a_database_from_before_studies_is_upgraded_and_keeps_slides_and_trail(empty_url):
    engine = create_engine(empty_url)
    upgrade(engine, "0002")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO slides VALUES ('0123456789ab', 'a', '2026-01-02 03:04:05')"))
        connection.execute(
            text(
                "INSERT INTO trail (at, who, action, subject, detail, address) "
                "VALUES ('2026-01-02 03:04:05', 'anna', 'signed in', 'anna', '{}', '')"
            )
        )
    engine.dispose()
    database = Database(empty_url)
    with database.writing() as session:
        session.add(make_sheet(session, "raj", load_form("gram"), "slide", slide_id="0123456789ab"))
    with database.reading() as session:
        assert session.scalar(select(SheetRow.slide_id)) == session.scalar(select(SlideRow.id))
        assert session.scalar(select(TrailEntry.who)) == "anna"
    database.close()


def test_a_database_from_before_whole_slides_is_upgraded_and_its_readings_show_fields_as_before(empty_url):
    engine = create_engine(empty_url)
    upgrade(engine, "0003")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sheets (id, slide_name, label, reader, form, frames, field_area_mm2, um_per_px, phase, "
                "seconds, amends, reason) "
                "VALUES ('0123456789ab', 'A', '', 'raj', '{}', '[4, 2]', 0.5, 0.25, 'open', 12.5, '', '')"
            )
        )
    engine.dispose()
    database = Database(empty_url)
    with database.reading() as session:
        sheet = session.get(SheetRow, "0123456789ab")
        assert (sheet.attempts, sheet.content, attempt_of(sheet, 1)) == (None, None, None)
        assert (sheet.canvas, sheet.frames, sheet.field_area_mm2, sheet.phase) == (None, [4, 2], 0.5, "open")
    with database.writing() as session:
        session.add(make_sheet(session, "raj", load_form("gram"), "B", canvas={"width": 1}))
    with database.reading() as session:
        query = select(SheetRow.slide_name).where(SheetRow.canvas.is_(None))
        assert list(session.scalars(query)) == ["A"]
    database.close()


def test_a_moment_comes_back_in_utc(database):
    moment = now()
    with database.writing() as session:
        session.add(SlideRow(id="0123456789ab", place="a", added_at=moment))
    with database.reading() as session:
        assert session.scalar(select(SlideRow.added_at)) == moment


def test_what_fails_half_way_is_undone(database):
    def fail():
        with database.writing() as session:
            session.add(SlideRow(id="0123456789ab", place="a", added_at=now()))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading() as session:
        assert session.scalar(select(SlideRow)) is None


@pytest.mark.parametrize("change", ["UPDATE trail SET who = 'nobody'", "DELETE FROM trail"])
def test_the_database_refuses_to_change_the_trail(database, change):
    with database.writing() as session:
        trail.note(session, "anna", "signed in", "anna", "127.0.0.1")
    with pytest.raises(DatabaseError, match="never changed"), database.writing() as session:
        session.execute(text(change))
    with database.reading() as session:
        assert session.scalar(select(TrailEntry.who)) == "anna"


def test_many_who_write_at_once_all_succeed(database, database_url):
    with database.writing() as session:
        session.add(SlideRow(id="0123456789ab", place="a", added_at=now()))

    def write(number: int) -> None:
        with database.writing() as session:
            count = len(session.scalars(select(AnnotationRow)).all())  # reads first, then writes
            session.add(
                AnnotationRow(
                    id=f"{number:036}",
                    slide_id="0123456789ab",
                    author=f"{count}",
                    geometry={},
                    label="",
                    created_at=now(),
                    changed_at=now(),
                )
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    with database.reading() as session:
        counts = sorted(int(row.author) for row in session.scalars(select(AnnotationRow)))
    assert len(counts) == 24
    if database_url.startswith("sqlite"):  # there is one writer at a time, so each saw all that were before
        assert counts == list(range(24))


@pytest.mark.parametrize("url", ["mysql://host/name", "no url", "oracle:///x"])
def test_other_databases_are_refused(url):
    with pytest.raises(SettingsError, match=r"sqlite"):
        Database(url)


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work" * 100)
    with pytest.raises(FileError, match="cannot be used"):
        Database(f"sqlite:///{tmp_path / 'thesis.txt'}")


def test_a_database_of_a_newer_parfocal_is_told(empty_url):
    Database(empty_url).close()
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(FileError, match="newer Parfocal"):
        Database(empty_url)
