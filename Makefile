# Everything a contributor types. The two that matter: `make serve`, `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Workers for the tests: three for two cores, since a third of the time they wait for disks and timers.
JOBS ?= 3

# What `make serve` gives to `entrepot serve`.
ARGS ?=

.PHONY: serve install dev tools check format test golden bench soak news docs image release clean

serve: $(VENV)/.server
	$(BIN)/entrepot serve $(ARGS)

install: $(VENV)/.server

dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what entrepot needs into $(VENV), once; this can take a minute."
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[server]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[server]' --group dev
	touch $(VENV)/.server $@

# The real programs that tests and benchmarks run (docker, podman, skopeo, PostgreSQL …).
tools:
	scripts/install-test-tools

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(VENV)/.dev
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "not soak"

# Writes anew the tables of what each role is answered; read every line of the difference.
golden: $(VENV)/.dev
	ENTREPOT_WRITE_GOLDEN=1 $(BIN)/pytest -q -n $(JOBS) tests/integration/access
	git diff --stat -- tests/integration/access

# Figures beside peers; `make bench FIGURES="blob manifests"` for some. Needs `make tools`.
bench: $(VENV)/.dev
	$(BIN)/python -m bench $(FIGURES)

soak: $(VENV)/.dev
	$(BIN)/pytest -q -m soak --timeout 14400

# What the next release's notes say so far; writes nothing.
news: $(VENV)/.dev
	$(BIN)/towncrier build --draft

# The documentation as a site, in dist/docs; a broken link is an error.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# entrepot's own image, an OCI archive for each platform, in dist/.
image: $(VENV)/.dev
	$(BIN)/python scripts/image.py

# Version, changelog, commit, tag, and what users install, in dist/: make release VERSION=0.2.0
release: $(VENV)/.dev
	$(BIN)/python scripts/release.py $(VERSION)

clean:
	rm -rf $(VENV) .cache build dist
