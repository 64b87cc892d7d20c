"""`python -m local.ner`: serves the emulator of the custom NER service on this machine."""

import argparse
import json
import logging
import os
import socket
import sys
from pathlib import Path

import uvicorn

from local.app_settings import EMULATOR_KEY, SAMPLE, read_values
from local.children import stop_with_parent
from local.install import ROOT, STATE
from local.ner.app import Emulator
from local.ner.labels import LabelsError, Project, load_project
from local.ner.recogniser import Recogniser
from local.ner.requests import Deployment
from local.ner.scoring import score
from local.ner.switches import Switches

log = logging.getLogger("ner-emulator")

SAMPLE_LABELS = ROOT / "local" / "sample" / "project" / "labels.json"


def parse_arguments() -> argparse.Namespace:
    """Read the command line; what it leaves out is as in local.settings.sample.json."""
    sample = read_values(SAMPLE)
    parser = argparse.ArgumentParser(
        "python -m local.ner",
        description="Serve the emulator of the custom NER service on this machine.",
        epilog=f"The environment variable {EMULATOR_KEY} is the key to accept (default: that of {SAMPLE.name}). If it "
        "is empty, any bearer token is accepted.",
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument(
        "--labels",
        type=Path,
        default=SAMPLE_LABELS,
        help="labels file, with its texts in the same folder (default: the sample project)",
    )
    parser.add_argument(
        "--cache", type=Path, default=STATE / "models", help="folder for trained models (default: .local/models)"
    )
    parser.add_argument("--project", default=sample["NER_PROJECT_NAME"], help="name of the project")
    parser.add_argument("--deployment", default=sample["NER_DEPLOYMENT_NAME"], help="name of the deployment")
    parser.add_argument("--model-id", default=sample["NER_MODEL_ID"], help="id of the model for the first preview")
    parser.add_argument(
        "--job-seconds",
        type=float,
        default=Switches().job_seconds,
        help="duration of a job in seconds (default: %(default)s)",
    )
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    arguments.key = os.environ.get(EMULATOR_KEY, sample["NER_KEY"])
    return arguments


def load(labels: Path, cache: Path) -> tuple[Project, Recogniser]:
    """Return the project and its recogniser, and log how good it is on the documents that are kept for a test."""
    project = load_project(labels)
    recogniser = Recogniser.load_or_train(project, cache)
    kept = [document for document in project.documents if document.dataset == "Test"]
    if kept:
        found = [recogniser.recognise(document.text) for document in kept]
        overall = score([document.spans for document in kept], found).overall
        log.info("project %s: F1 %.2f on its %d test documents", project.name, overall.f1, len(kept))
    return project, recogniser


def main() -> int:
    """Serve until asked to stop."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if arguments.exit_with_stdin:
        stop_with_parent()
    try:
        project, recogniser = load(arguments.labels, arguments.cache)
        # From here on the kernel takes connections, so that the address can be told.
        listening = socket.create_server(("127.0.0.1", arguments.port))
    except LabelsError as error:
        log.error("%s", error)  # noqa: TRY400  # a sentence for the user, no traceback
        return 1
    except OSError as error:
        log.error("port %d cannot be used (%s): choose another with --port", arguments.port, error.strerror)  # noqa: TRY400
        return 1
    deployment = Deployment(
        arguments.project, arguments.deployment, arguments.model_id, project.language, project.multilingual
    )
    emulator = Emulator(recogniser, deployment, arguments.key, switches=Switches(job_seconds=arguments.job_seconds))
    port = listening.getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)  # noqa: T201  # for the one who started us
    config = uvicorn.Config(emulator.app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
