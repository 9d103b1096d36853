"""Slides by random ids, and what people draw on them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "slides",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("place", sa.String(500), nullable=False, unique=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "annotations",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("slide_id", sa.String(12), sa.ForeignKey("slides.id"), nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("geometry", sa.JSON, nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("annotations_by_slide", "annotations", ["slide_id"])
