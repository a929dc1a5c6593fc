"""Logged runs of the benchmark's own agents: read, turned into an atlas run, and what can be said from them alone."""
