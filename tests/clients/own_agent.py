"""An agent for ``atlas run --agent``, whose model answers in the same process: it can run without any network."""

from __future__ import annotations

import os

import atlas
from tests.client_upstream import Upstream


def make() -> atlas.Agent:
    upstream = Upstream()
    upstream.__enter__()  # until the process ends
    student = atlas.load("openai/gpt-4.1-mini", base_url=upstream.url, api_key="x")
    return atlas.Agent(student, run=os.environ["CLIENTS_RUN"])
