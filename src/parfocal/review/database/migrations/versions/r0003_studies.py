"""Studies, sheets that readers fill in, entries and signed reports that the database keeps from being changed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ONLY_GROW = ("entries", "reports", "rulings")


def upgrade() -> None:
    """Make the tables."""
    _make_studies()
    _make_sheets()
    op.create_table(
        "entries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sheet_id", sa.String(12), sa.ForeignKey("sheets.id"), nullable=False),
        sa.Column("key", sa.String(36), nullable=False),
        sa.Column("entry", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("entries_by_key", "entries", ["sheet_id", "key"], unique=True)
    op.create_table(
        "reports",
        sa.Column("number", sa.String(12), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sheet_id", sa.String(12), sa.ForeignKey("sheets.id"), nullable=False),
        sa.Column("signed_by", sa.String(64), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
    )
    op.create_table(
        "rulings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.String(12), sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("slide", sa.String(500), nullable=False),
        sa.Column("modality", sa.String(64), nullable=False),
        sa.Column("ruling", sa.String(24), nullable=False),
        sa.Column("field", sa.Integer),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("ruled_by", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("rulings_by_study", "rulings", ["study_id"])
    for table in _ONLY_GROW:
        _refuse_changes(table)


def _make_studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("design", sa.JSON, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("plan", sa.JSON),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("margin_percent", sa.Double),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
    )


def _make_sheets() -> None:
    op.create_table(
        "sheets",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("study_id", sa.String(12), sa.ForeignKey("studies.id")),
        sa.Column("code", sa.String(16)),
        sa.Column("slide_id", sa.String(12), sa.ForeignKey("slides.id")),
        sa.Column("slide_name", sa.String(500), nullable=False),
        sa.Column("label", sa.String(16), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("form", sa.JSON, nullable=False),
        sa.Column("frames", sa.JSON, nullable=False),
        sa.Column("field_area_mm2", sa.Double),
        sa.Column("um_per_px", sa.Double),
        sa.Column("phase", sa.String(10), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True)),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True)),
        sa.Column("amends", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
    )
    op.create_index("sheets_by_reader", "sheets", ["reader"])
    op.create_index("sheets_by_study", "sheets", ["study_id"])


def _refuse_changes(table: str) -> None:
    """PostgreSQL has the function since the trail's table."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} are never changed'); END"
        )
