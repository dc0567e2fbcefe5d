# Two commands for newcomers: `make demo` and `make test`. Both set themselves up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# A process per core; one that has nothing left to do takes over some of another's tests.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

.PHONY: help setup demo test test-fast crash fuzz check types docs notebook licenses graph clean
help:
	@echo "make demo       the built-in agent on a level it never saw, before and after learning there"
	@echo "make test       run all tests (about five minutes on two cores)"
	@echo "make test-fast  run the tests that train nothing and start no server (a minute and a half)"
	@echo "make crash      kill 200 small trainings and resume each (half an hour)"
	@echo "make fuzz       try 2000 odd inputs of each kind: files, words, replies (an hour)"
	@echo "make check      lint, format and types"
	@echo "make docs       build the documentation site into build/docs (a minute and a half)"
	@echo "make notebook   execute docs/quickstart.ipynb and keep its outputs"
	@echo "make licenses   update the dependencies' licenses in docs/licenses.md"
	@echo "make graph      update the drawing of modules in docs/architecture.md"
	@echo "make setup      virtual environment .venv with pinned packages (the others do this)"

setup: $(STAMP)
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,mujoco,miniworld]'
	touch $(STAMP)

demo: setup
	$(BIN)/hier bench learn-on --seeds 0

test: setup
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m "not slow"

crash: setup
	$(BIN)/python -m tests.crash.harness --kills 200 --out docs/results/crashes.json

fuzz: setup
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/fuzz -s --hypothesis-show-statistics

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "open build/docs/index.html"

notebook: setup
	PYTHONWARNINGS=ignore:IProgress $(BIN)/jupyter execute --inplace docs/quickstart.ipynb

licenses: setup
	$(BIN)/python docs/licenses.py

graph: setup
	$(BIN)/python docs/module_graph.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory types

types: setup
	@# Type checkers know no package-dir: they read the package through links.
	@rm -rf build/types && mkdir -p build/types/hier
	@ln -s $(CURDIR)/hier/* $(addprefix $(CURDIR)/,envs perception planners controllers) build/types/hier/
	MYPYPATH=build/types $(BIN)/mypy -p hier

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
