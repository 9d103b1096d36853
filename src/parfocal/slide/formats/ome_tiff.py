"""Pyramidal OME-TIFF: BigTIFF, JPEG tiles, levels in SubIFDs, and the OME-XML that says how large a pixel is."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import tifffile

from parfocal.durable import written_aside
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.tiff import level_settings, quality_summary
from parfocal.slide.pyramid import Pyramid
from parfocal.slide.quality.files import to_csv

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = f"{NAMESPACE} {NAMESPACE}/ome.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

SUMMARY_NAMESPACE = "parfocal/quality-summary"
TABLE_NAMESPACE = "parfocal/quality-table.csv"

_IMMERSIONS = ((1.1, "Air"), (1.40, "Water"), (1.50, "Glycerol"), (1.60, "Oil"))


def write_ome_tiff(path: Path, pyramid: Pyramid, description: SlideDescription) -> None:
    """Write a virtual slide; under its final name there is never half a file.

    Args:
        path: of the file, `*.ome.tif`.
        pyramid: all tiles, built.
        description: for the OME-XML, the resolution tags and the ICC profile.

    Raises:
        FileError: if the file cannot be written.
    """
    with written_aside(path) as part, tifffile.TiffWriter(part, bigtiff=True, ome=False) as tiff:
        for level in range(len(pyramid.shapes)):
            first = level == 0
            tiff.write(
                pyramid.tiles(level),
                **level_settings(pyramid, level, description),
                subifds=len(pyramid.shapes) - 1 if first else None,
                description=ome_xml(pyramid.shapes[0], description) if first else None,
                software=description.creator if first else None,
            )


def ome_xml(shape: tuple[int, int], description: SlideDescription) -> bytes:
    """OME-XML (2016-06) of an RGB image of `shape` (Y, X) px, in UTF-8."""
    root = ElementTree.Element(
        "OME",
        {
            "xmlns": NAMESPACE,
            "xmlns:xsi": _INSTANCE,
            "xsi:schemaLocation": _SCHEMA,
            "Creator": description.creator,
        },
    )
    instrument = ElementTree.SubElement(root, "Instrument", ID="Instrument:0")
    microscope = ElementTree.SubElement(instrument, "Microscope", Model=description.instrument)
    if description.serial_number:
        microscope.set("SerialNumber", description.serial_number)
    ElementTree.SubElement(
        instrument,
        "Objective",
        ID="Objective:0:0",
        NominalMagnification=f"{description.magnification:g}",
        LensNA=f"{description.na:g}",
        Immersion=_immersion(description.immersion_index),
    )
    image = ElementTree.SubElement(root, "Image", ID="Image:0", Name=description.name)
    if description.scanned_at is not None:
        ElementTree.SubElement(image, "AcquisitionDate").text = description.scanned_at.isoformat(timespec="seconds")
    ElementTree.SubElement(image, "InstrumentRef", ID="Instrument:0")
    ElementTree.SubElement(
        image, "ObjectiveSettings", ID="Objective:0:0", RefractiveIndex=f"{description.immersion_index:g}"
    )
    size = f"{description.pixel_size_um:.9g}"
    pixels = ElementTree.SubElement(
        image,
        "Pixels",
        ID="Pixels:0",
        DimensionOrder="XYCZT",
        Type="uint8",
        BigEndian="false",
        Interleaved="true",
        SizeX=str(shape[1]),
        SizeY=str(shape[0]),
        SizeC="3",
        SizeZ="1",
        SizeT="1",
        PhysicalSizeX=size,
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=size,
        PhysicalSizeYUnit="µm",
    )
    ElementTree.SubElement(pixels, "Channel", ID="Channel:0:0", SamplesPerPixel="3")
    ElementTree.SubElement(pixels, "TiffData", IFD="0", PlaneCount="1")
    if description.fields:
        _annotate(root, image, description)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _annotate(root: ElementTree.Element, image: ElementTree.Element, description: SlideDescription) -> None:
    """The quality table: its summary as names and values, which viewers show, and all of it as CSV."""
    annotations = ElementTree.SubElement(root, "StructuredAnnotations")
    totals = ElementTree.SubElement(annotations, "MapAnnotation", ID="Annotation:0", Namespace=SUMMARY_NAMESPACE)
    pairs = ElementTree.SubElement(totals, "Value")
    for name, value in quality_summary(description.fields).items():
        ElementTree.SubElement(pairs, "M", K=name).text = str(value)
    table = ElementTree.SubElement(annotations, "CommentAnnotation", ID="Annotation:1", Namespace=TABLE_NAMESPACE)
    ElementTree.SubElement(table, "Value").text = to_csv(description.fields)
    for number in (0, 1):
        ElementTree.SubElement(image, "AnnotationRef", ID=f"Annotation:{number}")


def _immersion(index: float) -> str:
    return next((name for limit, name in _IMMERSIONS if index < limit), "Other")
