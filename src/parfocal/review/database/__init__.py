"""What the review keeps: SQLite in one file, or PostgreSQL."""
