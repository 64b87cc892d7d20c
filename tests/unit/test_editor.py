"""The settings for editors: tasks that launch configurations name exist, and they agree with the local app."""

import json
from typing import Any

from local import stack
from local.install import AZURITE_NODE_MODULES, ROOT


def settings_of(name: str) -> Any:
    """Return a JSON file of the project; it has no comments, so that every tool reads it."""
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def test_tasks_that_are_named_exist() -> None:
    """By a launch configuration, or by another task."""
    tasks = settings_of(".vscode/tasks.json")["tasks"]
    labels = {task["label"] for task in tasks}
    named = {configuration["preLaunchTask"] for configuration in settings_of(".vscode/launch.json")["configurations"]}
    for task in tasks:
        needed = task.get("dependsOn", [])
        named |= {needed} if isinstance(needed, str) else set(needed)
    assert named <= labels


def test_tasks_start_what_is_installed() -> None:
    """Azurite from where the set-up puts it, and the emulator on the port of the sample settings."""
    tasks = {task["label"]: task for task in settings_of(".vscode/tasks.json")["tasks"]}
    azurite = AZURITE_NODE_MODULES / "azurite" / "dist" / "src" / "azurite.js"
    assert azurite.relative_to(ROOT).as_posix() in tasks["storage emulator"]["args"]
    endpoint = settings_of("local.settings.sample.json")["Values"]["NER_ENDPOINT"]
    assert endpoint == f"http://127.0.0.1:{tasks['NER emulator']['args'][-1]}"


def test_dev_container_sets_up_and_forwards_the_page() -> None:
    """With the command and the port that the README names."""
    container = settings_of(".devcontainer/devcontainer.json")
    assert container["postCreateCommand"] == "make setup"
    assert container["forwardPorts"] == [stack.PAGE_PORT]


def test_recommended_extensions_are_those_of_the_container() -> None:
    """The container installs some of the recommended ones, and no others."""
    recommended = settings_of(".vscode/extensions.json")["recommendations"]
    installed = settings_of(".devcontainer/devcontainer.json")["customizations"]["vscode"]["extensions"]
    assert set(installed) <= set(recommended)
