#!/bin/sh
# Prints the interpreter that `make` sets the project up with: the first supported one on the PATH, else one from uv.

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'

for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    # A broken interpreter, such as a version manager's for a version that is gone, is skipped.
    if "$candidate" -c "$supported" 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
done

if command -v uv >/dev/null; then
    range='>=3.11,<3.15'
    # --system, because an environment that was made here before must not be its own parent.
    if ! uv python find --system "$range" >/dev/null 2>&1; then
        echo "No Python 3.11 to 3.14 on the PATH: uv installs Python 3.13 ..." >&2
        uv python install 3.13 >&2
    fi
    if found=$(uv python find --system "$range" 2>/dev/null) && "$found" -c "$supported"; then
        echo "$found"
        exit 0
    fi
    echo "uv could not provide Python 3.13. Check the network and proxy settings, then try again." >&2
fi

cat >&2 <<'END'
No Python 3.11, 3.12, 3.13 or 3.14 was found, and Azure Functions runs no other version. Install one, for example:
    uv python install 3.13
    brew install python@3.13                          (macOS)
    sudo apt install python3.13 python3.13-venv       (Debian, Ubuntu)
    sudo dnf install python3.13                       (Fedora)
Or name the interpreter: make run PYTHON=/path/to/python3.13
END
exit 1
