# Everything a newcomer can do. Each target makes its own .venv first.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
LOCK := --quiet --generate-hashes --constraint constraints.txt --python-version 3.11 --python-platform linux \
	--no-annotate --custom-compile-command 'make lock'
.DEFAULT_GOAL := help
.PHONY: help demo test mutations fuzz check format bench metrics-doc dashboard outage-picture reference crds control-plane clean chart lock image plugin

help: ## List what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(BIN)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(BIN)/.dev: $(BIN)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/.run ## Play the incident against the embedded sandbox (under a minute)
	$(BIN)/cdn-issuer demo $(ARGS)

test: check ## All checks and all tests, JOBS files of them at a time (2 unless given; they wait more than they work)
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)

mutations: $(BIN)/.dev ## Take out each protection once and see that a test notices (some minutes)
	$(BIN)/python -m tests.mutations $(ARGS)

fuzz: $(BIN)/.dev ## Read 100,000 mutations of real CSRs (some minutes)
	$(BIN)/python -W ignore::UserWarning -m tests.csrs $(ARGS)

control-plane: ## Build etcd, kube-apiserver, cert-manager, Helm, actionlint and krew for the tests (needs Go; fifteen minutes the first time)
	@$(PYTHON) tests/controlplane/build.py

check: $(BIN)/.dev ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/.dev ## Let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BIN)/.dev ## Measure throughput, latency, memory and the event loop on the sandbox
	$(BIN)/python -m bench $(ARGS)

metrics-doc: $(BIN)/.dev ## Write docs/metrics.md anew from the code
	$(BIN)/python -m issuer.observe.document > docs/metrics.md

reference: $(BIN)/.dev ## Write docs/configuration.md anew from the code
	$(BIN)/python -m issuer.cli.reference > docs/configuration.md

dashboard: $(BIN)/.dev ## Write the Grafana dashboard of the chart anew from the code
	$(BIN)/python -m tests.alerts.dashboard > deploy/chart/files/dashboard.json

outage-picture: $(BIN)/.dev ## Draw docs/outage.svg from what Prometheus scrapes of an outage (needs Prometheus; a minute)
	$(BIN)/python -m bench.outage

crds: $(BIN)/.dev ## Write crds/ anew from the code
	$(BIN)/cdn-issuer crds --directory crds

chart: $(BIN)/.dev ## Write manifests, CRDs and README of the chart anew (needs `make control-plane` for Helm)
	$(BIN)/python -m tests.chart

image: ## Build the image for this machine, as cdn-issuer:dev (needs Docker with buildx)
	@docker buildx version >/dev/null 2>&1 && docker info >/dev/null 2>&1 || \
		{ echo "make image: no container engine answers here; it takes Docker with buildx" >&2; exit 1; }
	REVISION=$$(git rev-parse HEAD) docker buildx bake image

$(BIN)/.plugin: $(BIN)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt pyinstaller
	@touch $@

plugin: $(BIN)/.plugin ## Build `kubectl cdn-issuer` for this machine: an archive and a manifest for krew, into dist/
	$(BIN)/python -m deploy.krew.bundle dist
	$(BIN)/python -m deploy.krew.manifest dist

lock: $(BIN)/.dev ## Write the hashes of what constraints.txt names into the locks of the image
	$(BIN)/uv pip compile $(LOCK) --output-file deploy/image/runtime.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK) --output-file deploy/image/tools.lock deploy/image/tools.in

clean: ## Remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist build
