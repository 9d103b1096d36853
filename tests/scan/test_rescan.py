"""Fields of a finished scan are taken again: those in doubt, or those that somebody names."""

import json

import pytest

import parfocal
from knowing import Knowing
from parfocal.errors import FileError, InstrumentError, ScanStoppedError, SettingsError
from parfocal.scan.plan import ScanPlan
from parfocal.scan.rescan import fields_in_doubt, read_report, rescan_fields
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

PLAN = ScanPlan((0.0, 0.0), 2, 2, (90.0, 65.0), 0.1)
HEADER = FieldsHeader(
    version="0", seed=3, microscope="small", specimen="blood-smear", pixel_size_um=0.345, frame_shape=(240, 320),
    magnification=20, na=0.75, immersion_index=1.0, depth_of_field_um=1.2, rows=2, columns=2, overlap=0.1,
)  # fmt: skip


@pytest.fixture
def instrument(small_toml):
    return parfocal.open_microscope(small_toml(), "blood-smear", 3)


@pytest.fixture(scope="module")
def in_focus(small_toml):
    """(true stage position, frame) of each field of the plan in focus, by the truth."""
    instrument = parfocal.open_microscope(small_toml(), "blood-smear", 3)
    microscope, truth, seen = instrument.microscope, instrument.truth, []
    microscope.lamp.on()
    for planned in PLAN:
        microscope.xy.move_to(planned.x_um - 80, planned.y_um - 80)
        microscope.xy.move_to(planned.x_um, planned.y_um)
        best_um = truth.best_focus_um(*truth.stage_position_um[:2])
        microscope.z.move_to(best_um - 30)
        microscope.z.move_to(best_um)
        seen.append((truth.stage_position_um, microscope.camera.snap()))
    return seen


@pytest.fixture
def folder_of(in_focus, tmp_path):
    """A scan of four fields, kept in focus, with these verdicts."""

    def write(verdicts=("focused",) * 4, focus_sd_um=0.1):
        with FieldsWriter(tmp_path, HEADER) as writer:
            for planned, verdict, (place_um, frame) in zip(PLAN, verdicts, in_focus, strict=True):
                told = verdict == "focused"
                focus = {"focus_um": place_um[2] if told else None, "focus_sd_um": focus_sd_um if told else None}
                record = FieldRecord(
                    planned.index, planned.row, planned.column, planned.x_um, planned.y_um, place_um[2], verdict, 3,
                    focus=focus, true_stage_um=place_um,
                )  # fmt: skip
                writer.put(record, frame)
        return FieldsFolder(tmp_path)

    return write


def taken_again(instrument, folder, indices, on_field=lambda record, progress: None):
    predictor = Knowing(instrument)
    return rescan_fields(
        instrument.microscope, instrument.settings, predictor, PLAN, folder, indices, on_field, instrument.truth
    )


class TestWhatIsInDoubt:
    def test_it_is_what_is_unsettled_and_what_the_report_lists(self, folder_of, tmp_path):
        folder = folder_of(("focused", "unsure", "failed", "focused"))
        (tmp_path / "report.json").write_text(json.dumps({"fields_in_doubt": [1, 3]}))
        assert fields_in_doubt(folder) == [1, 2, 3]

    def test_a_report_from_before_there_was_a_list_leaves_the_verdicts(self, folder_of, tmp_path):
        folder = folder_of(("focused", "unsure", "empty", "focused"))
        (tmp_path / "report.json").write_text("{}")
        assert fields_in_doubt(folder) == [1]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "was the scan finished"),
            ("{", "is not JSON"),
            ("[]", "is not a JSON object"),
            ('{"fields_in_doubt": 3}', "is not a list"),
            ('{"fields_in_doubt": ["1"]}', "is not a list"),
        ],
    )
    def test_a_report_that_is_none_is_refused_by_name(self, folder_of, tmp_path, content, message):
        folder = folder_of()
        if content is not None:
            (tmp_path / "report.json").write_text(content)
        with pytest.raises(FileError, match=rf"report\.json.*{message}"):
            fields_in_doubt(folder)

    def test_the_report_is_read_as_it_was_written(self, folder_of, tmp_path):
        folder = folder_of()
        (tmp_path / "report.json").write_text(json.dumps({"specimen": "µ"}), encoding="utf-8")
        assert read_report(folder) == {"specimen": "µ"}


class TestTakingThemAgain:
    def test_they_are_measured_and_added_as_second_attempts(self, instrument, folder_of, tmp_path):
        folder = folder_of(("focused", "unsure", "focused", "focused"))
        seen = []
        taken_again(instrument, folder, [1, 2], lambda record, progress: seen.append(record.index))
        after = FieldsFolder(tmp_path)
        assert seen == [1, 2]
        assert [(r.index, r.attempt) for r in after.attempts] == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2)]
        for record in after.attempts[4:]:
            x_um, y_um, z_um = record.true_stage_um
            assert record.verdict == "focused"
            assert record.focus["focus_sd_um"] is not None
            assert abs(z_um - instrument.truth.best_focus_um(x_um, y_um)) <= 0.9  # z error ± 0.5 µm, twice
        assert not instrument.microscope.lamp.is_on

    def test_a_field_that_the_scan_did_not_visit_is_refused_before_anything_moves(
        self, instrument, folder_of, tmp_path
    ):
        folder = folder_of()
        before_s = instrument.microscope.clock.now_s
        with pytest.raises(SettingsError, match="field 7 is none of the 4"):
            taken_again(instrument, folder, [1, 7])
        assert instrument.microscope.clock.now_s == before_s

    def test_a_scan_in_which_nothing_was_measured_gives_nothing_to_go_by(self, instrument, folder_of, tmp_path):
        folder = folder_of(focus_sd_um=None)
        with pytest.raises(SettingsError, match="nothing to go by"):
            taken_again(instrument, folder, [1])
        assert len(FieldsFolder(tmp_path).attempts) == 4

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (InstrumentError("no frame came"), "stopped after 1 of 2 fields: no frame came"),
            (KeyboardInterrupt(), "interr"),
        ],
    )
    def test_where_it_ends_early_what_was_taken_is_kept_and_the_lamp_is_off(
        self, instrument, folder_of, tmp_path, error, message
    ):
        folder = folder_of()

        def fail(record, progress):
            raise error

        with pytest.raises(ScanStoppedError, match=message):
            taken_again(instrument, folder, [0, 3], fail)
        assert [(r.index, r.attempt) for r in FieldsFolder(tmp_path).attempts][4:] == [(0, 2)]
        assert not instrument.microscope.lamp.is_on
