"""The statistics behind every figure: intervals, one bootstrap, one AUROC, one calibration error.

:mod:`~atlas.stats.intervals` needs no numpy and is all that this module loads; :mod:`~atlas.stats.resampling` loads it
when it draws, :mod:`~atlas.stats.scores` at once.
"""

from atlas.stats.intervals import Interval, mcnemar, wilson
from atlas.stats.resampling import bootstrap, bounded_mean, paired

__all__ = ["Interval", "bootstrap", "bounded_mean", "mcnemar", "paired", "wilson"]
