"""Draw the loop: ``python -m atlas.graph`` prints it as Mermaid text, as LangGraph draws it."""

from __future__ import annotations

from atlas.graph.loop import loop_graph


def drawn() -> str:
    """The picture that the guide shows."""
    return loop_graph().get_graph().draw_mermaid().strip()


if __name__ == "__main__":
    print(drawn())
