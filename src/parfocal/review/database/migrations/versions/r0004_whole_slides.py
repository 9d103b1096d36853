"""Readings of whole slides: the canvas that each is shown on. Those that were there before show fields."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("sheets", sa.Column("canvas", sa.JSON))
