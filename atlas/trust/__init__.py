"""How far a student is trusted to act alone: by which signals, up to which threshold, and what that was certified
for."""

from atlas.trust.record import UNANIMITY, Certificate, Tested, Trust

__all__ = ["UNANIMITY", "Certificate", "Tested", "Trust"]
