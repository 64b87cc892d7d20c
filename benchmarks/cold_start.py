"""The import time of a cold start: fresh processes, relative to a process that only imports `azure.functions`.

They run in a virtual environment that holds only the packages that are deployed and, for the blocking sample, the
official client: some packages import more if more is installed.
"""

import os
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

from local.app_settings import SAMPLE, read_values
from local.install import ROOT, STATE, environment_python, install_python_packages

RUNS: Final = 9
BASE: Final = "import azure.functions"
OWN: Final = "`import function_app`"
STEPS: Final = {
    "`import azure.functions`": BASE,
    OWN: "import function_app",
    "the same, and the imports of the first invocation": "import function_app; function_app.pipeline()",
    "the blocking sample": "import sys; sys.path.insert(0, 'benchmarks/apps/blocking'); import function_app",
    "the sample with a fixed interval": (
        "import sys; sys.path.insert(0, 'benchmarks/apps/fixed_interval'); import function_app"
    ),
}


def deployed_python() -> Path:
    """Return a Python that has what is deployed."""
    environment, requirements = STATE / "bench" / "deployed", ROOT / "requirements.txt"
    client = f"azure-ai-textanalytics=={version('azure-ai-textanalytics')}"
    install_python_packages(environment, ["-r", str(requirements), client], [requirements])
    return environment_python(environment)


def seconds(python: Path, code: str) -> float:
    """Return how long a fresh process takes to run some code."""
    begin = time.perf_counter()
    subprocess.run([python, "-c", code], check=True, cwd=ROOT, env={**os.environ, **read_values(SAMPLE)})
    return time.perf_counter() - begin


def ratios() -> dict[str, list[float]]:
    """Return for each step the ratios to the base, each of a pair of processes run one after the other."""
    python = deployed_python()
    for code in STEPS.values():
        seconds(python, code)  # compiles what it imports
    found: dict[str, list[float]] = {name: [] for name in STEPS}
    for _ in range(RUNS):
        for name, code in STEPS.items():
            found[name].append(seconds(python, code) / seconds(python, BASE))
    return found


if __name__ == "__main__":
    for name, values in ratios().items():
        print(f"{name}: {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
