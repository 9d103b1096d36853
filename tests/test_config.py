"""From a name or a TOML file to an instrument. What cannot work is refused before anything moves."""

import pytest

from parfocal.config import instrument_names, open_lamp, open_microscope, specimen_names
from parfocal.errors import FileError, InputError, SettingsError


def test_the_built_in_instruments_are_those_that_the_documentation_names():
    assert instrument_names() == ["paper-40x", "simulated-20x", "simulated-40x"]


def test_simulated_20x_is_what_it_promises():
    instrument = open_microscope("simulated-20x")
    microscope = instrument.microscope
    assert (microscope.objective.magnification, microscope.objective.na) == (20, 0.75)
    assert microscope.camera.frame_shape == (1024, 1224)
    assert microscope.camera.pixel_size_um == 0.345
    assert instrument.settings.approach.delta_um == 2.0
    assert microscope.depth_of_field_um == pytest.approx(1.21, abs=0.005)
    assert (instrument.specimen, instrument.seed) == ("he-tissue", 0)


def test_simulated_40x_is_what_it_promises():
    instrument = open_microscope("simulated-40x")
    microscope = instrument.microscope
    assert (microscope.objective.magnification, microscope.objective.na) == (40, 0.65)
    assert microscope.camera.frame_shape == (1856, 1856)
    assert microscope.camera.pixel_size_um == 0.1725
    assert instrument.settings.approach.delta_um == 3.0
    assert microscope.depth_of_field_um == pytest.approx(1.43, abs=0.005)


def test_the_papers_instrument_is_what_it_promises():
    instrument = open_microscope("paper-40x")
    microscope = instrument.microscope
    assert (microscope.objective.magnification, microscope.objective.na) == (40, 0.65)
    assert microscope.camera.frame_shape[0] * microscope.camera.pixel_size_um == pytest.approx(320.0, abs=0.5)
    assert instrument.settings.approach.delta_um == 3.0
    assert microscope.decision_time_s == 0.015


def test_by_default_a_scan_visits_the_tissue_and_goes_by_the_surface(small_toml):
    settings = open_microscope(small_toml()).settings
    assert (settings.policy, settings.everywhere) == ("surface", False)
    assert (settings.arrival_error_um, settings.sure_of_dof) == (0.17, 0.10)


def test_an_instruments_file_says_how_it_scans(small_toml):
    table = '[scan]\npolicy = "paper"\neverywhere = true\narrival_error_um = 0.3\nsure_of_dof = 0.1\n[xy]'
    settings = open_microscope(small_toml("[xy]", table)).settings
    assert (settings.policy, settings.everywhere) == ("paper", True)
    assert (settings.arrival_error_um, settings.sure_of_dof) == (0.3, 0.1)


@pytest.mark.parametrize("name", instrument_names())
def test_a_built_in_instrument_closes_the_slack_that_it_really_has(name):
    approach = open_microscope(name).settings.approach
    assert approach.backlash_um == 20.0
    assert approach.take_up_um >= approach.backlash_um + approach.margin_um


def frame_of(instrument):
    instrument.microscope.lamp.on()
    return instrument.microscope.camera.snap()


@pytest.mark.parametrize("specimen", specimen_names())
def test_every_specimen_opens_and_the_seed_fixes_it(small_toml, specimen):
    path = small_toml()
    first, again, other = (frame_of(open_microscope(path, specimen, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_opening_an_instrument_leaves_the_lamp_off_and_the_clock_at_zero(small_toml):
    microscope = open_microscope(small_toml()).microscope
    assert not microscope.lamp.is_on
    assert microscope.clock.now_s == 0


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(SettingsError, match=rf"seed {seed} is not between 0 and 2147483647"):
        open_microscope("simulated-20x", seed=seed)


def test_an_unknown_instrument_names_the_known_ones():
    with pytest.raises(SettingsError, match=r"'simulated-10x'.*simulated-20x, simulated-40x.*toml"):
        open_microscope("simulated-10x")


def test_an_unknown_specimen_names_the_known_ones(small_toml):
    with pytest.raises(SettingsError, match=r"'cheese'.*he-tissue.*blood-smear.*gram-smear.*image:PATH"):
        open_microscope(small_toml(), "cheese")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("take_up_um = 22.0", "take_up_um = 14.0"), r"take-up .* 14 µm .* backlash of 20 µm .* at least 21 µm"),
        (("delta_um = 2.0", "delta_um = 0.0"), r"approach\.delta_um: .* greater than 0, got 0\.0"),
        (("na = 0.75", "na = 1.25"), r"numerical aperture 1\.25 .* immersion index 1"),
        (("lowest_um = -20.0", "lowest_um = -110.0"), r"from -132 µm .* outside the limits -120 … 120 µm"),
        (("lowest_um = -120.0", "lowest_um = 130.0"), r"z limits 130 … 120 µm leave no room"),
        (("step_um = 4.0", "step_um = 40.0"), r"steps of 40 µm has fewer than 3 planes"),
        (("frame_shape = [240, 320]", "frame_shape = [0, 320]"), r"320 × 0 pixels|0 × 320 pixels"),
        (('kind = "simulated"', 'kind = "toy"'), r"kind: .*'simulated'.*got 'toy'"),
        (("delta_um = 2.0", "delta_mm = 0.002"), r"approach\.delta_"),
        (("delta_um = 2.0", ""), r"approach\.delta_um: Field required"),
        (("xy_backlash_um = 80.0", "xy_backlash_um = -1"), r"simulated\.xy_backlash_um: .* greater than or equal to 0"),
        (("[xy]", '[scan]\npolicy = "luck"\n[xy]'), r"scan\.policy: .*'surface'.*got 'luck'"),
        (("[xy]", "[scan]\narrival_error_um = 0.0\n[xy]"), r"scan\.arrival_error_um: .* greater than 0, got 0\.0"),
        (("[xy]", "[scan]\nsure_of_dof = 0.7\n[xy]"), r"sure_of_dof 0\.7 is not a share above 0 and below 0\.5"),
        (("xy_backlash_um = 80.0", "condenser_ratio = 1.5"), r"condenser ratio 1\.5 is not above 0 and at most 1"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_setting_that_cannot_work_is_named_with_its_value_and_its_limit(small_toml, changes, message):
    with pytest.raises(SettingsError, match=message):
        open_microscope(small_toml(*changes))


@pytest.mark.parametrize(
    ("content", "message"), [(b"name = ", "is not TOML"), (b"\xff\xfe", "is not TOML")], ids=["toml", "text"]
)
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, message):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        open_microscope(str(path))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"absent\.toml: cannot be read: No such file"):
        open_microscope(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize("content", [b"", b"not an image"], ids=["empty", "text"])
def test_a_specimen_image_that_cannot_be_read_is_refused(small_toml, tmp_path, content):
    path = tmp_path / "specimen.png"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"specimen\.png"):
        open_microscope(small_toml(), f"image:{path}")


def test_a_corrupt_network_is_refused_by_name(small_toml, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(b"\x08\x07 this is no network")
    with pytest.raises(InputError, match=r"network\.onnx"):
        open_microscope(small_toml()).predictor(path)


def test_the_lamp_of_an_instrument_can_be_put_out_by_whoever_knows_its_name(small_toml, tmp_path):
    name = small_toml("[simulated]", f'[simulated]\nlamp_file = "{(tmp_path / "lamp").as_posix()}"')
    instrument = open_microscope(name)
    instrument.microscope.lamp.on()
    assert instrument.lamp_name == name
    with open_lamp(instrument.lamp_name) as lamp:
        lamp.off()
    assert not instrument.microscope.lamp.is_on


def test_a_lamp_that_ends_with_its_process_cannot_be_opened_by_another():
    assert open_microscope("simulated-20x").lamp_name is None
    with pytest.raises(SettingsError, match="no other can reach it"), open_lamp("simulated-20x"):
        pass
