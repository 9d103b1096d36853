"""An acquisition of pymmcore-plus focuses with Parfocal, on a stage with real backlash."""

from pathlib import Path

import pytest

useq = pytest.importorskip("useq")
pytest.importorskip("pymmcore_plus")

from pymmcore_plus.mda import MDAEngine  # noqa: E402

from parfocal.config import open_microscope  # noqa: E402
from parfocal.devices.micromanager.offered import OfferedZStage, offer  # noqa: E402
from parfocal.errors import LimitError, SettingsError  # noqa: E402
from parfocal.micromanager.autofocus import ACTION, FocusingEngine, instrument_on  # noqa: E402

DEVICES = """
[devices.micromanager]
driver = "micromanager"
configuration = "not loaded here"
xy_limits_um = [[-12500.0, 12500.0], [-12500.0, 12500.0]]
z_limits_um = [-500.0, 500.0]
"""
CHECKED = "[focus]\nreturn_within_um = 2.0\npeak_tolerance_um = 0.25\n"
PLACES = [(0.0, 0.0), (150.0, 60.0)]
HALF_DEPTH_UM = 0.61


@pytest.fixture(scope="module")
def simulated(small_toml):
    return open_microscope(small_toml(), "blood-smear", seed=1)


@pytest.fixture(scope="module")
def core(simulated):
    core = offer(simulated.microscope)
    yield core
    core.unloadAllDevices()


@pytest.fixture(scope="module")
def toml(small_toml):
    """The small instrument, its devices those of a core."""
    return small_toml(
        'kind = "simulated"', 'kind = "devices"', "[simulated]\nxy_backlash_um = 80.0\n", CHECKED + DEVICES
    )


@pytest.fixture
def steps():
    return []


@pytest.fixture
def run(core, simulated, toml, steps):
    """Run a sequence; gives, for each image, how far from the best focus its stage truly stood, in µm."""

    def go(sequence, **settings):
        off_um = []

        def look(*_):
            x_um, y_um, z_um = simulated.truth.stage_position_um
            off_um.append(z_um - simulated.truth.best_focus_um(x_um, y_um))

        engine = FocusingEngine(core, toml, on_focus=lambda event, result: steps.append((event, result)), **settings)
        core.setPosition(-60.0)  # so that the first place is reached from below, the slack closed
        core.mda.set_engine(engine)
        core.mda.events.frameReady.connect(look)
        try:
            core.mda.run(sequence)
        finally:
            core.mda.events.frameReady.disconnect(look)
            core.mda.set_engine(MDAEngine(core))
        return off_um

    return go


def away_from_focus(simulated, by_um):
    return [(x, y, simulated.truth.best_focus_um(x, y) + by_um) for x, y in PLACES]


def test_each_place_is_focused_before_its_image(run, steps, simulated, network):
    places = away_from_focus(simulated, by_um=-4.0)
    sequence = useq.MDASequence(stage_positions=places, autofocus_plan=useq.AxesBasedAF(axes=("p",)))
    off_um = run(sequence)
    assert [result.verdict for _, result in steps] == ["focused"] * len(PLACES)
    assert len(off_um) == len(PLACES)
    assert max(map(abs, off_um)) <= HALF_DEPTH_UM
    assert not simulated.microscope.lamp.is_on


def test_without_the_step_the_same_images_are_out_of_focus(run, steps, simulated, network):
    off_um = run(useq.MDASequence(stage_positions=away_from_focus(simulated, by_um=-4.0)))
    assert steps == []
    assert min(map(abs, off_um)) > HALF_DEPTH_UM


def test_what_follows_at_a_place_is_moved_by_as_much(run, simulated, core, network):
    exposed_um = []
    core.mda.events.frameReady.connect(lambda *_: exposed_um.append(core.getPosition()))
    (x, y, z), _ = away_from_focus(simulated, by_um=3.0)
    sequence = useq.MDASequence(
        stage_positions=[(x, y, z)],
        z_plan=useq.ZRelativePositions(relative=[0.0, 2.0]),
        autofocus_plan=useq.AxesBasedAF(axes=("p",)),
    )
    off_um = run(sequence)
    assert len(off_um) == 2
    assert exposed_um[1] - exposed_um[0] == pytest.approx(2.0)
    assert abs(off_um[0]) <= HALF_DEPTH_UM


def test_a_custom_action_is_the_same_step(run, steps, simulated, network):
    x, y, z = away_from_focus(simulated, by_um=2.0)[0]
    step = useq.MDAEvent(x_pos=x, y_pos=y, z_pos=z, action=useq.CustomAction(name=ACTION))
    off_um = run([step, useq.MDAEvent(x_pos=x, y_pos=y, z_pos=z)])
    assert [result.verdict for _, result in steps] == ["focused"]
    assert abs(off_um[0]) <= HALF_DEPTH_UM


class Doubtful:
    """A network that is never sure."""

    def __init__(self, predictor):
        self._predictor = predictor

    def measure(self, first, second):
        return self._predictor.measure(first, second)

    def predict(self, first, second, delta_um):
        from dataclasses import replace

        return replace(self._predictor.predict(first, second, delta_um), spread_um=9.0)


def test_where_no_focus_is_found_the_plan_stands(run, steps, simulated, caplog, network):
    (x, y, z), _ = away_from_focus(simulated, by_um=-4.0)
    sequence = useq.MDASequence(stage_positions=[(x, y, z)], autofocus_plan=useq.AxesBasedAF(axes=("p",)))
    off_um = run(sequence, predictor=Doubtful(simulated.predictor()))
    assert [result.verdict for _, result in steps] == ["unsure"]
    assert off_um[0] == pytest.approx(-4.0, abs=1.0)
    assert "z stays as planned" in caplog.text


def test_only_an_instrument_of_real_devices_can_lie_on_a_core(core, small_toml):
    with pytest.raises(SettingsError, match='an autofocus needs kind = "devices"'):
        instrument_on(core, small_toml())


def test_a_z_outside_the_instruments_limits_is_refused_before_any_motion(run, core, simulated):
    """The soft limits are -120 … 120 µm, the stage's own lie far outside."""
    with pytest.raises(LimitError, match=r"z 130\.00 µm is outside the limits -120 … 120 µm"):
        run([useq.MDAEvent(x_pos=300.0, y_pos=0.0, z_pos=130.0)])
    assert core.getPosition() == -60.0
    assert simulated.microscope.xy.position_um != (300.0, 0.0)


def test_so_is_one_that_the_focus_has_shifted_there(run, steps, core, simulated, network):
    """The focus lies 4 µm above the plan: what the plan has 2 µm below the limit is refused."""
    (x, y, z), _ = away_from_focus(simulated, by_um=-4.0)
    there = {"x_pos": x, "y_pos": y, "index": {"p": 0}}
    focusing = useq.MDAEvent(**there, z_pos=z, action=useq.CustomAction(name=ACTION))
    with pytest.raises(LimitError, match="outside the limits -120 … 120 µm"):
        run([focusing, useq.MDAEvent(**there, z_pos=118.0)])
    assert [result.verdict for _, result in steps] == ["focused"]
    assert core.getPosition() < 50.0


def test_an_inverted_axis_has_its_limits_the_other_way_round(core, simulated, toml, tmp_path):
    text = Path(toml).read_text(encoding="utf-8").replace("lowest_um = -120.0", "lowest_um = -90.0", 1)
    path = tmp_path / "inverted.toml"
    path.write_text(text.replace('driver = "micromanager"', 'driver = "micromanager"\ninvert = ["z"]'))
    engine = FocusingEngine(core, path)
    with pytest.raises(LimitError, match=r"z -100\.00 µm is outside the limits -90 … 120 µm"):
        engine.setup_event(useq.MDAEvent(z_pos=100.0))


def test_the_slack_is_closed_anew_after_the_plan_has_moved_z(core, simulated, toml, tmp_path, monkeypatch, network):
    """With the first image at the pivot itself, a guard that had not seen the plan go down would not go below it."""
    path = tmp_path / "at-the-pivot.toml"
    path.write_text(Path(toml).read_text(encoding="utf-8").replace("start_below_um = 6.0", "start_below_um = 0.0"))
    z = simulated.truth.best_focus_um(0.0, 0.0)
    focusing = {"x_pos": 0.0, "y_pos": 0.0, "action": useq.CustomAction(name=ACTION)}
    engine = FocusingEngine(core, path, predictor=Doubtful(simulated.predictor()))
    moves_um, move_to = [], simulated.microscope.z.move_to
    monkeypatch.setattr(simulated.microscope.z, "move_to", lambda z_um: (moves_um.append(z_um), move_to(z_um)))
    for z_um in (z, z - 15.0):
        event = useq.MDAEvent(**focusing, z_pos=z_um)
        engine.setup_event(event)
        moves_um.clear()
        list(engine.exec_event(event))
    assert moves_um[0] == pytest.approx(z - 15.0 - 22.0)


def test_plan_and_instrument_must_mean_the_same_drive(core, toml):
    core.loadPyDevice("Piezo", OfferedZStage(lambda: None))
    core.initializeDevice("Piezo")
    engine = FocusingEngine(core, toml)
    core.setFocusDevice("Piezo")
    try:
        with pytest.raises(SettingsError, match=r"moves z by Piezo, the instrument by Z: .*setFocusDevice\('Z'\)"):
            engine.setup_sequence(useq.MDASequence())
    finally:
        core.setFocusDevice("Z")
        core.unloadDevice("Piezo")
