"""Incidents of our own: seeded, in the benchmark's schema, and playable without any download.

An attack graph of alerts and entities, other attacks beside it, the rows that all of them leave in the tables, and as
much of a company's daily life as is asked for. A name belongs to one split for good, so the splits share none.
"""

from atlas.benchmarks.excytin.incidents.build import FIRST, LABEL, PER_SPLIT, ROWS, Incident, Spec, export, incident

__all__ = ["FIRST", "LABEL", "PER_SPLIT", "ROWS", "Incident", "Spec", "export", "incident"]
