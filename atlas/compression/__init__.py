"""Demonstrations cut to fewer tokens, of which those stay that the student's action depends on."""

from atlas.compression.actions_first import ActionsFirst
from atlas.compression.compressor import KEEP, Compressor, all_compressed, compressed, load_compressor
from atlas.compression.learned import LearnedCompressor
from atlas.compression.llmlingua import TokenClassifier

__all__ = [
    "KEEP", "ActionsFirst", "Compressor", "LearnedCompressor", "TokenClassifier", "all_compressed", "compressed",
    "load_compressor",
]  # fmt: skip
