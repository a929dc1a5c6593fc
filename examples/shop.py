"""A little world for the examples: a shop's orders, three tools, customers' requests, and whether they were met."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

CUSTOMERS = ["Ada", "Bo", "Cem", "Dora", "Eve", "Finn", "Gus", "Hana"]
WISHES = {
    "refund": "{} writes: my parcel arrived broken, I want my money back",
    "track": "{} writes: where is my parcel now?",
    "cancel": "{} writes: please cancel my order",
}
REQUESTS = [(who, wish) for who in CUSTOMERS for wish in WISHES]
"""(customer, the tool that helps): 24 requests."""

SYSTEM = "You serve a shop's customers with your tools. When the request is met, answer in one short sentence."


def goal(request: tuple[str, str]) -> str:
    who, wish = request
    return WISHES[wish].format(who)


class Shop:
    """One day at the shop: the tools act on it."""

    def __init__(self, customers: Sequence[str] = CUSTOMERS) -> None:
        self.customers = list(customers)
        self.done: set[tuple[str, str]] = set()

    def call(self, name: str, arguments: str) -> str:
        """What a tool answers; a wrong call is answered too, as tools do."""
        given = json.loads(arguments)
        if name == "find_order":
            who = given.get("customer")
            return f"order A{self.customers.index(who)}" if who in self.customers else f"no customer {who}"
        order = str(given.get("order", ""))
        if order not in {f"A{i}" for i in range(len(self.customers))}:
            return f"no order {order}"
        self.done.add((self.customers[int(order[1:])], name))
        return f"{name} of {order} is done"

    def met(self, request: tuple[str, str]) -> bool:
        """Whether exactly what was asked for has happened."""
        return self.done == {request}


def _tool(name: str, does: str, argument: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": does, "parameters": schema}}


TOOLS = [
    _tool("find_order", "The number of a customer's order.", "customer"),
    *(_tool(name, f"{name.capitalize()} an order by its number.", "order") for name in WISHES),
]
