"""Readings built to the counts of the paper's Tables 3 and 4."""

import csv

SLIDES = [f"S{number:02}" for number in range(1, 33)]
COCCI, BACILLI = "gram-positive cocci", "gram-negative bacilli"

# modality: (slides, non-concurrences, surpassed)
TABLE_3 = {"automated-40x": (32, 4, 6), "manual-40x": (29, 5, 5), "manual-100x": (29, 6, 5)}
TABLE_4 = {"automated-40x": (32, 2, 3), "manual-40x": (29, 3, 4), "manual-100x": (29, 2, 4)}
READERS_ON_GLASS = 24


def _glass(number):
    """One organism, or nothing: never where a non-concurrence is wanted, as anything surpasses nothing."""
    return set() if number in (8, 12, 20, 26) else {COCCI}


def _read(glass, kind):
    if kind == "surpassed":
        return glass | {BACILLI}
    return {"yeast"} if kind == "non-concurrence" else glass


def _kind(number, missed, surpassed):
    return "non-concurrence" if number < missed else "surpassed" if number < missed + surpassed else "same"


def paper_rows():
    """(reader, slide, modality, organisms) of both tables, with 24 of 32 glass readings alike."""
    rows = []
    for reader, table in (("1", TABLE_3), ("2", TABLE_4)):
        for number, slide in enumerate(SLIDES):
            glass = _glass(number)
            if reader == "2" and number >= READERS_ON_GLASS:
                glass = {"yeast"}
            rows.append((reader, slide, "glass", glass))
            for modality, (slides, missed, surpassed) in table.items():
                if number < slides:
                    rows.append((reader, slide, modality, _read(glass, _kind(number, missed, surpassed))))
    return rows


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("reader", "slide", "modality", "organisms"))
        table.writerows((*row[:3], ";".join(sorted(row[3]))) for row in rows)
    return path
