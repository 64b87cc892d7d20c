"""The deployment's templates: they parse, fit together, hold no key, and set what the app reads.

A parser written in Python reads them, because not every machine has a Bicep compiler; test_infra_compiled uses one.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pycep import BicepParser

from local.app_settings import SAMPLE, read_values
from local.install import ROOT
from shared.outcome import OutcomeStatus
from shared.settings import Settings

INFRA = ROOT / "infra"
TEMPLATES = sorted(INFRA.glob("*.bicep"))
SCRIPTS = {"subscribe.sh": r"\$", "subscribe.ps1": r"\$env:"}
"""With how they name a variable of the environment."""
OTHER_CONNECTION = (
    "NER_STORAGE",
    *(f"NER_STORAGE__{each}" for each in ("blobServiceUri", "queueServiceUri", "clientId")),
)
"""What wins over the name of a storage account, or changes who asks it."""
ACTIONS = {
    *("actions/checkout@v5", "actions/setup-python@v6", "actions/upload-artifact@v7"),
    *("azure/login@v3", "Azure/setup-azd@v2"),
}
"""Versions that run on a Node.js that GitHub still has."""


@cache
def parsed(path: Path) -> Any:
    """Return what a template says."""
    return BicepParser().parse(file_path=path)


def without_condition(declared: Any) -> Any:
    """Return what a module or resource is told, whether or not it is there only sometimes or many times."""
    config = declared["config"]
    return config["config"] if "config" in config and ("condition" in config or "loop_type" in config) else config


def modules() -> dict[str, Any]:
    """Return the modules of main.bicep."""
    found: dict[str, Any] = parsed(INFRA / "main.bicep")["modules"]
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_parameter_is_used(path: Path) -> None:
    """Also: the template parses."""
    text = path.read_text()
    for name in parsed(path).get("parameters", {}):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_modules_get_the_parameters_that_they_ask_for() -> None:
    """No more, and no less than those without a default."""
    for name, module in modules().items():
        asked = parsed(INFRA / module["detail"]["path"])["parameters"]
        given = set(without_condition(module)["params"])
        assert given <= set(asked), name
        assert {key for key, parameter in asked.items() if parameter["default"] is None} <= given, name


def test_outputs_that_are_used_are_there() -> None:
    """Of modules in main.bicep."""
    uses = re.findall(r"\b(\w+)\.outputs\.(\w+)", (INFRA / "main.bicep").read_text())
    assert len(uses) > 10
    for module, output in uses:
        assert output in parsed(INFRA / modules()[module]["detail"]["path"])["outputs"], (module, output)


def test_azd_gives_what_main_asks_for() -> None:
    """Every parameter, with the template's own default."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    asked = parsed(INFRA / "main.bicep")["parameters"]
    assert set(given) == set(asked), "one that is not given cannot be set without a change of the template"
    for name, parameter in asked.items():
        assert any(decorator["type"] == "description" for decorator in parameter["decorators"]), name
        value = given[name]["value"]
        if "=" in value and "${AZURE" not in value:
            default = value.removesuffix("}").partition("=")[2]
            assert default == text_of(parameter["default"]), name


def test_the_operator_is_by_default_who_runs_azd() -> None:
    """Also in its type: Azure refuses a role for a service principal that is called a user. Both can be replaced."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given["operatorId"]["value"] == "${NER_OPERATOR_ID=${AZURE_PRINCIPAL_ID}}"
    assert given["operatorType"]["value"] == "${NER_OPERATOR_TYPE=${AZURE_PRINCIPAL_TYPE}}"


def test_roles_of_topics_are_named_after_their_principals() -> None:
    """A topic that is created again has another principal, and Azure refuses to change that of an assignment."""
    for name in ("event-failures", "queue-subscription"):
        access = without_condition(parsed(INFRA / f"{name}.bicep")["resources"]["access"])
        assert "topicPrincipalId" in str(access["name"]), name


def test_what_azure_would_refuse_later_is_explained_first() -> None:
    """A resource without subdomain refuses each token; a topic without identity delivers nothing into a queue."""
    access = (INFRA / "language-access.bicep").read_text()
    assert "output endpoint string = hasSubdomain ? account.properties.endpoint : fail(noSubdomain)\n" in access
    queue = (INFRA / "queue-subscription.bicep").read_text()
    assert "var principalId = empty(topicPrincipalId) ? fail(noIdentity) : topicPrincipalId\n" in queue
    assert "    principalId: principalId\n" in queue


def text_of(default: Any) -> str:
    """Return the default of a parameter as a variable of the environment has it."""
    if isinstance(default, str):
        return default.strip("'")
    return json.dumps(default)


def mapped() -> set[str]:
    """Return the names of the variables that azd puts into the parameters; it knows its own."""
    text = (INFRA / "main.parameters.json").read_text()
    return set(re.findall(r"\$\{([A-Z_]+)", text)) - {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}


def test_the_workflow_passes_every_variable() -> None:
    """A deployment replaces all settings and rules, so one without a variable undoes what the variable had set."""
    workflow = (ROOT / ".github" / "workflows" / "azure-dev.yml").read_text()
    passed = dict(re.findall(r"^      ([A-Z_]+): \$\{\{ (.*?) \}\}", workflow.partition("  deploy:")[2], re.MULTILINE))
    assert set(passed) == mapped() | {"AZURE_SUBSCRIPTION_ID", "NER_CHECK"}
    for name, value in passed.items():
        assert value.partition(" || ")[0] == f"vars.{name}"
    assert passed["NER_APP_SETTINGS"].endswith(" || '{}'"), "an empty string is no JSON"
    assert passed["NER_OPERATOR_ID"].endswith(" || 'none'"), "the workflow needs no access to the files"


def test_the_guide_explains_every_variable() -> None:
    """In the table of what azd can set, or in the commands above it."""
    guide = (ROOT / "docs" / "deploy.md").read_text()
    table = guide.partition("| Variable | Effect |")[2].partition("\n\n")[0]
    own = {name for name in mapped() if name.startswith("NER_")}
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == own - {"NER_PROJECT_NAME", "NER_DEPLOYMENT_NAME"}
    assert all(f"azd env set {name} <" in guide for name in ("NER_PROJECT_NAME", "NER_DEPLOYMENT_NAME"))


def test_the_guide_has_the_price_of_the_alerts() -> None:
    """Azure charges for each rule by how often it runs."""
    alerts = (INFRA / "alerts.bicep").read_text()
    often, seldom = (alerts.count(f"frequency: '{each}'") for each in ("PT5M", "PT15M"))
    metrics = alerts.count("Microsoft.Insights/metricAlerts@")
    guide = (ROOT / "docs" / "deploy.md").read_text()
    assert f"| {often * 1.5 + seldom * 0.5 + metrics * 0.1:.2f} | {often} log alerts every 5 minutes" in guide


def test_an_azd_that_deletes_groups_of_others_is_refused() -> None:
    """Before 1.24.1, azd took the group of the named Language resource for its own, and deleted it."""
    text = (ROOT / "azure.yaml").read_text()
    assert re.search(r'^requiredVersions:\n  azd: ">= 1\.24\.1"$', text, re.MULTILINE)
    assert "1.24.1" in (ROOT / "docs" / "deploy.md").read_text()


def test_the_workflow_gets_a_token_for_the_branch() -> None:
    """`azd pipeline config` makes credentials for branches and pull requests, and looks for this name."""
    workflow = (ROOT / ".github" / "workflows" / "azure-dev.yml").read_text()
    assert not re.search(r"^ +environment:", workflow, re.MULTILINE)
    assert "id-token: write" in workflow


def test_the_workflow_deploys_only_what_every_job_has_tested() -> None:
    """The real host and the compiler of the templates are jobs of their own; actions are pinned by version."""
    text = (ROOT / ".github" / "workflows" / "azure-dev.yml").read_text()
    jobs = dict(re.findall(r"^  (\w+):\n((?:(?:    .*)?\n|  #.*\n)+)", text.partition("\njobs:\n")[2], re.MULTILINE))
    needed = re.search(r"needs: \[(.*)\]", jobs["deploy"])
    assert needed
    assert set(needed[1].split(", ")) == jobs.keys() - {"deploy"}
    assert re.search(r"run: npm install --global azure-functions-core-tools@\d+\.\d+\.\d+ ", jobs["host"])
    assert "-m pytest tests/e2e/test_core_tools_host.py\n" in jobs["host"]
    assert 'NER_TESTS_NEED_CORE_TOOLS: "1"' in jobs["host"]
    assert "run: az bicep install --version v" in jobs["templates"]
    assert set(re.findall(r"uses: (\S+)", text)) == ACTIONS


@pytest.mark.parametrize(("name", "variable"), SCRIPTS.items())
def test_the_subscription_is_given_what_it_asks_for(name: str, variable: str) -> None:
    """From the outputs of main.bicep, which azd puts into the environment of its hooks."""
    text = (INFRA / name).read_text()
    given = set(re.findall(rf"(\w+)=\"?{variable}[A-Z]", text))
    assert given == set(parsed(INFRA / "subscription.bicep")["parameters"])
    outputs = set(parsed(INFRA / "main.bicep")["outputs"]) | {"AZURE_SUBSCRIPTION_ID"}
    assert set(re.findall(rf"{variable}([A-Z][A-Z_]+)", text)) <= outputs
    assert f"run: infra/{name}\n" in (ROOT / "azure.yaml").read_text()


def run_script(folder: Path, name: str, **environ: str) -> tuple[int, str, dict[str, str]]:
    """Run a hook with stand-ins for az and Python; return its exit code, what it said, and the check's environment."""
    copies = folder / "infra"
    copies.mkdir()
    for script in ("subscribe.sh", "check.sh"):
        shutil.copy(INFRA / script, copies)
    stand_in(folder / "az", f"touch {folder}/subscribed")
    stand_in(folder / ".venv" / "bin" / "python", 'echo "$@"; env > environ; exit ${CHECK_ENDS_WITH:-0}')
    outputs = {name: f"the-{name.lower()}" for name in parsed(INFRA / "main.bicep")["outputs"]}
    path = f"{folder}:/usr/bin:/bin"
    given = {**outputs, "AZURE_SUBSCRIPTION_ID": "0", "PATH": path, "NER_KEY": "of another app", **environ}
    command = ["sh", str(copies / name)]
    result = subprocess.run(command, cwd="/", env=given, capture_output=True, text=True, check=False)
    written = folder / "environ"
    found = dict(line.split("=", 1) for line in written.read_text().splitlines()) if written.is_file() else {}
    return result.returncode, result.stdout + result.stderr, found


def stand_in(path: Path, text: str) -> None:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_hook_checks_the_deployed_app(tmp_path: Path) -> None:
    """After the subscription, with the settings of this deployment alone."""
    others = dict.fromkeys((*OTHER_CONNECTION, "NER_QUEUE", "NER_STATE_CONTAINER"), "of another app")
    code, said, environ = run_script(tmp_path, "subscribe.sh", NER_PROJECT_NAME="concierge", **others)
    assert (code, said) == (0, "-m local check\n")
    assert environ["NER_STORAGE__accountName"] == "the-storage_account_name"
    assert environ["NER_INPUT_CONTAINER"] == "the-input_container"
    assert environ["NER_RESULTS_CONTAINER"] == "the-results_container"
    assert environ["NER_ENDPOINT"] == "the-language_endpoint"
    assert environ["NER_BLOB_TRIGGER_SOURCE"] == "the-blob_trigger_source"
    assert environ["NER_PROJECT_NAME"] == "concierge"
    assert (tmp_path / "subscribed").exists()
    assert not {"NER_KEY", *others} & environ.keys()
    assert not (ROOT / environ["NER_LOCAL_SETTINGS"]).exists()


def test_the_hook_fails_if_the_check_does(tmp_path: Path) -> None:
    """So that azd says it; the app stays deployed."""
    code, said, _ = run_script(tmp_path, "subscribe.sh", CHECK_ENDS_WITH="1")
    assert code == 1
    assert "azd hooks run postdeploy" in said


@pytest.mark.parametrize(
    ("environ", "is_checked"),
    [
        ({"NER_CHECK": "off"}, False),
        ({"NER_OPERATOR_ID": "none"}, False),
        ({"NER_OPERATOR_ID": "none", "NER_CHECK": "on"}, True),
        ({"NER_PRIVATE_NETWORK": "true"}, False),
        ({"NER_PRIVATE_NETWORK": "true", "NER_ALLOWED_ADDRESSES": '["203.0.113.7"]'}, True),
    ],
)
def test_the_hook_checks_only_with_access(environ: dict[str, str], is_checked: bool, tmp_path: Path) -> None:
    """Otherwise it says why not, and the deployment succeeds."""
    code, said, found = run_script(tmp_path, "check.sh", **environ)
    assert code == 0
    assert bool(found) is is_checked
    assert ("was not checked, because" in said) is not is_checked


def test_windows_passes_on_all_that_the_check_reads() -> None:
    """WSL gets only the variables that are listed."""
    text = (INFRA / "check.ps1").read_text()
    passed = set(re.findall(r"'([A-Z_]+)'", text.partition("$found")[0]))
    read = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", (INFRA / "check.sh").read_text()))
    own = set(without_condition(modules()["app"])["params"]["nerSettings"])
    assert passed >= read
    assert passed - read == own & passed
    # BLOB_TRIGGER_SOURCE, an output, says which one is deployed.
    assert {name for name in mapped() if name in own} - {"NER_BLOB_TRIGGER_SOURCE"} <= passed
    assert "check.ps1" in (INFRA / "subscribe.ps1").read_text()


def test_events_in_a_queue_need_no_subscription_by_the_hook(tmp_path: Path) -> None:
    """The template has made the subscription; one to the webhook would replace it. The app is checked all the same."""
    code, said, environ = run_script(tmp_path, "subscribe.sh", BLOB_TRIGGER_SOURCE="EventGridQueue")
    assert (code, said) == (0, "-m local check\n")
    assert environ["NER_BLOB_TRIGGER_SOURCE"] == "EventGridQueue"
    assert not (tmp_path / "subscribed").exists()
    assert "if ($env:BLOB_TRIGGER_SOURCE -eq 'EventGridQueue') {\n    & (Join" in (INFRA / "subscribe.ps1").read_text()
    (output,) = (INFRA / "main.bicep").read_text().split("output BLOB_TRIGGER_SOURCE string = ")[1:]
    assert output.startswith("blobTriggerSource\n")


def test_the_app_and_the_template_name_the_queue_of_events_alike() -> None:
    """Event Grid would deliver into a queue that the app does not read."""
    text = (INFRA / "main.bicep").read_text()
    queue, suffix = re.findall(r"^var queue = '(.*)'$|\? '\$\{queue\}(.*?)' : ''$", text, re.MULTILINE)
    assert queue[0] + suffix[1] == settings_of_sample().event_queue


def settings_of_sample() -> Settings:
    """Return the settings of the sample, whose queue has the default name."""
    return Settings.from_environ(read_values(SAMPLE))


def test_the_app_gets_settings_that_it_takes() -> None:
    """The names are right, nothing is missing, and no key is among them."""
    own = without_condition(modules()["app"])["params"]["nerSettings"]
    settings = parsed(INFRA / "app.bicep")["resources"]["settings"]["config"]["properties"]["function"]["parameters"]
    others = settings[max(settings)]
    assert [str(each) for each in settings.values()][:-1] == ["samplingSettings", "furtherSettings", "nerSettings"]
    values = {
        **own,
        **others,
        **dict.fromkeys(("NER_STORAGE__blobServiceUri", "NER_STORAGE__queueServiceUri"), "https://account.example"),
        "NER_INPUT_CONTAINER": "incoming",
        "NER_RESULTS_CONTAINER": "results",
        "NER_STATE_CONTAINER": "ner-state",
        "NER_QUEUE": "ner-jobs",
        "NER_ENDPOINT": "https://resource.example",
        "NER_API_VERSION": "2023-04-01",
        "NER_LANGUAGE": "en",
        "NER_MODEL_ID": "",
        "NER_LOGGING_OPT_OUT": "false",
        "NER_BLOB_TRIGGER_SOURCE": "EventGrid",
    }
    read = Settings.from_environ({name: str(value) for name, value in values.items()})
    assert read.key is None
    assert read.storage.connection_string is None
    assert read.storage.client_id
    known = set(read_values(SAMPLE))
    assert set(own) <= known
    assert not {name for name in own | others if "KEY" in name.upper()}


def test_no_template_reads_a_key_but_that_of_the_webhook() -> None:
    """Event Grid has no other way to the host's webhook; whoever has it can only announce files."""
    for path in TEMPLATES:
        assert len(re.findall(r"list\w*Keys|listSecrets|SharedAccessSignature", path.read_text())) == (
            path.name == "subscription.bicep"
        ), path


def test_what_can_be_closed_is_closed() -> None:
    """Shared keys, public blobs, old TLS, plain http, local authentication, publishing with a password."""
    storage = parsed(INFRA / "storage.bicep")["resources"]
    account = storage["account"]["config"]["properties"]
    assert account["allowSharedKeyAccess"] is False
    assert account["allowBlobPublicAccess"] is False
    assert account["supportsHttpsTrafficOnly"] is True
    assert account["minimumTlsVersion"] == "TLS1_2"
    app = parsed(INFRA / "app.bicep")["resources"]
    assert app["app"]["config"]["properties"]["httpsOnly"] is True
    assert app["app"]["config"]["properties"]["siteConfig"]["minTlsVersion"] == "1.2"
    for name in ("publishingByFtp", "publishingByScm"):
        assert app[name]["config"]["properties"]["allow"] is False
    assert parsed(INFRA / "language.bicep")["resources"]["account"]["config"]["properties"]["disableLocalAuth"] is True
    monitoring = parsed(INFRA / "monitoring.bicep")["resources"]
    assert monitoring["insights"]["config"]["properties"]["DisableLocalAuth"] is True


def test_the_app_has_the_roles_that_the_docs_name() -> None:
    """Roles are compared by id, because names are not unique."""
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    role = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    given = {name for path in TEMPLATES for name in re.findall(f"'({role})'", path.read_text())}
    named = set(re.findall(f"`({role})`", page))
    assert len(named) == 3
    assert named <= given


def test_only_uploads_reach_the_app() -> None:
    """An outcome that was taken for an upload would be submitted, and its outcome likewise, without end."""
    into_queue, properties = (
        parsed(INFRA / f"{name}.bicep")["resources"]["uploads"]["config"]["properties"]
        for name in ("queue-subscription", "subscription")
    )
    for each in (into_queue, properties):
        assert each["filter"]["subjectBeginsWith"] == "/blobServices/default/containers/${inputContainer}/blobs/"
        assert each["filter"]["includedEventTypes"] == ["Microsoft.Storage.BlobCreated"]
    assert into_queue["deliveryWithResourceIdentity"]["destination"]["endpointType"] == "StorageQueue"
    assert "functionName=Host.Functions.submit&" in properties["destination"]["properties"]["endpointUrl"]
    assert "deadLetterWithResourceIdentity" in properties
    assert "&code=${uriComponent(listKeys(" in properties["destination"]["properties"]["endpointUrl"]


def test_queries_look_for_what_the_app_tells() -> None:
    """A metric, a span or a line that is called otherwise would keep an alert silent for ever."""
    alerts = (INFRA / "alerts.bicep").read_text()
    named = re.findall(r"loadTextContent\('([^']+)'\)", alerts)
    queries = {name: (INFRA / name).read_text() for name in named}
    assert {f"queries/{path.name}" for path in (INFRA / "queries").iterdir()} == set(named) - {"workbook.json"}
    told = (ROOT / "shared" / "telemetry_export.py").read_text()
    told += "http.client.request.duration http.request.method http.response.status_code"
    metrics = {name for query in queries.values() for name in re.findall(r"'((?:ner|http)\.[a-z_.]+)'", query)}
    assert len(metrics) >= 5
    assert all(re.search(rf"\b{re.escape(name)}\b", told) for name in metrics)
    lines = {name: re.findall(r"(?:has|startswith) '([^']+)'", query) for name, query in queries.items()}
    queried = {f"queries/{name}.kql" for name in ("settings", "gave-up", "poisoned", "sweep-stopped")}
    assert {name for name, found in lines.items() if found} == {*queried, "workbook.json"}
    logged = "".join(path.read_text() for path in (ROOT / "shared" / "pipeline").glob("*.py"))
    assert all(line in logged for found in lines.values() for line in found)
    assert not re.search("AppRequests|AppDependencies", "".join(queries.values())), "a sampler drops most spans"
    assert "max(Max)" not in "".join(queries.values()), "the exporter sends no maximum of a gauge"
    statuses = {value for query in queries.values() for value in re.findall(r"status\) == '(\w+)'", query)}
    assert statuses <= {status.value for status in OutcomeStatus}


def test_the_alert_about_the_sweep_fires_if_nothing_is_logged() -> None:
    """No row would be no value, and no alert; a row for each line would be none either once there are no lines."""
    query = (INFRA / "queries" / "sweep-stopped.kql").read_text()
    assert re.search(r"\| summarize Sweeps = count\(\)\n\| project Value = iff\(Sweeps == 0, 1, 0\)\s*$", query)
    sweeping = (ROOT / "shared" / "pipeline" / "sweeping.py").read_text()
    assert 'log.info("sweep: %s"' in sweeping


def test_the_workbook_is_one() -> None:
    """JSON of the form that the portal writes, each query with a title."""
    workbook = json.loads((INFRA / "workbook.json").read_text())
    assert workbook["version"] == "Notebook/1.0"
    queries = [item["content"] for item in workbook["items"] if item["type"] == 3]
    assert all(query["title"] and query["query"] for query in queries)


def test_the_guide_names_every_metric() -> None:
    """In its table; the one that the HTTP client's instrumentation has comes on top."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    exporter = (ROOT / "shared" / "telemetry_export.py").read_text()
    metrics = set(re.findall(r'create_\w+\(\s*"([a-z._]+)"', exporter))
    assert len(metrics) >= 6
    assert set(re.findall(r"^\| `([a-z._]+)` \|", guide, re.MULTILINE)) == metrics | {"http.client.request.duration"}


def test_the_guide_explains_every_alert() -> None:
    """By the title that stands in the mail."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    titles = re.findall(r"title: '([^']+)'", (INFRA / "alerts.bicep").read_text())
    titles += re.findall(r"description: '([^']+)'", (INFRA / "alerts.bicep").read_text().partition("metricAlerts")[2])
    assert len(titles) == 10
    assert all(f"| {title} |" in guide for title in titles)
