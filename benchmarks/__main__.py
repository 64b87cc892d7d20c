"""Measures this app compared with the usual samples, and writes `benchmarks/RESULTS.md`.

`make bench` measures the short parts in about 13 minutes, for the table in `docs/scale.md`. `make bench PARTS=all`
also measures the long parts, which takes about three hours more. `make bench PARTS="delays growth"` measures only these
parts. Rows and sections of RESULTS.md stay as they are if their part has not been measured on this machine, whose
figures are kept in `.local/bench`.
"""

import argparse
import os
import platform
import sys
import time
from typing import Final

import msgspec

from benchmarks.observing import OtherPrograms
from benchmarks.parts import PARTS, chosen, seconds_of
from benchmarks.report import RESULTS, write_report
from benchmarks.summary import broken_promises
from benchmarks.tables import kept_file, read_kept

QUIET_LOAD: Final = 0.5
"""Load average per processor above which other programs may distort the figures; the set-up alone causes some."""


def duration(seconds: float) -> str:
    """Return a rough duration in words."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"


def environment(others: float) -> str:
    """Return what a part was measured on, and the share of the processors that other programs used meanwhile."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} processors"
    return f"{system}, Python {sys.version.split()[0]}. Other programs used {others:.0%} of the processors."


def main() -> None:
    """Measure the chosen parts and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, {', '.join(PARTS)} (default: the short parts)")
    try:
        names = chosen(parser.parse_args().parts)
    except ValueError as error:
        parser.error(str(error))
    load = os.getloadavg()[0]
    print(f"Measuring {len(names)} part{'s'[: len(names) > 1]}: about {duration(seconds_of(names))}.", flush=True)
    if load > QUIET_LOAD * (os.cpu_count() or 1):
        print(
            f"Warning: the load average is {load:.1f}, so other programs may distort the figures. "
            "Stop them, or repeat the measurement when the machine is idle.",
            flush=True,
        )
    results = {long: read_kept(kept_file(long)) for long in (False, True)}
    for number, name in enumerate(names, 1):
        part = PARTS[name]
        about, left = duration(part.seconds), duration(seconds_of(names[number - 1 :]))
        print(f"[{number}/{len(names)}] {name}: about {about} ({left} left in total)", flush=True)
        begin = time.monotonic()
        others = OtherPrograms()
        part.measure(results[part.long])
        share = others.share()
        results[part.long].environments[name] = environment(share)
        taken = duration(time.monotonic() - begin)
        print(f"    done in {taken}; other programs used {share:.0%} of the processors", flush=True)
        kept_file(part.long).parent.mkdir(parents=True, exist_ok=True)
        kept_file(part.long).write_bytes(msgspec.json.encode(results[part.long]))
    print("\n" + write_report(results[False], results[True], RESULTS))
    for label in broken_promises(results[False]):
        print(f"Not as promised: {label}")
    print(f"Details: {RESULTS}. If the table has changed, copy it into docs/scale.md, which quotes it.")


if __name__ == "__main__":
    main()
