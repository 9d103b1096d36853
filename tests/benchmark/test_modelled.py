"""The modelled scan draws its answers from rendered fields, repeats itself, and is true to what was rendered."""

from dataclasses import replace

import numpy as np
import pytest

from modelled import STEP_UM, bank, modelled, paper_settings, run, serial, slide_named, square_plan
from parfocal.benchmark.bank import DELTA_UM, SPECIMENS, read_bank, write_bank
from parfocal.benchmark.slides import SLIDES
from parfocal.devices.base import Camera, Truth, XYStage, ZStage
from parfocal.errors import FileError


class TestScan:
    @pytest.mark.parametrize("name", ["tilted", "bowed", "tissue", "dusty"])
    def test_on_a_smooth_slide_the_surface_brings_99_percent_into_focus_with_less_than_one_and_a_half_images(
        self, name
    ):
        outcome = run(modelled(name, 10), 10)
        assert outcome.share_in_focus >= 0.99
        assert outcome.images_per_field < 1.5
        assert len(outcome.in_doubt) <= 1

    @pytest.mark.parametrize("name", ["rugged", "step", "sparse"])
    def test_on_a_rough_slide_it_takes_more_images_and_few_fields_are_out_of_focus_unnoticed(self, name):
        outcome = run(modelled(name, 7, seed=2), 7)
        assert outcome.share_in_focus >= 0.9
        assert outcome.images_per_field > 1.5
        assert len(outcome.unnoticed) <= 0.06 * 49

    def test_the_papers_way_takes_about_three(self):
        outcome = run(modelled("tilted", 6), 6, settings=replace(paper_settings(), policy="paper"))
        assert 2.0 <= outcome.images_per_field <= 4.0

    def test_where_it_is_empty_few_fields_are_visited(self):
        outcome = run(modelled("half-empty", 12), 12)
        empty = [record for record in outcome.last.values() if record.verdict == "empty"]
        assert len(outcome.last) < 12 * 12 - 20
        assert all(record.stage_x_um > -STEP_UM for record in empty)
        assert all(record.images <= 3 for record in empty)

    def test_a_seed_repeats_it_exactly_and_another_one_does_not(self):
        first, again, other = (run(modelled("tissue", 5, seed), 5) for seed in (4, 4, 5))
        assert first.attempts == again.attempts
        assert first.error_um == again.error_um
        assert first.took_s == again.took_s
        assert first.error_um != other.error_um


class TestDevices:
    def test_they_are_peers_of_the_others(self):
        scan = modelled()
        assert isinstance(scan.microscope.camera, Camera)
        assert isinstance(scan.microscope.xy, XYStage)
        assert isinstance(scan.microscope.z, ZStage)
        assert isinstance(scan.truth, Truth)

    def test_a_frame_is_its_number_and_remembers_field_and_z(self):
        scan, plan = modelled(side=3), list(square_plan(3))
        camera, clock = scan.microscope.camera, scan.microscope.clock
        for number, planned in enumerate(plan):
            scan.microscope.xy.move_to(planned.x_um, planned.y_um)
            before_s = clock.now_s
            frame = camera.snap()
            assert clock.now_s - before_s == pytest.approx(0.033)
            assert serial(frame) == number
            assert camera.what(frame).z_um == scan.microscope.z.true_um
        cells = [camera.what(np.frombuffer(n.to_bytes(6, "big"), np.uint8)).cell for n in range(9)]
        assert cells[0] == (0, 0)
        assert len(set(cells)) >= 8  # the first move may end within the slack


class TestEyes:
    def frames(self, scan, *z_um):
        """Frames of the first field at these defoci in µm."""
        stage, camera = scan.microscope.z, scan.microscope.camera
        focus_um = scan.slide.focus_um[scan.slide.cell_at(*scan.microscope.xy.true_um)]
        frames = []
        for defocus_um in z_um:
            stage.move_to(focus_um + defocus_um - 30.0)
            stage.move_to(focus_um + defocus_um)
            frames.append(camera.snap())
        return frames

    def test_near_focus_a_pair_tells_the_defocus_of_its_second_image(self):
        errors_um = []
        for seed in range(12):
            scan = modelled("tissue", 3, seed)
            first, second = self.frames(scan, -DELTA_UM - 0.5, -0.5)
            truly_um = scan.microscope.camera.what(second).z_um - scan.slide.focus_um[1, 1]
            errors_um.append(scan.eyes.predictor.predict(first, second, DELTA_UM).defocus_um - truly_um)
        assert np.median(np.abs(errors_um)) < 0.6
        assert np.std(errors_um) > 0.02

    def test_a_frame_is_sharpest_in_focus(self):
        scan = modelled("tissue", 3)
        frames = self.frames(scan, -3.0, -1.5, 0.0, 1.5, 3.0)
        scores = [scan.eyes.sharpness.centre(frame) for frame in frames]
        assert int(np.argmax(scores)) == 2
        assert scan.eyes.sharpness.whole(frames[2]) > scan.eyes.sharpness.whole(frames[0])

    def test_a_pair_at_one_z_shows_no_difference_and_one_apart_does(self):
        scan = modelled("tissue", 3)
        still, moved = self.frames(scan, 0.0, 3.0)
        assert scan.eyes.predictor.measure(still, still).difference_sd < 0.7
        assert scan.eyes.predictor.measure(still, moved).difference_sd > 1.0

    def test_empty_glass_shows_nothing(self):
        empty = replace(slide_named("tissue"), is_empty=lambda x_um, y_um: True)
        scan = modelled(empty, 3)
        first, second = self.frames(scan, 0.0, 3.0)
        assert scan.eyes.predictor.measure(first, second).image_sd < paper_settings().focus.empty_sd
        assert scan.eyes.sharpness.compare(first, second, (830.0, 0.0)) is None

    def test_of_two_neighbours_the_one_in_focus_is_sharper_in_the_strip_between(self):
        differences = []
        for seed in range(8):
            scan = modelled("tissue", 3, seed)
            (blurred,) = self.frames(scan, 2.0)
            scan.microscope.xy.move_to(STEP_UM, 0.0)
            (sharp,) = self.frames(scan, 0.0)
            assert scan.microscope.camera.what(sharp).cell == (1, 2)
            differences.append(scan.eyes.sharpness.compare(sharp, blurred, (-830.0, 0.0)))
            assert scan.eyes.sharpness.compare(blurred, sharp, (830.0, 0.0)) == pytest.approx(
                -differences[-1], abs=0.06
            )
        assert np.mean(np.array(differences) > 0) >= 0.8


class TestBank:
    def test_it_holds_every_kind_of_field_that_the_slides_are_made_of(self):
        kinds = set(bank().kind.tolist())
        assert kinds == set(SPECIMENS)
        assert {texture for slide in SLIDES for texture in slide.textures} <= kinds

    def test_each_field_has_planes_on_both_sides_of_the_focus_and_pairs_about_delta_apart(self):
        assert np.all(np.diff(bank().z_um, axis=1) > 0)
        assert bank().z_um.min() < -20 < 20 < bank().z_um.max()
        assert np.all(np.abs(bank().delta_um - DELTA_UM) <= 0.81)
        assert set(bank().field.tolist()) == set(range(len(bank().kind)))

    def test_sharpness_peaks_where_best_focus_is_defined(self):
        tissue = np.flatnonzero(bank().is_tissue)
        peaks_um = [bank().z_um[index][np.argmax(bank().sharpness[index])] for index in tissue]
        assert np.mean(np.abs(peaks_um) < 0.7) > 0.95

    def test_it_comes_back_as_it_was_written(self, tmp_path):
        write_bank(bank(), tmp_path / "bank.npz")
        read = read_bank(tmp_path / "bank.npz")
        for name, value in vars(bank()).items():
            assert np.array_equal(getattr(read, name), value, equal_nan=value.dtype.kind == "f"), name

    def test_what_is_no_bank_is_refused(self, tmp_path):
        with pytest.raises(FileError, match="cannot be read"):
            read_bank(tmp_path / "gone.npz")
        np.savez(tmp_path / "other.npz", kind=np.array(["tissue"]))
        with pytest.raises(FileError, match="not a bank"):
            read_bank(tmp_path / "other.npz")
        with pytest.raises(FileError, match="cannot be written"):
            write_bank(bank(), tmp_path / "gone" / "bank.npz")

    def test_a_file_of_another_kind_is_refused(self, tmp_path):
        (tmp_path / "notes.npz").write_text("notes")
        with pytest.raises(FileError, match="not a bank"):
            read_bank(tmp_path / "notes.npz")


def test_four_slides_are_smooth_and_four_rough():
    assert [slide.kind for slide in SLIDES].count("smooth") == 4
    assert len({slide.name for slide in SLIDES}) == len(SLIDES) == 8
