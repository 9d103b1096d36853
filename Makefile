# make scan    scan the default simulated slide into first-slide/
# make test    the default tests, without torch (six minutes on two slow cores)
# make check   what make test leaves out and runs without hardware: lint, slow tests, tests that need torch, other
#              programs that read our slides, docs, wheel; the quick benchmarks stand in the documentation, whose commands
#              are among the tests
# make train TEXTURES=DIR   make the shipped network again (an hour and a half on two cores)
# make ablations TEXTURES=DIR   train and measure every recipe in runs/ablations (two hours)
# make long    the few tests that a check has no time for (five minutes of two cores)
# make fuzz    spoilt inputs for everything that reads files: INPUTS of each kind (2,500: an hour of one core)
# make docs    the documentation as HTML, in docs/_build/html
# make clean   remove what the other targets made, except the environment and training/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BARE := build/bare
# Bytecode is compiled when a module is first imported, most never are; and kept, for the tests start many processes.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip install --quiet --no-compile
APT := $(if $(filter 0,$(shell id -u)),,sudo -n) env DEBIAN_FRONTEND=noninteractive apt-get
# Training allocates and frees large arrays all the time: huge pages, kept, instead of page faults (about 2 times faster).
ALLOCATOR := glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184

# One thread in each array library, and a test process for each core: many small pictures are faster so.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: scan test check lint slow readers docs wheel long fuzz train ablations clean

scan: $(VENV)/.base
	$(BIN)/parfocal scan simulated-20x --out first-slide --overwrite
	@echo
	@echo "Look at first-slide/overview.jpg (the slide) and first-slide/focus.png (how well it is focused) in any viewer,"
	@echo "and at first-slide/slide.ome.tif, the slide itself, in QuPath. Numbers: $(BIN)/parfocal info first-slide"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: lint slow docs wheel

lint: $(VENV)/.train
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Exactly what make test left out, but for what make long runs.
slow: $(VENV)/.train | readers
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "(slow or train) and not long and not hardware"

# Programs of others that read our slides, and a database: a test whose program is missing is skipped, and says so.
OTHERS := dicom3tools chromium postgresql
readers:
	@{ command -v dciodvfy && command -v chromium && ls -d /usr/lib/postgresql/*/bin; } >/dev/null 2>&1 \
		|| { $(APT) -q update && $(APT) -q install --yes --no-install-recommends $(OTHERS); } \
		|| echo "Not all installed: $(OTHERS). Tests that need them are skipped; apt-get install adds them."

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# The wheel works where nothing else is installed, and not by way of the source tree.
wheel: $(VENV)/.dev
	rm -rf dist $(BARE) build/bare-slide
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python -m pip install --quiet --no-compile dist/*.whl
	$(BARE)/bin/python -c "import importlib.util as u; assert not u.find_spec('torch'), 'torch is in the base install'"
	$(BARE)/bin/parfocal scan simulated-20x --out build/bare-slide --specimen blood-smear --area 0.2x0.2
	$(BARE)/bin/parfocal info build/bare-slide/slide.ome.tif

long: $(VENV)/.train
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "long and not hardware"

INPUTS ?= 2500

fuzz: $(VENV)/.train
	$(BIN)/python tests/fuzz/spoil.py --inputs $(INPUTS)

train: $(VENV)/.train
	GLIBC_TUNABLES=$(ALLOCATOR) $(BIN)/parfocal train runs/bands.toml --textures "$(TEXTURES)" --out training

# Each goes on where it stopped, and one that is done is not done again.
ABLATIONS := $(notdir $(basename $(wildcard runs/ablations/*.toml)))

ablations: $(addprefix build/ablations/,$(addsuffix .onnx,$(ABLATIONS)))
	$(BIN)/parfocal benchmark accuracy --network build/ablations/paper.onnx \
		$(addprefix --against ,$(filter-out %/paper.onnx,$^)) \
		--renderer fast --tiles 2x2 --sets build/ablations/sets

build/ablations/%.onnx: runs/ablations/%.toml | $(VENV)/.train
	GLIBC_TUNABLES=$(ALLOCATOR) $(BIN)/parfocal train $< --textures "$(TEXTURES)" --out build/ablations/$* \
		--pairs build/ablations/pairs
	cp build/ablations/$*/network.onnx $@

clean:
	rm -rf build dist docs/_build first-slide .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Stamps: an install is repeated only when pyproject.toml asks for other packages.
$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.base

$(VENV)/.train: pyproject.toml | $(VENV)/.dev
	$(INSTALL) -e '.[dev,train]'
	@touch $@
