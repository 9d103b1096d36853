"""Field policies against each other, over slides that are easy and slides that are not: exposures, focus, time.

A slide of 15 × 15 mm at 40X has 2,700 fields. They are not rendered: the stages, the clock and the control code are the
real ones, what they see is drawn from an error model (`modelled`). A part of each kind of slide is rendered in full
beside it, to see that the two agree (`rendered_check`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy.stats import binomtest

from parfocal.benchmark.bank import ILLUMINATION, SPECIMENS, Bank, read_bank
from parfocal.benchmark.modelled import modelled_scan
from parfocal.benchmark.slides import SLIDE_NAMES, SLIDES, PolicySlide, SlideKind
from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import CameraSettings, SimulatedSettings, simulated_microscope
from parfocal.errors import InstrumentError
from parfocal.focus.field import Eyes, eyes_of
from parfocal.focus.policies import PolicyName
from parfocal.focus.predictor import Predictor
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import make_sample
from parfocal.optics.sensor import Sensor
from parfocal.scan.plan import PlannedField, ScanPlan, plan_scan
from parfocal.scan.run import ScanRun
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.records import FieldRecord

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
COSTLY: tuple[PolicyName, ...] = ("stack", "sweep")
"""Policies of dozens of exposures a field: they run on a part of each slide."""

AREA_MM, COSTLY_AREA_MM, QUICK_AREA_MM, RENDERED_AREA_MM = 15.0, 4.2, 3.0, 4.2
SEEDS = (1, 2, 3)

_XY_LIMITS_UM = ((-12_300.0, 12_500.0), (-12_300.0, 12_500.0))  # with room to come from below
_BORDER = 0.16


@dataclass(frozen=True)
class Bench:
    """The instrument that all policies run on.

    Attributes:
        objective: its lens.
        sensor_pixel_um: unbinned, in µm.
        decision_time_s: of one decision.
        frame_shape: (Y, X) in pixels.
        pixel_size_um: in the specimen, in µm.
        settings: how it scans; the policy is replaced.
    """

    objective: Objective
    sensor_pixel_um: float
    decision_time_s: float
    frame_shape: tuple[int, int]
    pixel_size_um: float
    settings: ScanSettings

    @classmethod
    def of(cls, microscope: Microscope, settings: ScanSettings) -> Bench:
        """The bench with an opened instrument's lens, camera and settings."""
        camera = microscope.camera
        return cls(
            microscope.objective,
            microscope.sensor_pixel_um,
            microscope.decision_time_s,
            camera.frame_shape,
            camera.pixel_size_um,
            settings,
        )

    @property
    def half_depth_um(self) -> float:
        """Half the depth of field in µm."""
        return self.objective.depth_of_field_um(self.sensor_pixel_um) / 2

    def plan(self, side_mm: float) -> ScanPlan:
        """A square in the middle of the stage."""
        error_um = self.settings.neighbour_error_um
        return plan_scan((side_mm, side_mm), self.frame_shape, self.pixel_size_um, error_um, _XY_LIMITS_UM)


@dataclass(frozen=True)
class PolicyRow:
    """One policy on one slide.

    Attributes:
        policy: its name.
        slide: name of the slide.
        kind: of the slide.
        seed: of slide and errors.
        source: "modelled", or "rendered" where each frame was.
        tissue_fields: how many the slide has.
        visited: fields visited, empty ones too.
        images_per_field: exposures, overview and re-scans included, for each field visited.
        in_focus_fraction: share of the tissue fields in focus by the first attempt.
        in_focus_after_rescan: the same at the end.
        unflagged_wrong: tissue fields out of focus at the end that the scan calls focused and does not doubt.
        flagged: fields in doubt at the end.
        rescanned: fields taken again.
        tissue_coverage: share of the tissue fields that were visited.
        modelled_time_s: from the first move to the last frame.
        mean_abs_error_um: of the frames kept of tissue fields, in µm.
        stopped: why the scan ended before its end; None if it did not.
    """

    policy: str
    slide: str
    kind: SlideKind
    seed: int
    source: str
    tissue_fields: int
    visited: int
    images_per_field: float
    in_focus_fraction: float
    in_focus_after_rescan: float
    unflagged_wrong: int
    flagged: int
    rescanned: int
    tissue_coverage: float
    modelled_time_s: float
    mean_abs_error_um: float | None
    stopped: str | None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Task:
    policy: PolicyName
    slide: str
    seed: int
    side_mm: float


OnProgress = Callable[[str, int, int], None]


def measure_policies(
    bench: Bench,
    quick: bool = False,
    jobs: int | None = None,
    on_progress: OnProgress | None = None,
    policies: Sequence[PolicyName] = POLICIES,
    slides: Sequence[str] = SLIDE_NAMES,
) -> list[PolicyRow]:
    """Run every policy over every slide, three seeds each; `quick`: one seed, and 3 × 3 mm of each slide.

    Args:
        bench: the instrument.
        quick: less of everything.
        jobs: processes; one for each core unless told.
        on_progress: told what, how many scans are done, how many there are.
        policies: which ones.
        slides: names of those of `SLIDES` to scan.
    """
    tasks = [
        _Task(policy, slide, seed, _side_mm(policy, quick))
        for policy in policies
        for slide in slides
        for seed in (SEEDS[:1] if quick else SEEDS)
    ]
    rows: list[PolicyRow] = []
    with multiprocessing.get_context("spawn").Pool(min(jobs or os.cpu_count() or 1, len(tasks))) as pool:
        for row in pool.imap(partial(_measure, bench), tasks):
            rows.append(row)
            if on_progress:
                on_progress("policies", len(rows), len(tasks))
    return rows


def _side_mm(policy: PolicyName, quick: bool) -> float:
    if quick:
        return QUICK_AREA_MM
    return COSTLY_AREA_MM if policy in COSTLY else AREA_MM


def error_model() -> Bank:
    """The bank of rendered fields that comes with Parfocal."""
    return read_bank(Path(str(resources.files("parfocal") / "benchmark" / "error-model.npz")))


def _measure(bench: Bench, task: _Task) -> PolicyRow:
    """One policy on one modelled slide."""
    slide, plan = slide_named(task.slide), bench.plan(task.side_mm)
    scan = modelled_scan(
        slide,
        plan,
        error_model(),
        task.seed,
        bench.objective,
        bench.sensor_pixel_um,
        bench.decision_time_s,
        bench.frame_shape,
        bench.pixel_size_um,
    )
    known = next(field for field in plan if scan.slide.texture((field.row, field.column)) is not None)
    tissue = [field for field in plan if scan.slide.texture((field.row, field.column)) is not None]
    started = _Started(scan.microscope, scan.eyes, scan.truth, known, scan.known_um(known))
    return _run(bench, slide, plan, task.policy, task.seed, "modelled", started, tissue)


def rendered_check(
    bench: Bench,
    predictor: Predictor,
    policies: Sequence[PolicyName] = ("surface",),
    slides: Sequence[str] = ("tissue", "rugged"),
    side_mm: float = RENDERED_AREA_MM,
    seed: int = 1,
    on_progress: OnProgress | None = None,
) -> list[PolicyRow]:
    """A slide of each kind with every frame rendered and shown to the network, and beside it the modelled one.

    Args:
        bench: the instrument.
        predictor: its network.
        policies: which ones.
        slides: names of slides.
        side_mm: of the square that is scanned; 4.2 mm have over 200 fields.
        seed: of slides and errors.
        on_progress: told what, how many scans are done, how many there are.
    """
    rows: list[PolicyRow] = []
    tasks = [_Task(policy, slide, seed, side_mm) for policy in policies for slide in slides]
    for done, task in enumerate(tasks, 1):
        rows += [_measure(bench, task), _render(bench, predictor, task)]
        if on_progress:
            on_progress("rendering", done, len(tasks))
    return rows


def _render(bench: Bench, predictor: Predictor, task: _Task) -> PolicyRow:
    """One policy on one rendered slide of the same relief, with the first of its textures."""
    slide, plan = slide_named(task.slide), bench.plan(task.side_mm)
    relief = slide.relief(task.seed)
    sample, look = SPECIMENS[slide.textures[0]]
    optics = SlideOptics(make_sample(sample, task.seed, relief, look), ILLUMINATION)
    settings = SimulatedSettings(
        name="paper-40x",
        objective=bench.objective,
        sensor_pixel_um=bench.sensor_pixel_um,
        decision_time_s=bench.decision_time_s,
        camera=CameraSettings(frame_shape=bench.frame_shape, pixel_size_um=bench.pixel_size_um),
    )

    def surface_um(x_um: float, y_um: float) -> float:
        return float(relief.focus_z_um(np.array([x_um]), np.array([y_um]))[0])

    microscope, truth = simulated_microscope(optics, Sensor(seed=task.seed), settings, surface_um, task.seed)
    first = next(iter(plan))
    known_um = truth.best_focus_um(first.x_um, first.y_um) + 0.5
    eyes = eyes_of(microscope, predictor, _BORDER)
    tissue = [field for field in plan if truth.is_tissue(field.x_um, field.y_um)]
    started = _Started(microscope, eyes, truth, first, known_um)
    return _run(bench, slide, plan, task.policy, task.seed, "rendered", started, tissue)


@dataclass(frozen=True)
class _Started:
    """An instrument over a slide, and one field whose focus is known to begin with."""

    microscope: Microscope
    eyes: Eyes
    truth: Truth
    known: PlannedField
    known_um: float


def _run(
    bench: Bench,
    slide: PolicySlide,
    plan: ScanPlan,
    policy: PolicyName,
    seed: int,
    source: str,
    started: _Started,
    tissue: Iterable[PlannedField],
) -> PolicyRow:
    microscope = started.microscope
    run = ScanRun(microscope, replace(bench.settings, policy=policy), started.eyes, plan, started.truth)
    run.begin_at(started.known, started.known_um)
    records: list[FieldRecord] = []
    stopped: str | None = None
    began_s = microscope.clock.now_s
    try:
        with lamp_lit(microscope.lamp):
            records.extend(record for record, _ in run.fields())
    except InstrumentError as error:
        stopped = str(error)
    firsts = {record.index: record for record in records if record.attempt == 1}
    lasts = {record.index: record for record in records}
    wanted = [field.index for field in tissue]
    first_off_um = _off_um(firsts, wanted, started.truth)
    last_off_um = _off_um(lasts, wanted, started.truth)
    wrong = [index for index, off_um in zip(wanted, last_off_um, strict=True) if not off_um <= bench.half_depth_um]
    doubted = set(run.in_doubt)
    unflagged = [i for i in wrong if i in lasts and lasts[i].verdict == "focused" and i not in doubted]
    kept_um = last_off_um[np.isfinite(last_off_um)]
    return PolicyRow(
        policy=policy,
        slide=slide.name,
        kind=slide.kind,
        seed=seed,
        source=source,
        tissue_fields=len(wanted),
        visited=len(lasts),
        images_per_field=run.images / max(len(lasts), 1),
        in_focus_fraction=float(np.mean(first_off_um <= bench.half_depth_um)),
        in_focus_after_rescan=float(np.mean(last_off_um <= bench.half_depth_um)),
        unflagged_wrong=len(unflagged),
        flagged=len(doubted),
        rescanned=len(run.rescanned),
        tissue_coverage=sum(index in lasts for index in wanted) / max(len(wanted), 1),
        modelled_time_s=microscope.clock.now_s - began_s,
        mean_abs_error_um=float(kept_um.mean()) if kept_um.size else None,
        stopped=stopped,
    )


def _off_um(records: dict[int, FieldRecord], wanted: list[int], truth: Truth) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far from best focus each wanted field was kept, in µm; infinite where it was not, or not as focused."""
    off_um = np.full(len(wanted), np.inf)
    for place, index in enumerate(wanted):
        record = records.get(index)
        if record is not None and record.true_stage_um is not None and record.verdict == "focused":
            x_um, y_um, z_um = record.true_stage_um
            off_um[place] = abs(z_um - truth.best_focus_um(x_um, y_um))
    return off_um


def slide_named(name: str) -> PolicySlide:
    """A slide of `SLIDES`. Raises KeyError if there is none of that name."""
    return {slide.name: slide for slide in SLIDES}[name]


def summarise(rows: Sequence[PolicyRow]) -> list[dict[str, Any]]:
    """Rows of a policy on a kind of slide together, with Wilson's 95 % interval of the share in focus at the end."""
    told = []
    groups = dict.fromkeys((row.policy, row.kind, row.source) for row in rows)
    for policy, kind, source in groups:
        of_group = [row for row in rows if (row.policy, row.kind, row.source) == (policy, kind, source)]
        fields = sum(row.tissue_fields for row in of_group)
        sharp = round(sum(row.in_focus_after_rescan * row.tissue_fields for row in of_group))
        visited = sum(row.visited for row in of_group)
        told.append(
            {
                "policy": policy,
                "kind": kind,
                "source": source,
                "tissue_fields": fields,
                "images_per_field": sum(row.images_per_field * row.visited for row in of_group) / max(visited, 1),
                "in_focus_fraction": sum(row.in_focus_fraction * row.tissue_fields for row in of_group) / fields,
                "in_focus_after_rescan": sharp / fields,
                "ci95": [float(end) for end in binomtest(sharp, fields).proportion_ci(method="wilson")],
                "unflagged_wrong": sum(row.unflagged_wrong for row in of_group),
                "ms_per_field": 1000 * sum(row.modelled_time_s for row in of_group) / max(visited, 1),
                "mean_abs_error_um": _mean_error_um(of_group),
            }
        )
    return told


def _mean_error_um(rows: Sequence[PolicyRow]) -> float | None:
    """Mean over the slides on which anything was kept."""
    known = [row.mean_abs_error_um for row in rows if row.mean_abs_error_um is not None]
    return sum(known) / len(known) if known else None


def as_text(rows: Sequence[PolicyRow]) -> str:
    """Rows and their summary as tables."""
    lines = [
        f"{'policy':17}{'slide':11}{'seed':>4}{'fields':>7}{'images':>8}{'in focus':>10}{'re-scanned':>12}"
        f"{'unflagged':>10}{'ms/field':>9}{'error µm':>9}"
    ]
    for row in rows:
        lines.append(
            f"{row.policy:17}{row.slide:11}{row.seed:4}{row.visited:7}{row.images_per_field:8.3f}"
            f"{row.in_focus_fraction:10.2%}{row.in_focus_after_rescan:12.2%}{row.unflagged_wrong:10}"
            f"{1000 * row.modelled_time_s / max(row.visited, 1):9.0f}"
            + ("        -" if row.mean_abs_error_um is None else f"{row.mean_abs_error_um:9.2f}")
            + (f"  {row.source}" if row.source != "modelled" else "")
            + (f"  stopped: {row.stopped}" if row.stopped else "")
        )
    lines.append("")
    for one in summarise(rows):
        low, high = one["ci95"]
        lines.append(
            f"{one['policy']:17}{one['kind']:7}{one['source']:9} {one['images_per_field']:.3f} images a field, "
            f"{one['in_focus_after_rescan']:.2%} of {one['tissue_fields']} in focus ({low:.2%} … {high:.2%}), "
            f"{one['unflagged_wrong']} wrong unflagged, {one['ms_per_field']:.0f} ms a field"
        )
    return "\n".join(lines)
