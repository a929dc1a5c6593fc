"""What clients say and are told, whichever API they speak: a translator for each, and one form between them."""

from atlas.wire.app import Arrival, Host, Seat, Wire
from atlas.wire.request import Request, Told

__all__ = ["Arrival", "Host", "Request", "Seat", "Told", "Wire"]
