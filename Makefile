# make run     sets everything up, drops the sample files (or FILES="a.txt b.txt"), shows their entities
# make start   keeps everything up for dropping files
# make test    sets everything up and runs all tests
# make screenshot  takes the pictures of the README anew (needs Chromium)
# make chaos   runs the app through random faults, ten times (SEEDS=10 FIRST=1), and checks that all is well in the end
# make bench   measures the app beside its peers and writes benchmarks/RESULTS.md (hours; PARTS="delays" a part)
# make lint    formatting, lint, types
#
# PYTHON=/path/to/python3.13 chooses the interpreter, VENV=.venv-3.13 the folder of its virtual environment.

VENV ?= .venv
# The first interpreter of this machine that Azure Functions could run; a broken one on PATH is passed over.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo "$$candidate" && break; done)
IN_VENV = $(VENV)/bin/python
FILES ?=
SEEDS ?= 10
FIRST ?= 1
PARTS ?=

.PHONY: setup run start test screenshot chaos lint bench bench-ner bench-text clean

setup:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed (what Azure Functions runs). Install one from \
	python.org or your package manager, or name it: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" local/install.py "$(VENV)"

run: setup
	@$(IN_VENV) -m local run $(FILES)

start: setup
	@$(IN_VENV) -m local start

test: setup
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r tests/browser/requirements.txt
	$(IN_VENV) -m pytest

screenshot: setup
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r tests/browser/requirements.txt
	$(IN_VENV) -m pytest tests/browser -k picture --screenshot

chaos: setup
	@$(IN_VENV) -m tests.chaos.run --seeds $(SEEDS) --first $(FIRST)

lint: setup
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m mypy .

bench: setup
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@$(IN_VENV) -m benchmarks $(PARTS)

bench-ner: setup
	@$(IN_VENV) -m benchmarks.ner_quality

bench-text: setup
	@$(IN_VENV) -m benchmarks.text

clean:
	rm -rf .venv* .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
