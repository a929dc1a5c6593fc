"""The embedded engine beside a MariaDB server: generated statements, and whether the two answer them alike."""
