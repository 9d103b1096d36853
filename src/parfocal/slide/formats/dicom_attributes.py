"""What a DICOM whole-slide image says beside its pixels: VL Whole Slide Microscopy Image IOD, PS3.3 A.32.8.

Attributes of type 1 must have a value. Where nothing is known, or may be told, it is a dummy, as PS3.15 asks of
de-identified files: "Unknown", and 1 January 1970.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from parfocal.slide.formats.colour import srgb_profile
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.quality.table import FieldQuality

PRIVATE_CREATOR = "PARFOCAL"
PRIVATE_GROUP = 0x0055
QUALITY_ELEMENT = 0x01
"""(0055,xx01): the quality table as JSON, a list with an object for each field, in the instance of level 0."""

UNKNOWN = "Unknown"
UNKNOWN_TIME = datetime.datetime(1970, 1, 1)
_LONGEST_LO = 64
_WAVELENGTH_UM = 0.55
_GLASS_MM = (25.0, 75.0)  # along x and y of the slide coordinate system; the label is at large y
_D50_WHITE_LAB = (65535, 32896, 32896)


def file_meta(instance_uid: UID) -> FileMetaDataset:
    """File meta information of an instance whose frames are baseline JPEG."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = instance_uid
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    return meta


def common_attributes(description: SlideDescription, uids: dict[str, UID]) -> Dataset:
    """What all instances of a slide share.

    Args:
        description: of the slide.
        uids: of "study", "series", "frame of reference", "pyramid", "dimensions" and "specimen".
    """
    shared = Dataset()
    shared.SpecificCharacterSet = "ISO_IR 192"
    shared.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    _add_patient_and_study(shared, description, uids)
    _add_equipment(shared, description)
    _add_specimen(shared, description, uids)
    _add_organization(shared, uids)
    _add_optical_path(shared, description)
    shared.AcquisitionContextSequence = Sequence()
    return shared


def image_attributes(
    image_type: tuple[str, ...], shape: tuple[int, int], tile_shape: tuple[int, int], lengths: Iterable[int]
) -> Dataset:
    """What one instance says about its own frames.

    Args:
        image_type: its four values; the third is the flavor, such as "VOLUME".
        shape: (Y, X) of the whole matrix in px.
        tile_shape: (Y, X) of a frame in px.
        lengths: bytes of each encoded frame.
    """
    image, lengths = Dataset(), list(lengths)
    image.ImageType = list(image_type)
    image.TotalPixelMatrixRows, image.TotalPixelMatrixColumns = shape
    image.Rows, image.Columns = tile_shape
    image.NumberOfFrames = len(lengths)
    image.SamplesPerPixel, image.PlanarConfiguration = 3, 0
    image.PhotometricInterpretation = "YBR_FULL_422"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.LossyImageCompression = "01"
    image.LossyImageCompressionRatio = f"{3 * tile_shape[0] * tile_shape[1] * len(lengths) / sum(lengths):.4g}"
    image.LossyImageCompressionMethod = "ISO_10918_1"
    image.VolumetricProperties = "VOLUME"
    image.FocusMethod = "AUTO"
    image.ExtendedDepthOfField = "NO"
    labelled = image_type[2] in ("LABEL", "OVERVIEW")
    image.SpecimenLabelInImage = image.BurnedInAnnotation = "YES" if labelled else "NO"
    if image_type[2] == "LABEL":
        image.BarcodeValue = image.LabelText = ""  # nobody has read it
    return image


def add_geometry(image: Dataset, description: SlideDescription, pixel_um: float) -> None:
    """Add how large an instance's pixels are, and where they lie.

    Nobody knows where the scanned area lies on the glass: it is put in the middle of it, the label to its left.
    """
    depth_um = _depth_of_field_um(description)
    height_mm, width_mm = (n * pixel_um / 1e3 for n in (image.TotalPixelMatrixRows, image.TotalPixelMatrixColumns))
    image.ImagedVolumeWidth, image.ImagedVolumeHeight, image.ImagedVolumeDepth = width_mm, height_mm, depth_um
    image.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = _decimal((_GLASS_MM[0] + height_mm) / 2)
    at_the_end = image.ImageType[2] == "LABEL"
    origin.YOffsetInSlideCoordinateSystem = _decimal(_GLASS_MM[1] if at_the_end else (_GLASS_MM[1] + width_mm) / 2)
    image.TotalPixelMatrixOriginSequence = Sequence([origin])
    measures, kind, path, groups = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [_decimal(pixel_um / 1e3)] * 2
    measures.SliceThickness = _decimal(depth_um / 1e3)
    kind.FrameType = image.ImageType
    path.OpticalPathIdentifier = "1"
    groups.PixelMeasuresSequence = Sequence([measures])
    groups.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([kind])
    groups.OpticalPathIdentificationSequence = Sequence([path])
    image.SharedFunctionalGroupsSequence = Sequence([groups])


def add_quality(image: Dataset, fields: tuple[FieldQuality, ...]) -> None:
    """Add the quality table: the whole of it in a private element, its summary as the image's comment."""
    if fields:
        text = json.dumps([asdict(field) for field in fields], allow_nan=False)
        block = image.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
        block.add_new(QUALITY_ELEMENT, "UT", text)
        image.ImageComments = quality_summary(fields)


def quality_summary(fields: tuple[FieldQuality, ...]) -> str:
    """The quality table in one line."""
    verdicts = {verdict: sum(field.verdict == verdict for field in fields) for verdict in ("unsure", "failed", "empty")}
    residuals = [field.seam_residual_px for field in fields if field.seam_residual_px is not None]
    apart = sum(field.island > 0 for field in fields)
    parts = [f"{len(fields)} fields", *(f"{count} {verdict}" for verdict, count in verdicts.items())]
    if residuals:
        parts.append(f"largest seam residual {max(residuals):.2f} px")
    return ", ".join([*parts, f"{apart} placed by the stage alone"])


def short_text(text: str) -> str:
    """The text where DICOM allows it as a name of 64 characters, else its begin with a hash of the whole."""
    clean = "".join("_" if character == "\\" or not character.isprintable() else character for character in text)
    clean = clean.strip()
    if clean == text and len(text) <= _LONGEST_LO:
        return text or UNKNOWN
    return f"{clean[:47].strip()}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _add_patient_and_study(shared: Dataset, description: SlideDescription, uids: dict[str, UID]) -> None:
    scanned_at = description.scanned_at or UNKNOWN_TIME
    for empty in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"):
        setattr(shared, empty, "")
    shared.AccessionNumber, shared.StudyID = "", "1"
    if description.label is None:  # a photographed label may name the patient
        shared.PatientIdentityRemoved = "YES"
        shared.DeidentificationMethod = "No identity of a patient was recorded"
    shared.LongitudinalTemporalInformationModified = "UNMODIFIED" if description.scanned_at else "REMOVED"
    if scanned_at.tzinfo:
        shared.TimezoneOffsetFromUTC = scanned_at.strftime("%z")
    shared.StudyInstanceUID, shared.SeriesInstanceUID = uids["study"], uids["series"]
    shared.Modality, shared.SeriesNumber = "SM", 1
    shared.StudyDate = shared.SeriesDate = shared.ContentDate = scanned_at.strftime("%Y%m%d")
    shared.StudyTime = shared.SeriesTime = shared.ContentTime = scanned_at.strftime("%H%M%S")
    shared.AcquisitionDateTime = scanned_at.strftime("%Y%m%d%H%M%S")
    shared.SeriesDescription = short_text(description.name)


def _add_equipment(shared: Dataset, description: SlideDescription) -> None:
    shared.Manufacturer = "Parfocal"
    shared.ManufacturerModelName = short_text(description.instrument)
    shared.DeviceSerialNumber = short_text(description.serial_number)
    shared.SoftwareVersions = short_text(description.creator)


def _add_specimen(shared: Dataset, description: SlideDescription, uids: dict[str, UID]) -> None:
    shared.ContainerIdentifier = short_text(description.name)
    shared.IssuerOfTheContainerIdentifierSequence = Sequence()
    shared.ContainerTypeCodeSequence = _coded("433466003", "SCT", "Microscope slide")
    specimen = Dataset()
    specimen.SpecimenIdentifier = short_text(description.name)
    specimen.SpecimenUID = uids["specimen"]
    specimen.IssuerOfTheSpecimenIdentifierSequence = Sequence()
    specimen.SpecimenPreparationSequence = Sequence()
    specimen.SpecimenDetailedDescription = description.name
    shared.SpecimenDescriptionSequence = Sequence([specimen])


def _add_organization(shared: Dataset, uids: dict[str, UID]) -> None:
    shared.FrameOfReferenceUID, shared.PositionReferenceIndicator = uids["frame of reference"], "SLIDE_CORNER"
    shared.PyramidUID = uids["pyramid"]
    shared.TotalPixelMatrixFocalPlanes = shared.NumberOfOpticalPaths = 1
    shared.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = uids["dimensions"]
    shared.DimensionOrganizationSequence = Sequence([organization])


def _add_optical_path(shared: Dataset, description: SlideDescription) -> None:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.OpticalPathDescription = short_text(f"Bright field, immersion index {description.immersion_index:g}")
    path.IlluminationTypeCodeSequence = _coded("111744", "DCM", "Brightfield illumination")
    path.IlluminationColorCodeSequence = _coded("414298005", "SCT", "Full Spectrum")
    path.ObjectiveLensPower = _decimal(description.magnification)
    path.ObjectiveLensNumericalAperture = _decimal(description.na)
    path.ICCProfile = description.icc_profile or srgb_profile()
    shared.OpticalPathSequence = Sequence([path])
    shared.RecommendedAbsentPixelCIELabValue = list(_D50_WHITE_LAB)


def _coded(value: str, scheme: str, meaning: str) -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return Sequence([code])


def _decimal(value: float) -> str:
    """A decimal string: at most 16 characters."""
    return f"{value:.9g}"


def _depth_of_field_um(description: SlideDescription) -> float:
    """λn/NA²: how deep the specimen is seen sharp, whatever the camera."""
    return _WAVELENGTH_UM * description.immersion_index / description.na**2
