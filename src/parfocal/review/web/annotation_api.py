"""Points, boxes and polygons on slides, as GeoJSON that QuPath imports."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Response
from pydantic import BaseModel, Field, StringConstraints, model_validator
from sqlalchemy import select

from parfocal.review.accounts import trail
from parfocal.review.accounts.roles import Right
from parfocal.review.database.tables import AnnotationRow
from parfocal.review.web.blinding import NOT_WITHHELD
from parfocal.review.web.guards import Browsing, meant
from parfocal.review.web.refusals import Refused, foreign
from parfocal.review.web.services import WithServices
from parfocal.review.web.slide_api import SlideId
from parfocal.review.web.visitors import Visitor

router = APIRouter(dependencies=[Depends(meant), NOT_WITHHELD], tags=["annotations"])

_MOST_CORNERS = 5000
_COLOUR = [31, 111, 235]
_Coordinate = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
_Place = tuple[_Coordinate, _Coordinate]
Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class PointGeometry(BaseModel):
    """A point in px of level 0."""

    type: Literal["Point"]
    coordinates: _Place


class PolygonGeometry(BaseModel):
    """A closed ring in px of level 0; its last place is its first."""

    type: Literal["Polygon"]
    coordinates: Annotated[
        list[Annotated[list[_Place], Field(min_length=4, max_length=_MOST_CORNERS)]], Field(min_length=1, max_length=1)
    ]

    @model_validator(mode="after")
    def _closed(self) -> PolygonGeometry:
        if self.coordinates[0][0] != self.coordinates[0][-1]:
            raise ValueError("the ring is not closed: its last place is not its first")
        return self


Geometry = Annotated[PointGeometry | PolygonGeometry, Field(discriminator="type")]


class NewAnnotation(BaseModel):
    """What somebody drew."""

    geometry: Geometry
    label: Label = ""


class ChangedAnnotation(BaseModel):
    """What becomes of it; what is left out stays."""

    geometry: Geometry | None = None
    label: Label | None = None


class Feature(BaseModel):
    """An annotation of GeoJSON, with the properties that QuPath knows."""

    type: Literal["Feature"] = "Feature"
    id: uuid.UUID
    geometry: Geometry
    properties: dict[str, Any]


class FeatureCollection(BaseModel):
    """All annotations of a slide."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[Feature]


@router.get("/api/slides/{slide_id}/annotations")
def drawn_on(slide_id: SlideId, visitor: Browsing, services: WithServices) -> FeatureCollection:
    """What the visitor drew on a slide; and what others drew, for those who may see it."""
    services.shelf.slide(slide_id)
    query = select(AnnotationRow).where(AnnotationRow.slide_id == slide_id).order_by(AnnotationRow.created_at)
    if not visitor.may(Right.IDENTIFY):
        query = query.where(AnnotationRow.author == visitor.name)
    with services.database.reading() as session:
        return FeatureCollection(features=[_feature(row) for row in session.scalars(query)])


@router.get("/slides/{slide_id}/annotations.geojson", response_class=Response)
def export(slide_id: SlideId, visitor: Browsing, services: WithServices) -> Response:
    """The same as a file."""
    found = drawn_on(slide_id, visitor, services)
    headers = {"content-disposition": f'attachment; filename="slide-{slide_id}.geojson"'}
    return Response(found.model_dump_json(indent=1), media_type="application/geo+json", headers=headers)


@router.post("/api/slides/{slide_id}/annotations", status_code=201)
def annotate(slide_id: SlideId, drawn: NewAnnotation, visitor: Browsing, services: WithServices) -> Feature:
    """Keep something that was drawn."""
    services.shelf.slide(slide_id)
    moment = trail.now()
    row = AnnotationRow(
        id=str(uuid.uuid4()),
        slide_id=slide_id,
        author=visitor.name,
        geometry=drawn.geometry.model_dump(mode="json"),
        label=drawn.label,
        created_at=moment,
        changed_at=moment,
    )
    with services.database.writing() as session:
        session.add(row)
    return _feature(row)


@router.patch("/api/annotations/{annotation_id}")
def change(annotation_id: uuid.UUID, changed: ChangedAnnotation, visitor: Browsing, services: WithServices) -> Feature:
    """Change what one drew oneself."""
    with services.database.writing() as session:
        row = _own(session.get(AnnotationRow, str(annotation_id)), visitor)
        if changed.geometry is not None:
            row.geometry = changed.geometry.model_dump(mode="json")
        if changed.label is not None:
            row.label = changed.label
        row.changed_at = trail.now()
    return _feature(row)


@router.delete("/api/annotations/{annotation_id}", status_code=204)
def remove(annotation_id: uuid.UUID, visitor: Browsing, services: WithServices) -> Response:
    """Remove what one drew oneself."""
    with services.database.writing() as session:
        row = _own(session.get(AnnotationRow, str(annotation_id)), visitor)
        session.delete(row)
        trail.note(session, visitor.name, "annotation removed", f"slide {row.slide_id}", label=row.label)
    return Response(status_code=204)


def _own(row: AnnotationRow | None, visitor: Visitor) -> AnnotationRow:
    """What somebody else drew is not there, for whoever may not see it anyway."""
    if row is None:
        raise HTTPException(404, "there is no such annotation")
    if row.author != visitor.name:
        unseen = foreign("annotation")
        raise Refused(403, "somebody else drew this", unseen.why) if visitor.may(Right.IDENTIFY) else unseen
    return row


def _feature(row: AnnotationRow) -> Feature:
    """As QuPath writes them itself: of other properties than these it keeps none."""
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": row.label,
        "color": _COLOUR,
        "metadata": {"author": row.author, "created_at": row.created_at.isoformat(timespec="seconds")},
    }
    if row.label and ":" not in row.label:  # there it stands between a class and what it is derived from
        properties["classification"] = {"name": row.label, "color": _COLOUR}
    return Feature.model_validate({"id": row.id, "geometry": row.geometry, "properties": properties})
