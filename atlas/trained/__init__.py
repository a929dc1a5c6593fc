"""What a trained student is made of: its folder, network and vocabulary, and an episode as it reads one.

:mod:`atlas.train` makes it, :class:`atlas.models.scratch.Scratch` lets it act. Importing this package loads no torch.
"""

from atlas.trained.trajectory import Moment, Trajectory
from atlas.trained.vocabulary import Reader, Vocabulary

__all__ = ["Moment", "Reader", "Trajectory", "Vocabulary"]
