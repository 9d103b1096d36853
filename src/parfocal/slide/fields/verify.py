"""Whether a fields folder holds all that it tells of: every line's checksum, every frame's SHA-256."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import HEADER_FILE, JOURNAL_FILE, RECORDS_FILE
from parfocal.slide.fields.made import is_made
from parfocal.slide.fields.records import FieldRecord, read_header, read_lines, read_record

OnFrame = Callable[[str, int, int], None]
"""Called with what is looked at, how many are done, how many there are."""


@dataclass(frozen=True)
class Verified:
    """What a folder came to.

    Attributes:
        fields: fields that a record tells of.
        verified: those whose records are sound and whose frames, of every attempt, are byte for byte what was written.
        missing: frames that a record tells of and that are not there.
        corrupt: frames, lines and headers that are not what was written, and frames whose lines are lost.
        duplicates: records that tell of an attempt that an earlier record told of.
        torn: 1 where the last line, or its frame, was being written when everything stopped; its field is taken again
            by a resume.
        complete: whether the scan took every field that it wanted, and its slide and report were made of all of them.
        problems: the first of what is wrong, in words.
    """

    fields: int
    verified: int
    missing: int
    corrupt: int
    duplicates: int
    torn: int
    complete: bool
    problems: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong and nothing missing."""
        return self.complete and not self.torn and self.is_sound

    @property
    def is_sound(self) -> bool:
        """Whether all that was told of is there, once, as it was written."""
        return not (self.missing or self.corrupt or self.duplicates) and self.verified == self.fields

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"problems": list(self.problems)}


_PROBLEMS_TOLD = 20


def verify_fields(path: Path, progress: OnFrame | None = None) -> Verified:
    """Read every line and every frame of a fields folder.

    Args:
        path: the folder, of a scan that has ended in whatever way.
        progress: called after each frame.

    Raises:
        FileError: if it is no fields folder, or cannot be read.
    """
    return _Verification(Path(path)).run(progress)


class _Verification:
    """One folder while it is looked through."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = read_header(path / HEADER_FILE)
        self._counts: Counter[str] = Counter()
        self._problems: list[str] = []
        self._unsound: set[int] = set()

    def run(self, progress: OnFrame | None) -> Verified:
        if not self._read.is_intact:
            self._found("corrupt", f"{HEADER_FILE}: is not as the scan wrote it")
        torn, records = self._records()
        damaged_lines = self._counts["corrupt"]
        folder = FieldsFolder.of_records(self._path, self._read, records)
        for done, record in enumerate(records, 1):
            self._look_at(folder, record)
            if progress:
                progress("frames", done, len(records))
        torn = max(torn, self._look_for_lost_lines(folder, damaged_lines))
        self._look_at_journal()
        fields = {record.index for record in records}
        return Verified(
            fields=len(fields),
            verified=len(fields - self._unsound),
            missing=self._counts["missing"],
            corrupt=self._counts["corrupt"],
            duplicates=self._counts["duplicates"],
            torn=torn,
            complete=self._is_complete(folder),
            problems=tuple(self._problems[:_PROBLEMS_TOLD]),
        )

    def _found(self, what: str, problem: str, index: int | None = None) -> None:
        self._counts[what] += 1
        self._problems.append(problem)
        if index is not None:
            self._unsound.add(index)

    def _records(self) -> tuple[int, list[FieldRecord]]:
        """How many lines are torn, and the records that are sound, of each attempt one."""
        lines = read_lines(self._path / RECORDS_FILE, self._read.has_seals)
        for number in range(lines.torn - 1):  # one line can be torn; where there are more, those before it are damaged
            self._found("corrupt", f"{RECORDS_FILE}, line {len(lines.whole) + 1 + number}: damaged")
        seen: dict[tuple[int, int], FieldRecord] = {}
        for number, line in lines.whole:
            where = f"{RECORDS_FILE}, line {number}"
            try:
                record = read_record(line, where, self._read.has_seals)
            except FileError as error:
                self._found("corrupt", str(error))
                continue
            if (record.index, record.attempt) in seen:
                self._found("duplicates", f"{where}: attempt {record.attempt} of field {record.index} again")
                continue
            seen[record.index, record.attempt] = record
        return min(lines.torn, 1), list(seen.values())

    def _look_at(self, folder: FieldsFolder, record: FieldRecord) -> None:
        scan_id = self._read.header.scan_id
        if scan_id and record.scan_id != scan_id:
            self._found("corrupt", f"field {record.index}: of another scan, {record.scan_id}", record.index)
            return
        try:
            damage = folder.damage(record)
        except FileError as error:
            self._found("corrupt", str(error), record.index)
            return
        if damage is not None:
            self._found(damage, f"{record.file}: {damage}{self._taken_again(folder, record)}", record.index)

    def _taken_again(self, folder: FieldsFolder, record: FieldRecord) -> str:
        """How a field gets another frame, in words."""
        if not any(kept is record for kept in folder.records):
            return "; a later attempt counts"
        if next(folder.notes("ended"), None) is not None:
            return f"; `parfocal rescan` takes it again, with --field {record.index}"
        return "; a resume takes its field again" if folder.header.plan else ""

    def _look_for_lost_lines(self, folder: FieldsFolder, damaged_lines: int) -> int:
        """Frames without a line, beside those of damaged lines: 1 where there is one, as where a scan broke off."""
        untold = folder.untold_frames()
        if len(untold) > damaged_lines + 1:
            for frame in untold:
                self._found("corrupt", f"{frame.name}: no line of {RECORDS_FILE} tells of it")
        return min(max(len(untold) - damaged_lines, 0), 1)

    def _look_at_journal(self) -> None:
        """Lines of the journal are counted, but for its end, which may be torn."""
        path = self._path / JOURNAL_FILE
        if not path.exists():
            if self._read.has_seals:
                self._found("missing", f"{JOURNAL_FILE}: missing")
            return
        for number in read_lines(path, has_seals=True).damaged:
            self._found("corrupt", f"{JOURNAL_FILE}, line {number}: damaged")

    def _is_complete(self, folder: FieldsFolder) -> bool:
        if not self._read.has_seals:
            return is_made(folder)
        if next(folder.notes("imported"), None) is not None:
            return True
        return is_made(folder) and next(folder.notes("ended"), None) is not None
