"""Collected stacks: around the focus, upward only, whole or not there, told apart by slide, read like any other."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from geometric import Stripes, guard
from geometric import instrument as geometric_instrument
from parfocal import api
from parfocal.config import open_microscope
from parfocal.errors import FileError, InstrumentError, ScanStoppedError, SettingsError
from parfocal.optics.objective import Objective
from parfocal.scan import collect as module
from parfocal.scan.collect import CollectSettings
from parfocal.scan.crop import crop_of
from parfocal.scan.places import in_turn, survey
from parfocal.scan.plan import PlannedField
from parfocal.stacks.labels import FocusLabel, find_label, write_label
from parfocal.stacks.sets import read_stacks

WANTED = CollectSettings(stacks=2, range_um=4.0, step_um=1.0)
AREA_MM = (0.25, 0.2)


@pytest.fixture
def instrument(small_toml):
    return open_microscope(small_toml(), "blood-smear", seed=1)


def run(instrument, folder, wanted=WANTED, **options):
    return api.collect(instrument, folder, AREA_MM, wanted=wanted, **options)


class Watched:
    """What the z stage was told, and at each exposure how far it had risen since it last went down."""

    def __init__(self, microscope):
        self.risen_um, self.at_exposures_um = 0.0, []
        move, snap = microscope.z.move_to, microscope.camera.snap

        def move_to(z_um):
            way_um = z_um - microscope.z.position_um
            self.risen_um = self.risen_um + way_um if way_um >= 0 else 0.0
            move(z_um)

        def expose():
            self.at_exposures_um.append(self.risen_um)
            assert microscope.lamp.is_on
            return snap()

        microscope.z.move_to, microscope.camera.snap = move_to, expose


@pytest.fixture(scope="module")
def collected(small_toml, tmp_path_factory):
    """(instrument, what it was told to do, stacks as they were recorded, their folder)."""
    instrument = open_microscope(small_toml(), "blood-smear", seed=1)
    watched, folder = Watched(instrument.microscope), tmp_path_factory.mktemp("collected") / "stacks"
    return instrument, watched, run(instrument, folder), folder


class TestStacks:
    def test_they_reach_as_far_below_the_focus_as_above_in_even_steps(self, collected):
        stacks = read_stacks(collected[3])
        assert [stack.name for stack in stacks] == ["blood-smear-1-01", "blood-smear-1-02"]
        for stack in stacks:
            assert np.diff(stack.z) == pytest.approx(np.ones(8))
            assert abs(stack.best_z - stack.z[4]) < 2.0  # the sweep's planes are 4 µm apart

    def test_they_are_read_with_their_optics_and_their_slide(self, collected):
        for stack in read_stacks(collected[3]):
            assert (stack.slide, stack.kind, stack.z_unit, stack.label_state) == (
                "blood-smear-1",
                "recorded",
                "um",
                "auto",
            )
            assert (stack.optics.na, stack.optics.magnification, stack.optics.pixel_size_um) == (0.75, 20, 0.345)
            assert stack.plane(0).shape == (240, 320, 3)

    def test_the_curve_is_kept_and_is_the_one_that_labels_are_found_by(self, collected):
        for made, stack in zip(collected[2], read_stacks(collected[3]), strict=True):
            kept = json.loads((stack.files[0].parent / "stack.json").read_text())["curve"]
            label = find_label(stack)
            assert kept["merit"] == "tenengrad"
            assert kept["score"] == pytest.approx(label.score, abs=1e-3)
            assert kept["z"] == list(label.z)
            assert kept["suspected_z"] == list(label.suspected_z) == list(made.label.suspected_z)
            assert stack.best_z == pytest.approx(label.best_z, abs=1e-3)

    def test_a_human_decision_leaves_the_curve_where_it_is(self, collected, tmp_path):
        folder = shutil.copytree(collected[3] / "blood-smear-1-01", tmp_path / "one")
        before = json.loads((folder / "stack.json").read_text())
        write_label(folder, 1.5, "corrected")
        assert json.loads((folder / "stack.json").read_text()) == before | {"best_z": 1.5, "label_state": "corrected"}

    def test_the_label_is_where_the_specimen_is_in_focus(self, collected):
        truth = collected[0].truth
        for made in collected[2]:
            assert abs(made.label.best_z - truth.best_focus_um(*made.place_um)) < 1.5

    def test_a_peak_in_doubt_is_no_label_before_a_human_has_looked(self, instrument, tmp_path, monkeypatch):
        doubtful = FocusLabel(0.0, np.arange(9.0), np.ones(9), (7.0,), ("another peak at 7 um",))
        monkeypatch.setattr(module, "judge_curve", lambda z, score: doubtful)
        run(instrument, tmp_path / "stacks", replace(WANTED, stacks=1))
        (stack,) = read_stacks(tmp_path / "stacks")
        assert (stack.best_z, stack.label_state) == (None, "auto")


class TestMotion:
    def test_every_exposure_comes_after_upward_motion_with_the_slack_closed(self, collected):
        assert len(collected[1].at_exposures_um) > 2 * 9
        assert min(collected[1].at_exposures_um) >= 21.0 - 1e-6

    def test_the_lamp_is_off_afterwards(self, collected):
        assert not collected[0].microscope.lamp.is_on

    def test_a_range_that_does_not_fit_the_limits_is_refused_before_anything_moves(self, instrument, tmp_path):
        watched = Watched(instrument.microscope)
        with pytest.raises(
            SettingsError, match="±120 µm with a take-up of 22 µm needs 262 µm of z, the limits leave 240"
        ):
            run(instrument, tmp_path / "stacks", replace(WANTED, range_um=120.0))
        assert not watched.at_exposures_um
        assert not (tmp_path / "stacks").exists()


class TestGoingOn:
    def stop_in_the_second(self, what, done, total):
        if what == "recording planes" and done == 12:
            raise KeyboardInterrupt

    def test_an_interruption_leaves_whole_stacks_only_and_the_same_call_goes_on(self, instrument, tmp_path):
        folder = tmp_path / "stacks"
        with pytest.raises(ScanStoppedError, match="interrupted: 1 of 2 stacks of blood-smear-1 are whole"):
            run(instrument, folder, on_progress=self.stop_in_the_second)
        assert not instrument.microscope.lamp.is_on
        assert sorted(path.name for path in folder.iterdir()) == ["blood-smear-1-01", "blood-smear-1.places.json"]
        before = (folder / "blood-smear-1-01" / "stack.json").read_bytes()
        assert [made.name for made in run(instrument, folder)] == ["blood-smear-1-02"]
        assert (folder / "blood-smear-1-01" / "stack.json").read_bytes() == before

    def test_nothing_is_exposed_where_all_stacks_are_there(self, collected):
        exposures = len(collected[1].at_exposures_um)
        assert run(collected[0], collected[3]) == ()
        assert len(collected[1].at_exposures_um) == exposures

    @pytest.mark.slow
    def test_a_broken_instrument_keeps_the_stacks_so_far(self, instrument, tmp_path):
        def break_down(what, done, total):
            if what == "recording planes" and done == 12:
                raise InstrumentError("the camera gave no frame within 2 s")

        with pytest.raises(ScanStoppedError, match=r"1 of 2 stacks .* the camera gave no frame"):
            run(instrument, tmp_path / "stacks", on_progress=break_down)
        assert len(read_stacks(tmp_path / "stacks")) == 1

    def test_other_settings_for_the_same_slide_are_refused(self, collected):
        with pytest.raises(SettingsError, match=r"blood-smear-1 with step_um 1\.0, not 0\.5"):
            run(collected[0], collected[3], replace(WANTED, step_um=0.5))

    @pytest.mark.slow
    def test_slides_share_a_folder_and_stay_apart(self, small_toml, tmp_path):
        for slide in ("one", "two"):
            instrument = open_microscope(small_toml(), "blood-smear", seed=1)
            run(instrument, tmp_path, replace(WANTED, stacks=1), slide=slide)
        assert {(stack.name, stack.slide) for stack in read_stacks(tmp_path)} == {("one-01", "one"), ("two-01", "two")}


class TestRefusals:
    def test_a_folder_with_something_else_in_it(self, instrument, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(FileError, match=r"holds something else \(thesis.txt\)"):
            run(instrument, tmp_path)

    @pytest.mark.parametrize("slide", ["", "../up", "a/b", ".hidden", "-x", "a\nb", "x" * 81])
    def test_a_slide_whose_name_is_no_file_name(self, instrument, tmp_path, slide):
        with pytest.raises(SettingsError, match="is no name of 1 to 80 letters"):
            run(instrument, tmp_path / "stacks", slide=slide)

    def test_more_stacks_than_fields(self, instrument, tmp_path):
        with pytest.raises(SettingsError, match="50 stacks, but the area holds 12 fields"):
            run(instrument, tmp_path / "stacks", replace(WANTED, stacks=50))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"stacks": 0}, "0 stacks: at least 1"),
            ({"step_um": 0.0}, "step 0 µm is not above 0 µm"),
            ({"range_um": 1.5}, "±1.5 µm is less than 2 steps of 1 µm"),
            ({"range_um": float("nan")}, "range ±nan µm"),
        ],
    )
    def test_settings_out_of_range(self, change, says):
        with pytest.raises(SettingsError, match=says):
            replace(WANTED, **change)


class TestCrop:
    def crop(self, shape, pixel_um, lens, **options):
        class Camera:
            frame_shape, pixel_size_um = shape, pixel_um

        microscope, _ = geometric_instrument(Stripes(0.0))
        return crop_of(replace(microscope, camera=Camera(), objective=lens), **options)

    def test_four_patches_at_the_network_s_scale(self):
        crop = self.crop((3000, 4000), 0.1, Objective(40, 0.65))
        assert crop.size == (448, 448)
        assert crop.pixel_size_um == pytest.approx(Objective(40, 0.65).canonical_pixel_um, rel=1e-3)
        assert crop.cut(np.zeros((3000, 4000, 3), np.uint8)).shape == (448, 448, 3)

    def test_the_centre_as_it_is_where_the_camera_has_that_scale(self):
        frame = np.random.default_rng(0).integers(0, 256, (1024, 1224, 3), dtype=np.uint8)
        crop = self.crop(frame.shape[:2], 0.345, Objective(20, 0.75))
        assert (crop.cut(frame) == frame[288:736, 388:836]).all()

    def test_all_of_the_frame_where_it_is_wanted(self):
        crop = self.crop((3000, 4000), 0.1, Objective(40, 0.65), full_frame=True)
        assert (crop.size, crop.pixel_size_um) == ((3000, 4000), 0.1)

    def test_a_frame_without_room_for_a_patch(self):
        with pytest.raises(SettingsError, match=r"400 × 300 px of 0\.1 µm is 101 × 75 px .* 224 × 224 px"):
            self.crop((300, 400), 0.1, Objective(40, 0.65))


class TestPlaces:
    def test_the_richest_of_each_stretch_comes_first(self):
        assert in_turn([1, 5, 2, 9, 8, 7], stretches=2) == [3, 1, 4, 2, 5, 0]
        assert in_turn([1.0], stretches=1) == [0]

    def test_empty_glass_is_no_place(self):
        microscope, _ = geometric_instrument(Stripes(0.0, contrast=0.0))
        plan = [PlannedField(index, 0, index, 100.0 * index, 0.0) for index in range(4)]
        with pytest.raises(InstrumentError, match=r"of 4 fields varies by 0\.00 grey levels, less than the 2"):
            survey(
                microscope, microscope.xy, guard(microscope), plan,
                z_um=0.0, stacks=1, empty_sd=2.0, view=lambda frame: frame, on_look=lambda done, total: None,
            )  # fmt: skip
