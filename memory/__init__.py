"""Persistent memory: demonstrations of what worked, and how to find the ones that fit the present step."""

from atlas.memory.demonstration import Demonstration, Source, from_episode, from_steps, had_effect
from atlas.memory.embed import HashEmbedder, MiniLM, SentenceTransformer, load_embedder
from atlas.memory.memory import Kept, Memory
from atlas.memory.part import MemoryView
from atlas.memory.store import DemonstrationStore

__all__ = [
    "Demonstration",
    "DemonstrationStore",
    "HashEmbedder",
    "Kept",
    "Memory",
    "MemoryView",
    "MiniLM",
    "SentenceTransformer",
    "Source",
    "from_episode",
    "from_steps",
    "had_effect",
    "load_embedder",
]
