# Two commands do everything on a fresh machine with Python 3.11 or newer, git and make:
#   make figures      every figure and verdict, on real data    (SCALE=smoke|laptop|full, CORES=n)
#   make test         all tests, and the whole workflow at smoke scale
# Further: check, report, bench, lint. They share one environment, .venv, with exact pins.
SCALE ?= laptop
VENV ?= .venv

ifeq ($(origin CORES), undefined)
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
endif
ifeq ($(origin PYTHON), undefined)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$p" && break; done)
endif

BIN := $(abspath $(VENV))/bin
LOCK := $(shell cat constraints.txt pyproject.toml | cksum | cut -d' ' -f1)
READY := $(VENV)/.installed-$(LOCK)
BENCH_READY := $(READY)-bench
RUN := PATH="$(BIN):$$PATH"
SMOKE := snakemake --cores $(CORES) --config scale=smoke

.PHONY: figures test check report bench lint
.NOTPARALLEL:

figures: $(READY)
	@echo "== every figure and verdict at $(SCALE) scale, on $(CORES) cores"
	@$(RUN); export PATH; \
	snakemake --cores $(CORES) --config scale=$(SCALE); status=$$?; \
	python -m reproductions finish --scale $(SCALE) || exit $$?; \
	exit $$status

test: $(READY)
	@echo "== tests"
	@$(RUN) python -m pytest -n 2
	@echo "== the whole workflow at smoke scale, held against the record"
	@$(RUN) $(SMOKE)
	@$(RUN) $(SMOKE) -- check

check: $(READY)
	@$(RUN) snakemake --cores $(CORES) --config scale=$(SCALE) -- check

report: $(READY)
	@$(RUN) python -m reproductions report --scale $(SCALE)

bench: $(BENCH_READY)
	@echo "== speed, ours beside its peers (minutes; leave the machine alone meanwhile)"
	@$(RUN) OMP_NUM_THREADS=2 REPRODUCTIONS_RECORD_BENCHMARKS=1 \
	python -m pytest tests/benchmarks -p no:xdist -s -o addopts=

lint: $(READY)
	@$(RUN); export PATH; set -e; \
	echo "== ruff"; ruff check .; ruff format --check .; \
	echo "== mypy"; mypy; \
	echo "== snakefmt"; snakefmt --check Snakefile workflows; \
	echo "== snakemake --lint"; snakemake --lint

$(READY):
	@echo "== environment: $(VENV) with the packages of constraints.txt (minutes the first time)"
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 2; }
	@"$(BIN)/python" -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear "$(VENV)"
	@"$(BIN)/python" -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -f "$(VENV)"/.installed-*
	@touch "$@"

$(BENCH_READY): $(READY)
	@echo "== environment: the peers that speed is compared with"
	@"$(BIN)/python" -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch "$@"
