"""Episodes in many processes: Ray starts the workers, on this machine or on a cluster, and they play.

What must be single is where the command is: the trace, the memory and all that is written to it, the budget, a model
with one set of weights. Workers send what happened and are told what the run has used; a worker that is gone takes with
it what it was at and nothing else.

``cluster``
    a Ray of this command's own, or the one that there is
``worker``
    a process that plays, many episodes at once
``troupe``
    all of them, as the command sees them
"""

from atlas.fanout.cluster import Cluster, connected
from atlas.fanout.troupe import Troupe, WorkersLost

__all__ = ["Cluster", "Troupe", "WorkersLost", "connected"]
