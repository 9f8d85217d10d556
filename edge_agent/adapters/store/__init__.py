"""The store: rows in SQLite, or in PostgreSQL by URL."""
