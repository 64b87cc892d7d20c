"""The app settings: what is read, what is refused, and that all problems are named at once."""

import json
import math

import pytest

from local.install import ROOT
from shared.settings import Settings, SettingsError
from shared.time_limits import check_time_limits, read_function_timeout

GOOD = {
    "NER_STORAGE": "UseDevelopmentStorage=true",
    "NER_ENDPOINT": "https://contoso.cognitiveservices.azure.com/",
    "NER_KEY": "a-secret-key",
    "NER_PROJECT_NAME": "Contracts",
    "NER_DEPLOYMENT_NAME": "production",
}


def read(**changes: str) -> Settings:
    """Return the good settings with changes."""
    return Settings.from_environ(GOOD | changes)


def problems(**changes: str) -> str:
    """Return the error's text for the good settings with changes."""
    with pytest.raises(SettingsError) as caught:
        read(**changes)
    return str(caught.value)


def test_defaults_are_those_of_the_contract() -> None:
    """Only storage, endpoint, project and deployment are required."""
    settings = read()
    assert (settings.input_container, settings.results_container, settings.queue) == ("incoming", "results", "ner-jobs")
    assert settings.poison_queue == "ner-jobs-poison"
    assert settings.blob_trigger_source == "LogsAndContainerScan"
    assert (settings.api_version, settings.language) == ("2023-04-01", "en")
    assert (settings.poll_min_seconds, settings.poll_max_seconds) == (2, 60)
    assert (settings.job_timeout_seconds, settings.max_blob_bytes) == (86400, 20971520)
    assert (settings.sweep_schedule, settings.sweep_grace_seconds) == ("0 */5 * * * *", 120)
    assert settings.sweep_existing is False
    assert settings.endpoint == "https://contoso.cognitiveservices.azure.com"


def test_every_problem_is_named_at_once() -> None:
    """An empty environment gives a sentence for each required setting, and nothing else."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"NER_POLL_MAX_SECONDS": "soon"})
    named = {problem.split()[0] for problem in caught.value.problems}
    assert named == {
        "NER_STORAGE",
        "NER_ENDPOINT",
        "NER_PROJECT_NAME",
        "NER_DEPLOYMENT_NAME",
        "NER_POLL_MAX_SECONDS",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NER_INPUT_CONTAINER", "In Coming"),
        ("NER_RESULTS_CONTAINER", "incoming"),
        ("NER_QUEUE", "a--b"),
        ("NER_QUEUE", "q" * 57),
        ("NER_QUEUE", "jobs-poison"),
        ("NER_BLOB_TRIGGER_SOURCE", "eventgrid"),
        ("NER_ENDPOINT", "http://contoso.cognitiveservices.azure.com"),
        ("NER_ENDPOINT", "https://contoso.cognitiveservices.azure.com/language"),
        ("NER_ENDPOINT", "https://user:word@contoso.com"),
        ("NER_ENDPOINT", "contoso.cognitiveservices.azure.com"),
        ("NER_ENDPOINT", "https://[broken"),
        ("NER_KEY", "two words"),
        ("NER_API_VERSION", "2021-01-01"),
        ("NER_API_VERSION", "v3.1"),
        ("NER_LANGUAGE", "English language"),
        ("NER_LOGGING_OPT_OUT", "1"),
        ("NER_POLL_MIN_SECONDS", "0"),
        ("NER_POLL_MIN_SECONDS", "61"),
        ("NER_POLL_MAX_SECONDS", "1.5"),
        ("NER_JOB_TIMEOUT_SECONDS", "-1"),
        ("NER_MAX_BLOB_BYTES", "٣"),
        ("NER_SWEEP_SCHEDULE", "off"),
        ("NER_SWEEP_SCHEDULE", "*/5 * * * *"),
        ("NER_SWEEP_GRACE_SECONDS", "0"),
        ("NER_SWEEP_EXISTING", "yes"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    """The sentence begins with the setting's name."""
    assert f"- {name}" in problems(**{name: value})


def test_a_queue_of_events_needs_room_in_its_name() -> None:
    """Only if it is the source of uploads: `-events-poison` is appended to NER_QUEUE, else `-poison`."""
    source = {"NER_BLOB_TRIGGER_SOURCE": "EventGridQueue"}
    settings = read(NER_QUEUE="q" * 49, **source)
    assert settings.event_queue == "q" * 49 + "-events"
    assert len(f"{settings.event_queue}-poison") == 63
    assert "NER_QUEUE must have at most 49 characters" in problems(NER_QUEUE="q" * 50, **source)
    assert read(NER_QUEUE="q" * 56).queue == "q" * 56


def test_the_sweep_can_be_moved_but_not_switched_off() -> None:
    """What no trigger brought, and what lost its message, would wait without end."""
    assert read(NER_SWEEP_SCHEDULE="30 0 3 * * MON-FRI").sweep_schedule == "30 0 3 * * MON-FRI"
    assert read(NER_SWEEP_SCHEDULE="").sweep_schedule == read().sweep_schedule
    assert read(NER_SWEEP_EXISTING="true").sweep_existing is True


@pytest.mark.parametrize("endpoint", ["http://localhost:10100", "http://127.0.0.1:5", "http://[::1]:5/"])
def test_plain_http_is_for_this_machine(endpoint: str) -> None:
    """The key must not cross a network in the clear."""
    assert read(NER_ENDPOINT=endpoint).endpoint == endpoint.rstrip("/")


def test_the_seed_api_wants_a_model_id_and_no_project() -> None:
    """And the other way round for the others."""
    names = {"NER_PROJECT_NAME": "", "NER_DEPLOYMENT_NAME": ""}
    assert read(NER_API_VERSION="v3.1-preview.ct.1", NER_MODEL_ID="m", **names).model_id == "m"
    assert "NER_MODEL_ID is missing" in problems(NER_API_VERSION="v3.1-preview.ct.1")
    assert "NER_PROJECT_NAME is missing" in problems(NER_API_VERSION="v3.2-preview.2", **names)


@pytest.mark.parametrize("version", ["2022-05-01", "2023-04-01", "2024-11-15-preview", "2031-01-01"])
def test_later_versions_by_date_are_taken(version: str) -> None:
    """An app of today works with the service of tomorrow."""
    assert read(NER_API_VERSION=version).api_version == version


@pytest.mark.parametrize("version", ["2025-05-15-preview", "2025-11-01", "2026-05-01", "2031-01-01"])
@pytest.mark.parametrize("language", ["auto", "Auto"])
def test_the_language_can_be_detected(version: str, language: str) -> None:
    """By versions that know how."""
    assert read(NER_API_VERSION=version, NER_LANGUAGE=language).language == "auto"


@pytest.mark.parametrize("version", ["v3.2-preview.2", "2022-05-01", "2023-04-01", "2024-11-01", "2024-11-15-preview"])
def test_older_versions_detect_no_language(version: str) -> None:
    """The service would refuse each document, so the app says it when it starts."""
    assert f"- NER_LANGUAGE must not be auto: version {version}" in problems(
        NER_API_VERSION=version, NER_LANGUAGE="auto"
    )


def test_texts_are_logged_unless_the_operator_opts_out() -> None:
    """As the service has it."""
    assert read().logging_opt_out is False
    assert read(NER_LOGGING_OPT_OUT="true").logging_opt_out is True


def test_without_a_key_there_is_none() -> None:
    """Then Microsoft Entra ID is used."""
    assert read(NER_KEY="").key is None


def test_storage_by_identity() -> None:
    """By account name, or by the addresses of the services."""
    by_name = read(NER_STORAGE="", NER_STORAGE__accountName="acct", NER_STORAGE__clientId="id").storage
    assert by_name.blob_service_uri == "https://acct.blob.core.windows.net"
    assert by_name.queue_service_uri == "https://acct.queue.core.windows.net"
    assert (by_name.connection_string, by_name.client_id) == (None, "id")
    by_uri = read(
        NER_STORAGE="",
        NER_STORAGE__blobServiceUri="https://b.example",
        NER_STORAGE__queueServiceUri="https://q.example",
    ).storage
    assert (by_uri.blob_service_uri, by_uri.queue_service_uri) == ("https://b.example", "https://q.example")
    assert "NER_STORAGE is missing" in problems(NER_STORAGE="", NER_STORAGE__blobServiceUri="https://b.example")
    assert "https://" in problems(NER_STORAGE="", NER_STORAGE__accountName="x", NER_STORAGE__blobServiceUri="http://b")


def test_secrets_are_never_shown() -> None:
    """Neither in an error nor when the settings are printed."""
    storage = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=topsecret"
    assert "se cret" not in problems(NER_KEY="se cret")
    shown = repr(read(NER_STORAGE=storage))
    assert "a-secret-key" not in shown
    assert "topsecret" not in shown


@pytest.mark.parametrize(
    ("name", "value"), [("NER_ENDPOINT", "https://<resource>.cognitiveservices.azure.com"), ("NER_KEY", "<key>")]
)
def test_a_placeholder_of_the_documentation_is_refused(name: str, value: str) -> None:
    """Nothing would say so later: the host name does not exist, or the key is wrong."""
    with pytest.raises(
        SettingsError, match=f"{name} still contains a placeholder in angle brackets: replace it"
    ) as caught:
        Settings.from_environ({**GOOD, name: value})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("host_json", "environ", "seconds"),
    [
        ('{"functionTimeout": "00:05:00"}', {}, 300),
        ('{"functionTimeout": "1.00:00:01"}', {}, 86401),
        ('{"functionTimeout": "-1"}', {}, math.inf),
        ("{}", {}, 300),
        ('{"functionTimeout": "00:05:00"}', {"AzureFunctionsJobHost__functionTimeout": "00:10:00"}, 600),
        ('{"functionTimeout": "00:05:00"}', {"AZUREFUNCTIONSJOBHOST__FUNCTIONTIMEOUT": "00:10:00"}, 600),
    ],
)
def test_the_time_limit_of_the_host_is_read(host_json: str, environ: dict[str, str], seconds: float) -> None:
    """An app setting takes the place of the file's value."""
    assert read_function_timeout(host_json, environ) == seconds


@pytest.mark.parametrize("value", ["300", "5 minutes", "", "00:05"])
def test_a_time_limit_in_another_form_is_refused(value: str) -> None:
    """The host would refuse it, or take it for days."""
    with pytest.raises(SettingsError, match="functionTimeout"):
        read_function_timeout(json.dumps({"functionTimeout": value}), {})


def test_an_invocation_must_be_able_to_end_itself_before_the_host_ends_its_worker() -> None:
    """With everything else that the worker has in hand."""
    for submit_timeout, function_timeout in (("120", 240.0), ("3600", math.inf)):
        settings = read(NER_SUBMIT_TIMEOUT_SECONDS=submit_timeout)
        check_time_limits(settings, function_timeout)
        assert settings.deadline_seconds < settings.submit_timeout_seconds
    with pytest.raises(SettingsError, match=r"NER_SUBMIT_TIMEOUT_SECONDS \(151\) .* \(300 seconds\)"):
        check_time_limits(read(NER_SUBMIT_TIMEOUT_SECONDS="151"), 300.0)


def test_the_defaults_of_the_settings_and_of_host_json_fit() -> None:
    """What is deployed without a change."""
    check_time_limits(read(), read_function_timeout((ROOT / "host.json").read_text(), {}))
