"""A scan that broke off, gone on with: the stage finds its bearings again, and what is missing is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Truth
from parfocal.devices.microscope import Microscope
from parfocal.errors import FileError
from parfocal.focus.field import eyes_of
from parfocal.focus.predictor import Predictor
from parfocal.focus.search import SweepResult
from parfocal.scan.journal import Beat, journalled, no_beat
from parfocal.scan.lost_steps import astray, suspects_of, without_suspects
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.plan import ScanPlan
from parfocal.scan.progress import CHANGES_NOTE, OnField, ScanSummary, sweep_from_json
from parfocal.scan.recall import focus_found
from parfocal.scan.regain import Regaining
from parfocal.scan.run import ScanRun
from parfocal.scan.scanner import BORDER_SPARE, Taking, told_apart, written
from parfocal.scan.settings import ScanSettings
from parfocal.scan.whereabouts import Whereabouts, find_again, home, known_fields, shifted
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.writer import FieldsWriter


def ended(folder: FieldsFolder) -> ScanSummary | None:
    """What a scan that came to its end said about itself; None where fields may be missing.

    Fields that a rescan took after the stage lost steps do not lie where they say: they are missing too.

    Raises:
        FileError: if the journal says that it ended, and not how.
    """
    notes = list(folder.notes("ended"))
    if not notes or len(folder.attempts) < notes[-1].get("attempts", 0):  # a line that was there is lost
        return None
    if astray(folder):
        return None
    try:
        return _since(ScanSummary.from_json(notes[-1]["summary"]), folder)
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder.path}: the journal does not tell how the scan ended: {error}") from error


def _since(summary: ScanSummary, folder: FieldsFolder) -> ScanSummary:
    """What a scan came to, with what a rescan took again since: of that, verdicts are known, and no judgements."""
    wanted = {int(index) for note in folder.notes("taking again") for index in note["fields"]}
    again = [record for record in folder.records if record.index in wanted and record.attempt > 1]
    taken, unsettled = {one.index for one in again}, {one.index for one in again if one.verdict in ("unsure", "failed")}
    return replace(
        summary,
        images=max([summary.images, *(record.exposures for record in again)]),
        modelled_time_s=max([summary.modelled_time_s, *(record.taken_s or 0.0 for record in again)]),
        rescanned=(*summary.rescanned, *sorted(taken - set(summary.rescanned))),
        judgements={index: seen for index, seen in summary.judgements.items() if index not in taken},
        in_doubt=tuple(sorted(set(summary.in_doubt) - taken | unsettled)),
    )


def resume_fields(
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    folder: FieldsFolder,
    on_field: OnField,
    truth: Truth | None = None,
    *,
    changes: Sequence[str] = (),
    same_slide: bool = True,
    on_record: Callable[[int, int], None] | None = None,
    switch: ScanSwitch | None = None,
    beat: Beat = no_beat,
) -> ScanSummary:
    """Take what a scan did not come to. The lamp is off afterwards, whatever happens.

    Stages that have a reference find it again. Up to three fields that were measured are visited: by how much their
    focus and their pictures have moved is taken out, so that the new fields lie in the coordinates of the old ones.
    Where none was measured nothing tells whether the stage stands where it stood, and the focus is searched for anew.
    Surface, tissue and kept frames are learnt from the folder; fields whose frame is lost are taken again.

    Args:
        microscope: the instrument that began.
        settings: how it focuses: those that it began with.
        predictor: defocus from pairs of frames.
        plan: the scan's.
        folder: the scan.
        on_field: called after each field.
        truth: of a simulated instrument; it is only written down.
        changes: since the scan began, in words, that somebody accepted; the journal tells of them.
        same_slide: whether a slide that looks different is refused.
        on_record: called with how many records of the folder are learnt, of how many.
        switch: pauses or ends it between two fields.
        beat: called at every move and exposure.

    Raises:
        ScanStoppedError: if no focus is found again, the slide is another one, instrument or disk fail, or it is
            interrupted; what was taken is kept.
        FileError: if the folder cannot be read or written.
    """
    eyes = eyes_of(microscope, predictor, plan.overlap + BORDER_SPARE)
    with FieldsWriter.reopen(folder) as writer:
        done = len(folder.records)
        if changes:
            writer.note(CHANGES_NOTE, fields=done, changes=list(changes))
        with told_apart(lambda: f"while {done} of {len(plan)} fields were looked through", writer):
            noted = journalled(microscope, writer, beat)
            homed = home(noted)
            sound = without_suspects(folder, suspects_of(folder))
            known = known_fields(sound)
            with lamp_lit(microscope.lamp):
                where = find_again(noted, settings, eyes, sound, known, same_slide=same_slide)
            moved = shifted(microscope, where, settings.limits)
            run = ScanRun(moved, settings, eyes, plan, truth, writer, beat)
            run.recall(folder, on_record)
        run.go_on_from(folder, where.sightings, where.images)
        writer.note("resumed", fields=done, homed=homed, lost_frames=list(run.lost), **where.to_json())
        to_disk = partial(written, writer, microscope.lamp)
        regaining = Regaining(moved, settings, eyes, plan, truth, writer, beat, to_disk)
        taking = Taking(run, regaining, microscope, writer, on_field, switch, beat, len(plan))
        with told_apart(taking.how_far, writer), lamp_lit(microscope.lamp):
            return taking.to_the_end(_first_sweep(folder, where) or run.find_focus())


def _first_sweep(folder: FieldsFolder, where: Whereabouts) -> SweepResult | None:
    """How the focus was found, if it still holds: a field that was measured was found again."""
    found = focus_found(folder) if where.sightings else None
    return where.sweep if found is None else sweep_from_json(found["sweep"])
