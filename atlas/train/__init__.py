"""Training a local student from traces. Needs the extra ``train``; importing this package loads no torch."""
