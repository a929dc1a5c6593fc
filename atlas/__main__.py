"""``python -m atlas`` is the command line, where the script is not on the path."""

from __future__ import annotations

from atlas.cli import main

if __name__ == "__main__":
    main()
