"""Incidents of our own: seeded, in the benchmark's schema, and playable without any download.

An attack graph of alerts and entities, other attacks beside it, the rows that all of them leave in the tables, and as
much of a company's daily life as is asked for. A name belongs to one split for good, so the splits share none.
"""

from atlas.benchmarks.excytin.incidents.build import FIRST as FIRST
from atlas.benchmarks.excytin.incidents.build import LABEL as LABEL
from atlas.benchmarks.excytin.incidents.build import PER_SPLIT as PER_SPLIT
from atlas.benchmarks.excytin.incidents.build import ROWS as ROWS
from atlas.benchmarks.excytin.incidents.build import Incident as Incident
from atlas.benchmarks.excytin.incidents.build import Spec as Spec
from atlas.benchmarks.excytin.incidents.build import export as export
from atlas.benchmarks.excytin.incidents.build import incident as incident
