"""The benchmark's log tables into a database: its own download (CSV), or the recorded subset, into SQLite or MySQL."""
