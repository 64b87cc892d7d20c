# make setup       installs everything; all other targets except clean run it first
# make start       starts the whole app with the page, and keeps it running until Ctrl-C
# make run         starts the app, uploads the sample files (or FILES="a.txt b.txt"), shows their entities, and stops
# make unit        runs the unit tests (under 40 seconds)
# make test        runs all tests (about 8 minutes on two processors)
# make lint        checks formatting, style and types
# make chaos       runs the app under random faults, ten times (SEEDS=10 FIRST=1), and checks that nothing is lost
# make bench       measures the app and writes benchmarks/RESULTS.md (under 15 minutes; PARTS=all: about 3 hours more)
# make bench-text  measures the time and memory that long texts need
# make bench-ner   scores the local recogniser on a public data set, if you have it
# make screenshot  takes the pictures of the page again (needs Chromium)
# make clean       deletes everything that was set up, and all local files and outcomes
#
# PYTHON=/path/to/python3.13 chooses the interpreter, VENV=.venv-3.13 the folder of its virtual environment.
# Without PYTHON, local/find_python.sh finds a supported one.

VENV ?= .venv
PYTHON ?=
IN_VENV = "$(VENV)/bin/python"
FILES ?=
SEEDS ?= 10
FIRST ?= 1
PARTS ?=

# Let Python cache its bytecode: otherwise each of the many short processes compiles the code again.
unexport PYTHONDONTWRITEBYTECODE
# pip may be configured to install for the user, which fails in a virtual environment.
export PIP_USER := 0

.PHONY: setup run start unit test screenshot chaos lint bench bench-ner bench-text needs-linux clean

setup:
	@python="$(PYTHON)"; [ -n "$$python" ] || python=$$(sh local/find_python.sh) || exit 1; \
	"$$python" local/install.py "$(VENV)"

# If a file has the name FILES, which may contain spaces, run on that file. Otherwise FILES is a list of files.
run: setup
	@if [ -e "$$FILES" ]; then set -- "$$FILES"; else set -- $(FILES); fi; $(IN_VENV) -m local run "$$@"

start: setup
	@exec $(IN_VENV) -m local start

unit: setup
	$(IN_VENV) -m pytest -n logical --dist loadfile tests/unit

test: setup
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r tests/browser/requirements.txt \
	|| { echo "The tests of the page are skipped: they need tests/browser/requirements.txt." >&2; \
	[ -z "$$NER_TESTS_NEED_BROWSER" ]; }
	$(IN_VENV) -m pytest -n auto --dist loadgroup --ignore tests/test_logs.py
	@echo "Searching all logs for keys and texts ..."
	@$(IN_VENV) -m pytest -q --keep-logs --basetemp .local/pytest-logs tests/test_logs.py

screenshot: setup
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r tests/browser/requirements.txt
	$(IN_VENV) -m pytest tests/browser -k picture --screenshot

chaos: setup
	@$(IN_VENV) -m tests.chaos.run --seeds $(SEEDS) --first $(FIRST)

lint: setup
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m mypy .

bench: needs-linux setup
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@$(IN_VENV) -m benchmarks $(PARTS)

bench-ner: setup
	@$(IN_VENV) -m benchmarks.ner_quality

bench-text: needs-linux setup
	@$(IN_VENV) -m benchmarks.text

needs-linux:
	@[ -r /proc/self/stat ] || { echo "The benchmarks read processor time and memory from /proc, which only Linux has. \
	Run them on Linux or in the dev container." >&2; exit 1; }

clean:
	rm -rf .venv* .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
