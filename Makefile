# Everything runs from .venv, which is made from pyproject.toml and deploy/constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint bench bench-processors soak bench-scaling image-check compose-check compose-up \
	compose-down kind-up kind-down sbom constraints clean

# Docker's Compose on the stack of deploy/compose, with secrets that only this machine has.
COMPOSE = SECRETS=$(CURDIR)/.local/compose docker compose --file deploy/compose/compose.yaml

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

venv: $(STAMP) ## Make .venv with everything in it

$(STAMP): pyproject.toml deploy/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
		|| { echo "Python 3.11 or 3.12 is needed; name one with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "The venv module is missing: apt-get install python3-venv"; exit 1; }
	@# Without compiling 18,000 modules, most of which nobody imports: more than a minute.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint deploy/constraints.txt --editable '.[local,dev]'
	@touch $(STAMP)

demo: venv ## Run the main job on the embedded stack; KEEP=1 leaves it running
	$(BIN)/media-pipeline demo $(if $(KEEP),--keep) $(if $(COUNT),--count $(COUNT))

test: venv lint ## Run all checks and tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 12 --durations-min 20

lint: venv ## Style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports --no-logo

bench: venv ## Measure throughput against a bare loop and a plain worker
	$(BIN)/python benchmarks/throughput.py

bench-processors: venv ## Measure each processor against the raw library call and a rival
	$(BIN)/python benchmarks/processors.py

bench-scaling: venv ## Simulate how pools are sized: backlog, slots and waiting time
	$(BIN)/python benchmarks/scaling.py

soak: venv ## Crash points, their pairs and chaos for MINUTES=15
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),15)

image-check: venv ## Build the real image and test it in Docker, with or without an image registry; TWICE=1 compares two builds
	$(BIN)/python deploy/docker/check_image.py $(if $(TWICE),--twice)

compose-check: venv ## Start the stack of deploy/compose, with or without an image registry, and send media through it
	$(BIN)/python deploy/compose/check_stack.py $(if $(KEEP),--keep)

compose-up: venv ## Build the image and run the whole stack in Docker; pages on 127.0.0.1:3000, 3001, 9090
	@command -v docker >/dev/null && docker compose version >/dev/null 2>&1 \
		|| { echo "Docker with its Compose plugin is needed; without it: make demo"; exit 1; }
	$(BIN)/python deploy/compose/make_secrets.py .local/compose
	$(COMPOSE) build
	$(COMPOSE) up --detach
	$(COMPOSE) ps

compose-down: ## Stop that stack; VOLUMES=1 throws its data away
	$(COMPOSE) down $(if $(VOLUMES),--volumes)

kind-up: venv ## A Kubernetes cluster in Docker (kind) with the chart and one sample through it
	$(BIN)/python deploy/compose/make_secrets.py .local/compose
	deploy/kind/up.sh

kind-down: ## Take that cluster and its servers away
	deploy/kind/down.sh

sbom: venv ## Bill of materials (CycloneDX) in dist/sbom.json; ENVIRONMENT=python of another environment
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON \
		-o dist/sbom.json $(or $(ENVIRONMENT),$(BIN)/python)

constraints: ## Pin what a fresh environment resolves to now
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --editable '.[local,dev]'
	{ echo "# Every version that was tested together. Made by: make constraints"; \
	  .venv-constraints/bin/python -m pip freeze --exclude-editable; } > deploy/constraints.txt
	rm -rf .venv-constraints

clean: ## Remove .venv and the embedded stack's data
	rm -rf .venv .local
