"""A slide is known by what it holds: it keeps its id when it is moved, and hands it to no other one."""

import os
import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pytest
import tifffile
from reviewing import write_scan
from sqlalchemy import create_engine, select, text

from parfocal.review.accounts.trail import now
from parfocal.review.database.connection import Database, upgrade
from parfocal.review.database.tables import AnnotationRow, SlideRow
from parfocal.review.shelf import identity
from parfocal.review.shelf.content import digest_of
from parfocal.review.shelf.places import LocalPlaces, NotHereError, RemotePlaces
from parfocal.review.shelf.shelf import Shelf
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.writer import FieldsWriter


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two scans, and two slides of another maker that differ in one pixel."""
    folder = tmp_path_factory.mktemp("scans")
    for name in ("scan-a", "scan-b"):
        write_scan(folder / name, name, scan_id=name)
    for value, name in enumerate(("other-a.tif", "other-b.tif")):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[9, 9] = value
        tifffile.imwrite(folder / name, pixels, metadata=None)
        grow_old(folder / name)
    return folder


def grow_old(path):
    """As if it was written long ago, and with it whatever lies in it."""
    for one in (path, *path.rglob("*")):
        os.utime(one, (1.7e9, 1.7e9))


def at(shelf, place):
    """The slide that lies there, looked for just now."""
    shelf.look_again()
    return next(slide for slide in shelf.slides() if slide.place == place)


@pytest.fixture
def folder(scans, tmp_path):
    shutil.copytree(scans, tmp_path / "slides")
    return tmp_path / "slides"


@pytest.fixture
def database(sqlite_url):
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def ids(database, folder):
    """Ids by place, as a server finds them that was started just now."""
    return lambda path=folder: {one.place: one.id for one in Shelf(LocalPlaces(path), database, 0).slides()}


def draw_on(database, slide_id):
    values = {"author": "raj", "geometry": {}, "label": "", "created_at": now(), "changed_at": now()}
    with database.writing() as session:
        session.add(AnnotationRow(id=slide_id, slide_id=slide_id, **values))


def test_slides_that_are_moved_and_renamed_keep_their_ids(folder, ids):
    before = ids()
    assert len(set(before.values())) == 4
    (folder / "january").mkdir()
    for name in ("scan-a", "other-b.tif"):
        (folder / name).rename(folder / "january" / f"new-{name}")
    after = ids()
    assert after["january/new-scan-a"] == before["scan-a"]
    assert after["january/new-other-b.tif"] == before["other-b.tif"]
    assert set(after.values()) == set(before.values())


def test_two_that_exchange_their_names_keep_their_ids(folder, ids):
    before = ids()
    for old, new in (("scan-a", "aside"), ("scan-b", "scan-a"), ("aside", "scan-b")):
        (folder / old).rename(folder / new)
    after = ids()
    assert (after["scan-a"], after["scan-b"]) == (before["scan-b"], before["scan-a"])


def test_a_server_of_another_folder_knows_them_and_so_does_the_first_one_afterwards(folder, ids):
    """A slide of the same name lies in both."""
    (folder / "inner").mkdir()
    (folder / "scan-b").rename(folder / "inner" / "scan-a")
    before = ids()
    assert ids(folder / "inner") == {"scan-a": before["inner/scan-a"]}
    assert ids() == before


def test_another_slide_in_the_place_of_one_that_was_drawn_on_is_new_and_the_first_one_is_known_when_it_is_back(
    folder, database, ids, tmp_path
):
    before = ids()
    for name in ("scan-a", "other-a.tif"):
        draw_on(database, before[name])
        (folder / name).rename(tmp_path / name)
        (folder / name.replace("-a", "-b")).rename(folder / name)
    between = ids()
    assert between == {"scan-a": before["scan-b"], "other-a.tif": before["other-b.tif"]}
    shutil.rmtree(folder / "scan-a")
    write_scan(folder / "scan-a", "a third")
    assert ids()["scan-a"] not in before.values()
    (tmp_path / "scan-a").rename(folder / "back")
    assert ids()["back"] == before["scan-a"]


def test_a_copy_is_another_slide_and_a_scan_that_goes_on_stays_the_same(folder, ids):
    before = ids()
    shutil.copytree(folder / "scan-a", folder / "a-copy")
    scan = FieldsFolder(folder / "scan-a")
    with FieldsWriter.reopen(scan) as writer:
        record = scan.records[0]
        writer.put(replace(record, attempt=record.attempt + 1), scan.frame(record))
    after = ids()
    assert {place: one for place, one in after.items() if place != "a-copy"} == before
    assert after["a-copy"] not in before.values()


def test_identities_of_an_older_version_are_worked_out_anew_at_their_places(folder, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'old.sqlite'}")
    upgrade(engine, "0006")
    with engine.begin() as connection:
        row = "'0123456789ab', 'other-a.tif', '2026-01-02 03:04:05', 'another digest'"
        connection.execute(text(f"INSERT INTO slides (id, place, added_at, identity) VALUES ({row})"))
    engine.dispose()
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    assert at(Shelf(LocalPlaces(folder), database, 0), "other-a.tif").id == "0123456789ab"
    database.close()


def test_slides_of_an_older_database_keep_their_ids_and_are_known_by_content_from_then_on(folder, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'old.sqlite'}")
    upgrade(engine, "0005")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO slides VALUES ('0123456789ab', 'scan-a', '2026-01-02 03:04:05')"))
    engine.dispose()
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    first = {one.place: one.id for one in Shelf(LocalPlaces(folder), database, 0).slides()}
    assert first["scan-a"] == "0123456789ab"
    (folder / "scan-a").rename(folder / "moved")
    assert {one.place: one.id for one in Shelf(LocalPlaces(folder), database, 0).slides()}["moved"] == "0123456789ab"
    with database.reading() as session:
        assert None not in list(session.scalars(select(SlideRow.identity)))
    database.close()


def test_a_slide_that_is_moved_while_the_server_runs_is_found_though_nobody_opens_the_gallery(folder, database):
    shelf = Shelf(LocalPlaces(folder), database, 0)
    for name in ("scan-a", "other-a.tif"):
        slide_id = at(shelf, name).id
        (folder / name).rename(folder / f"new-{name}")
        assert shelf.slide(slide_id).place == f"new-{name}"


def test_another_slide_in_its_place_while_the_server_runs_is_not_taken_for_it(folder, database):
    shelf = Shelf(LocalPlaces(folder), database, 0)
    for one, other in (("scan-a", "scan-b"), ("other-a.tif", "other-b.tif")):
        first, second = at(shelf, one).id, at(shelf, other).id
        shutil.rmtree(folder / one) if one.startswith("scan") else (folder / one).unlink()
        (folder / other).rename(folder / one)
        with pytest.raises(NotHereError):
            shelf.slide(first)
        assert shelf.slide(second).place == one


def test_a_slide_is_known_by_its_place_while_it_is_copied_and_by_what_it_holds_once_that_is_over(folder, database):
    shelf = Shelf(LocalPlaces(folder), database, 0)
    tiles = folder / "image_files" / "0"
    tiles.mkdir(parents=True)
    (folder / "image.dzi").write_text("<Image/>")
    (tiles / "0_0.jpg").write_bytes(b"first")
    copied = at(shelf, "image.dzi").id
    (tiles / "1_0.jpg").write_bytes(b"second")
    assert at(shelf, "image.dzi").id == copied
    grow_old(folder / "image_files")
    grow_old(folder / "image.dzi")
    assert at(shelf, "image.dzi").id == copied
    for name in ("image.dzi", "image_files"):
        (folder / name).rename(folder / f"new-{name}")
    assert at(shelf, "new-image.dzi").id == copied
    (folder / "image.dzi").write_text("<Another/>")
    assert at(shelf, "image.dzi").id != copied


def test_a_slide_that_was_written_just_now_inherits_nothing_of_the_one_whose_place_it_took(folder, database):
    shelf = Shelf(LocalPlaces(folder), database, 0)
    first = at(shelf, "other-a.tif").id
    (folder / "other-a.tif").write_bytes(b"another")
    with pytest.raises(NotHereError):
        shelf.slide(first)


def test_what_a_file_manager_leaves_behind_does_not_make_it_another_slide(tmp_path):
    for name, part in (("dicom", "1.dcm"), ("image.zarr", ".zattrs"), ("other.zarr", "zarr.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / part).write_text(name)
        before = digest_of(tmp_path / name)
        for stray in (".DS_Store", "Thumbs.db", "desktop.ini", *(["DICOMDIR"] if part == "1.dcm" else [])):
            (tmp_path / name / stray).write_text("stray")
        assert digest_of(tmp_path / name) == before
        (tmp_path / name / part).write_text("changed")
        assert digest_of(tmp_path / name) != before


def test_imported_fields_that_differ_only_in_a_later_one_are_two_slides(folder, ids):
    write_scan(folder / "imported")
    first = ids()["imported"]
    records = folder / "imported" / "fields.jsonl"
    lines = records.read_text().splitlines()
    (folder / "imported").rename(folder / "aside")
    shutil.copytree(folder / "aside", folder / "imported")
    records.write_text("\n".join(lines[:-1]) + "\n")
    after = ids()
    assert after["aside"] == first
    assert after["imported"] != first


def test_the_folder_of_a_mirax_slide_counts(tmp_path):
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide.mrxs").write_bytes(b"index")
    (tmp_path / "slide" / "Data0000.dat").write_bytes(b"first")
    before = digest_of(tmp_path / "slide.mrxs")
    (tmp_path / "slide" / "Data0000.dat").write_bytes(b"other")
    assert digest_of(tmp_path / "slide.mrxs") != before


def test_a_server_that_starts_again_works_out_only_what_is_new(folder, ids, monkeypatch):
    before = ids()
    asked = []

    def digest(path):
        asked.append(path.name)
        return digest_of(path)

    monkeypatch.setattr(identity, "digest_of", digest)
    assert ids() == before
    assert asked == []
    (folder / "other-a.tif").write_bytes(b"another")
    assert ids()["other-a.tif"] != before["other-a.tif"]
    assert asked == ["other-a.tif"]


def test_an_image_at_a_url_is_known_by_its_whole_address(database):
    for bucket in ("one", "two"):
        fsspec.filesystem("memory").pipe(f"/{bucket}/image.zarr/zarr.json", b"{}")
    one, two = (Shelf(RemotePlaces(f"memory://{bucket}"), database, 0) for bucket in ("one", "two"))
    first = at(one, "image.zarr").id
    assert at(two, "image.zarr").id != first
    assert at(one, "image.zarr").id == first
