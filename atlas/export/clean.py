"""Secrets out of what is exported: every text of a JSON value, tool arguments so that they stay JSON."""

from atlas.redact import Cleaner as Cleaner
