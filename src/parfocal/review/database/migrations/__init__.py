"""Alembic's steps from an empty database to the newest schema; they run when a database is opened."""
