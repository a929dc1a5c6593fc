"""This package beside others of its kind, on what can be done without a key: ``python -m atlas.benchmarks.peers``.

Each is installed in an environment of its own, as it is published, and asked through its own public interface. Who
answers is scripted, on this machine.
"""

from atlas.benchmarks.peers.measured import Peer, Told

__all__ = ["Peer", "Told"]
