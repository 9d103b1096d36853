"""Blinded studies of readers in the database: set up, read, closed, and what came out."""
