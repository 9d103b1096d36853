"""Slides are known by their content. Those from before are known by their place until they are seen there again."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("slides", sa.Column("identity", sa.String(64)))
