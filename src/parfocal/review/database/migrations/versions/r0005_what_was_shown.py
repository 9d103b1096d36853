"""What each reading shows: attempts of fields, content of whole slides. Of readings from before that is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("sheets", sa.Column("attempts", sa.JSON))
    op.add_column("sheets", sa.Column("content", sa.String(64)))
