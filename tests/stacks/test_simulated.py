"""Simulated test sets: what the two protocols draw, and what is written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.evaluation.pairing import DELTA_U, pair_up
from parfocal.merit import tenengrad
from parfocal.optics.abbe import AbbeOptics, Exposure
from parfocal.stacks.protocol import DEFAULT_LENS, LENSES, draw_scene
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.simulated import (
    SetSettings,
    best_focus_of,
    find_images,
    render,
    start_set,
    synthesize,
    synthesize_stack,
)

TILE, PLANES = (1, 1), 41
SETTINGS = SetSettings("different", 3, "fast", TILE)
TRAINED = {"he-tissue", "leaves", "blood-smear", "gram-smear", "unstained"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two stacks of one tile by the fast light."""
    folder = tmp_path_factory.mktemp("sets") / "different"
    start_set(folder, SETTINGS)
    for index in range(2):
        synthesize_stack(folder, SETTINGS, index)
    return folder


def scenes(protocol, count=150):
    return [draw_scene(protocol, np.random.default_rng((9, i)), (4, 5)) for i in range(count)]


def test_a_stack_has_41_planes_half_a_micrometre_apart_around_the_best_focus(folder):
    for stack in read_stacks(folder):
        assert len(stack.files) == PLANES
        np.testing.assert_allclose(np.diff(stack.z), 0.5, atol=0.002)
        assert min(stack.z) - stack.best_z == pytest.approx(-10, abs=0.26)
        assert stack.kind == "simulated"
        assert stack.plane(0).shape == (224, 224, 3)


def test_what_the_stage_was_told_differs_from_where_it_was_by_the_error_of_an_arrival(folder):
    errors = np.concatenate([np.subtract(stack.true_z, stack.z) for stack in read_stacks(folder)])
    assert 0.12 < errors.std() < 0.22
    assert np.abs(errors).max() <= 0.5001
    stack = read_stacks(folder)[0]
    assert stack.defocus(5) == pytest.approx(stack.true_z[5] - stack.best_z)


def test_the_sharpest_frame_is_where_the_label_says(folder):
    for stack in read_stacks(folder):
        sharpest = int(np.argmax([tenengrad(stack.plane(index)) for index in range(PLANES)]))
        assert abs(stack.defocus(sharpest)) < 1.6  # one tile, noise, JPEG, and a peak that is flat over the thickness


def test_best_focus_lies_where_planes_on_either_side_lose_sharpness():
    scene = draw_scene("same", np.random.default_rng(4), TILE)
    best = best_focus_of(scene, "fast")
    light = render(scene, "fast", [Exposure(best + offset) for offset in (-1.5, -0.3, 0.0, 0.3, 1.5)])
    sharpness = [tenengrad(plane) for plane in light]
    assert max(sharpness) == sharpness[2]
    assert min(sharpness[1:4]) > max(sharpness[0], sharpness[4])


def test_the_same_seed_and_number_give_the_same_bytes(folder, tmp_path):
    again = synthesize_stack(tmp_path, SETTINGS, 1)
    for file in sorted((folder / "field-001").iterdir()):
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_finished_stack_is_left_alone_and_an_unfinished_one_is_made_again(folder, tmp_path):
    unfinished = tmp_path / ".field-000.part"
    unfinished.mkdir()
    (unfinished / "z-00.png").write_bytes(b"half")
    path = synthesize_stack(tmp_path, SETTINGS, 0)
    assert not unfinished.exists()
    stamp = (path / "stack.json").stat().st_mtime_ns
    assert synthesize_stack(tmp_path, SETTINGS, 0) == path
    assert (path / "stack.json").stat().st_mtime_ns == stamp
    assert len(read_stacks(tmp_path)) == 1


@pytest.mark.slow
def test_several_processes_render_the_same_set(folder, tmp_path):
    told = []
    synthesize(tmp_path, SETTINGS, 2, jobs=2, on_progress=lambda *progress: told.append(progress))
    assert told == [("rendering stacks", 1, 2), ("rendering stacks", 2, 2)]
    for name in ("field-000", "field-001"):
        assert (tmp_path / name / "stack.json").read_bytes() == (folder / name / "stack.json").read_bytes()


def test_the_description_tells_seed_version_and_settings(folder):
    description = json.loads((folder / "field-000" / "stack.json").read_text())
    assert description["seed"] == 3
    assert description["version"]
    assert description["renderer"] == "fast"
    assert 5_000 <= description["settings"]["full_well_e"] <= 12_000


def test_both_protocols_draw_the_ranges_that_the_test_set_promises():
    for protocol in ("same", "different"):
        drawn = scenes(protocol)
        thickness = [scene.specimen.specimen.appearance.thickness_um for scene in drawn]
        tilt = [np.hypot(*scene.specimen.specimen.topography.tilt_um_per_mm) for scene in drawn]
        shift = [scene.illumination.focal_shift_um[0] - scene.illumination.focal_shift_um[2] for scene in drawn]
        for values, low, high in ((thickness, 0, 4), (tilt, 0, 4), (shift, 0.2, 0.8)):
            assert low <= min(values) < low + 0.1 * (high - low)
            assert high >= max(values) > high - 0.1 * (high - low)
        empty = np.mean([len(scene.specimen.bare_um) / 20 for scene in drawn])
        assert 0.08 < empty < 0.12


def test_different_draws_what_training_never_draws():
    same, different = scenes("same"), scenes("different")
    assert {scene.kind for scene in same} <= TRAINED
    assert {"marrow", "body-fluid", "semen"} <= {scene.kind for scene in different}
    assert not {"marrow", "body-fluid", "semen"} & TRAINED
    assert min(abs(scene.illumination.spherical_waves) for scene in different) >= 0.1
    assert all(not 0.4 < scene.illumination.condenser_ratio < 0.9 for scene in different)


def test_the_draws_of_the_frozen_sets_stay_what_they_are():
    scene = draw_scene("same", np.random.default_rng(4), (4, 5))
    assert scene.kind == "gram-smear"
    drawn = (scene.x_um, scene.illumination.condenser_ratio, scene.sensor.full_well_e, scene.flicker)
    assert drawn == pytest.approx((1073.5583199502962, 0.4939014006954512, 8760.195958498716, 0.008202678035179439))
    assert scene.illumination.focal_shift_um == pytest.approx((0.18492577655906128, 0, -0.2910238310900277))
    assert (scene.lens.pixel_um, scene.lens.step_um, scene.lens.planes) == (0.345, 0.5, PLANES)


def test_every_lens_sees_the_same_slide():
    usual = draw_scene("different", np.random.default_rng(8), (2, 3))
    for name, lens in LENSES.items():
        scene = draw_scene("different", np.random.default_rng(8), (2, 3), lens=lens)
        assert (scene.kind, scene.x_um, scene.specimen.specimen) == (usual.kind, usual.x_um, usual.specimen.specimen)
        assert scene.sensor == usual.sensor
        assert scene.illumination.objective == lens.objective
        red_um, _, blue_um = usual.illumination.focal_shift_um
        in_um = name in (DEFAULT_LENS, "40x0.65")
        ratio = 1 if in_um else lens.u_ratio
        assert scene.illumination.focal_shift_um == pytest.approx((ratio * red_um, 0, ratio * blue_um))


def test_through_40x_a_stack_reaches_25_micrometres_and_pairs_are_3_apart(tmp_path):
    (stack,) = read_stacks(synthesize_stack(tmp_path, replace(SETTINGS, lens="40x0.65"), 0))
    assert len(stack.z) == 51
    np.testing.assert_allclose(np.diff(stack.z), 1.0, atol=0.002)
    assert min(stack.z) - stack.best_z == pytest.approx(-25, abs=0.51)
    optics = stack.optics
    assert (optics.magnification, optics.na, optics.immersion_index, optics.pixel_size_um) == (40, 0.65, 1.0, 0.398)
    assert {second - first for first, second in pair_up(stack, (2.0, 3.2)).pairs} == {3}
    assert np.abs(np.subtract(stack.true_z, stack.z)).max() <= 0.5001
    sharpest = int(np.argmax([tenengrad(stack.plane(index)) for index in range(len(stack.z))]))
    assert abs(stack.defocus(sharpest)) < 2.5


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LENSES if name != "40x0.65"])
def test_through_any_other_lens_a_stack_looks_like_one_at_20x(name, tmp_path):
    lens = LENSES[name]
    (stack,) = read_stacks(synthesize_stack(tmp_path, replace(SETTINGS, lens=name), 1))
    unit_um = lens.objective.canonical_z_um
    assert np.median(np.diff(stack.z)) / unit_um == pytest.approx(DELTA_U / 4, rel=0.005)
    pairing = pair_up(stack, (2.0, 3.2))
    assert {second - first for first, second in pairing.pairs} == {4}
    assert pairing.lens == lens.objective
    assert (
        np.abs(np.subtract(stack.true_z, stack.z)).max() / unit_um
        <= 0.5001 / LENSES[DEFAULT_LENS].step_um * DELTA_U / 4
    )


def test_a_bare_tile_keeps_little_of_the_specimen():
    for number in range(50):
        scene = draw_scene("same", np.random.default_rng((1, number)), (2, 2))
        if len(scene.specimen.bare_um) == 1:
            break
    (light,) = render(scene, "fast", [Exposure(0.0)])
    tiles = light.reshape(2, 224, 2, 224, 3)[:, 30:-30, :, 30:-30].std(axis=(1, 3, 4)).ravel()
    assert tiles.min() < 0.2 * np.median(tiles)


def test_textures_make_a_third_of_the_stacks_of_the_different_protocol(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (900, 900, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "tissue.png"), cv2.GaussianBlur(image, (0, 0), 2))
    (texture,) = find_images(tmp_path)
    kinds = [draw_scene("different", np.random.default_rng((2, i)), TILE, [texture]).kind for i in range(60)]
    assert 10 <= kinds.count("tissue.png") <= 30


def test_another_set_in_the_folder_is_refused(folder):
    with pytest.raises(SettingsError, match=r"holds another set.*seed.*4"):
        start_set(folder, replace(SETTINGS, seed=4))


def test_a_set_of_another_lens_is_refused_and_one_that_names_none_is_at_20x(tmp_path):
    start_set(tmp_path, SETTINGS)
    with pytest.raises(SettingsError, match=r"holds another set.*lens.*40x0.65"):
        start_set(tmp_path, replace(SETTINGS, lens="40x0.65"))
    before = json.loads((tmp_path / "set.json").read_text())
    del before["lens"]
    (tmp_path / "set.json").write_text(json.dumps(before))
    start_set(tmp_path, SETTINGS)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(SettingsError, match="textures go with the protocol different"):
        start_set(tmp_path / "set", SetSettings("same", 1, textures=(tmp_path / "tissue.png",)))
    with pytest.raises(FileError, match="holds no image"):
        find_images(tmp_path)
    (tmp_path / "set.json").write_text("{")
    with pytest.raises(FileError, match=r"set\.json: is not JSON"):
        start_set(tmp_path, SETTINGS)


@pytest.mark.long
def test_the_label_of_the_slow_light_is_the_peak_of_the_slow_light(tmp_path):
    path = synthesize_stack(tmp_path, SetSettings("same", 5, "abbe", TILE), 0)
    (stack,) = read_stacks(path)
    sharpest = int(np.argmax([tenengrad(stack.plane(index)) for index in range(PLANES)]))
    assert abs(stack.defocus(sharpest)) < 1.6


@pytest.mark.long
def test_the_slow_light_takes_more_source_points_where_a_stack_reaches_25_micrometres():
    scene = replace(draw_scene("same", np.random.default_rng(1), TILE, lens=LENSES["40x0.65"]), shape=(64, 64))
    exposures = [Exposure(z_um) for z_um in (25.0, -25.0, 0.0)]
    far, _, focus = render(scene, "abbe", exposures)
    optics = [AbbeOptics(scene.specimen, scene.illumination, source_points=points) for points in (40, 400)]
    usual, many = (o.field(scene.x_um, scene.y_um, scene.shape, scene.lens.pixel_um) for o in optics)
    reference, few = (light.plane(25.0, (1,))[..., 0] for light in (many, usual))
    assert (far[..., 1] - reference).std() < 0.5 * (few - reference).std()
    np.testing.assert_array_equal(focus, usual.plane(0.0))
