"""Azurite's database finds and deletes the same blobs with its indexes as without them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from local.install import AZURITE_PACKAGE, node_command
from local.storage_emulator import azurite_program

PROGRAM: Final = """
const loki = require(require.resolve("lokijs", { paths: [require("node:path").dirname(process.argv[1])] }));
const blobs = new loki("memory").addCollection("blobs", { indices: ["accountName", "containerName", "name"] });
const of = (containerName, name) => ({ accountName: "account", containerName, name });
for (let number = 0; number < 60; number++) {
  blobs.insert(of(number % 2 ? "incoming" : "results", `file ${(number * 7) % 20}`));
}
const seen = [];
for (let number = 0; number < 20; number++) {
  seen.push(blobs.find(of("incoming", `file ${number}`)).map((blob) => blob.$loki));
  seen.push(blobs.findOne(of("results", `file ${number}`))?.$loki);
  if (number % 3 === 0) {
    // Several with this name, then one, then none.
    blobs.findAndRemove(of("incoming", `file ${number}`));
    blobs.findAndRemove({ ...of("results", `file ${number}`), $loki: seen.at(-1) });
    blobs.findAndRemove(of("results", "no such file"));
  }
  seen.push(blobs.find({ accountName: "account", containerName: "results" }).map((blob) => blob.$loki));
  seen.push(blobs.find({ name: { $gt: "file 12" }, accountName: "account" }).length);
}
console.log(JSON.stringify({ seen, uses: loki.Resultset.prototype.$and === loki.Resultset.prototype.findAnd,
  patched: loki.Resultset.prototype.findAnd.name }));
"""


def run(tmp_path: Path, *options: str) -> dict[str, object]:
    """Return the output of the program. Node takes it for Azurite, so the same database is found."""
    program = tmp_path / "program.js"
    program.write_text(f"process.argv[1] = {json.dumps(str(azurite_program()))};\n{PROGRAM}", encoding="utf-8")
    preload = tmp_path / "argument.cjs"
    preload.write_text(f"process.argv[1] = {json.dumps(str(azurite_program()))};\n", encoding="utf-8")
    command = [*node_command(Path(sys.prefix)), f"--require={preload}", *options, str(program)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    answer: dict[str, object] = json.loads(found.stdout)
    return answer


def test_what_is_found_and_deleted_is_the_same(tmp_path: Path) -> None:
    """Blobs with equal names in several containers, deleted one by one and together."""
    without, with_indexes = run(tmp_path), run(tmp_path, f"--require={AZURITE_PACKAGE / 'indexes.cjs'}")
    assert without["patched"] != with_indexes["patched"]
    assert with_indexes["uses"]
    assert with_indexes["seen"] == without["seen"]
