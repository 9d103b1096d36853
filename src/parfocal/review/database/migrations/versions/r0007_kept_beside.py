"""A slide's file as it was when its identity was worked out; what had changed when a study was closed.

Identities are worked out of more files than before: slides are known by their place until they are seen there again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("slides", sa.Column("seen", sa.String(60)))
    op.add_column("studies", sa.Column("changes", sa.JSON))
    op.execute("UPDATE slides SET identity = NULL WHERE place NOT LIKE '/%'")
