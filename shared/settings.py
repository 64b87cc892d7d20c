"""The app settings, read once and checked together.

`Settings.from_environ` is the only reader of the environment. It names every missing or bad setting in one
`SettingsError`, so that a deployment is mended in one go. No message ever shows the value of a secret.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from shared.api_versions import SEED_API_VERSION, VERSIONS, detects_languages, is_version

CONNECTION: Final = "NER_STORAGE"
"""Name of the connection that holds the containers and the queue, as the triggers' `connection` wants it."""

EVENT_QUEUE: Final = "EventGridQueue"
"""The source of uploads that is no blob trigger: Event Grid delivers its events into a queue."""
BLOB_TRIGGER_SOURCES: Final = ("LogsAndContainerScan", "EventGrid", EVENT_QUEUE)

PLACEHOLDER: Final = re.compile("<[^<>]*>")
"""What the documentation writes for a value that the user has to fill in."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

DEADLINE_SHARE: Final = 0.8
"""Of NER_SUBMIT_TIMEOUT_SECONDS, what one invocation may take."""
LAST_SHARE: Final = 0.15
"""Of NER_SUBMIT_TIMEOUT_SECONDS, what an invocation may take after its deadline to say that its work goes on later."""

LONGEST_DELAY_SECONDS: Final = 7 * 24 * 3600
"""A queue message cannot stay invisible for longer (Storage REST API, Put Message)."""

STORAGE_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
NAME_RULE: Final = "3 to 63 lower-case letters, digits or single hyphens"
MAX_QUEUE_NAME: Final = 63
PROJECT_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
NCRONTAB = re.compile(r"[\w*/,-]+( [\w*/,-]+){5}")
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


class SettingsError(Exception):
    """One or more app settings are missing or bad; `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("Invalid app settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True, slots=True)
class StorageConnection:
    """How to reach the storage account: by connection string, or by identity with the services' addresses."""

    connection_string: str | None = field(default=None, repr=False)
    blob_service_uri: str = ""
    queue_service_uri: str = ""
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every app setting of the README's table, checked."""

    storage: StorageConnection
    input_container: str
    results_container: str
    state_container: str
    queue: str
    blob_trigger_source: str
    endpoint: str
    """Scheme, host and port only, without a slash at the end."""
    key: str | None = field(repr=False)
    api_version: str
    project_name: str
    deployment_name: str
    model_id: str
    language: str
    logging_opt_out: bool
    """Whether the service must not keep the texts for troubleshooting."""
    poll_min_seconds: int
    poll_max_seconds: int
    job_timeout_seconds: int
    submit_timeout_seconds: int
    max_blob_bytes: int
    sweep_schedule: str
    """NCRONTAB."""
    sweep_grace_seconds: int
    sweep_existing: bool

    @property
    def poison_queue(self) -> str:
        """Where the host puts a message that failed too often: it appends `-poison`, and so do we."""
        return f"{self.queue}-poison"

    @property
    def event_queue(self) -> str:
        """Where Event Grid delivers the events of uploads, if EventGridQueue is their source."""
        return f"{self.queue}-events"

    @property
    def deadline_seconds(self) -> float:
        """How long one invocation may work: less than a claim is valid, so no late worker submits a file again."""
        return self.submit_timeout_seconds * DEADLINE_SHARE

    @property
    def last_seconds(self) -> float:
        """How long an invocation that has reached its deadline may take to send its message."""
        return self.submit_timeout_seconds * LAST_SHARE

    @property
    def overdue_seconds(self) -> int:
        """When a message must be lost, counted from when it was due; until then it may be being worked on."""
        return max(self.sweep_grace_seconds, self.submit_timeout_seconds)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check the settings.

        Raises:
            SettingsError: with a sentence for every setting that is missing or bad.
        """
        reader = Reader(environ)
        api_version = reader.api_version()
        by_model_id = api_version == SEED_API_VERSION
        project = "" if by_model_id else None
        source = reader.one_of("NER_BLOB_TRIGGER_SOURCE", BLOB_TRIGGER_SOURCES)
        names = {
            "input_container": reader.container_name("NER_INPUT_CONTAINER", "incoming"),
            "results_container": reader.container_name("NER_RESULTS_CONTAINER", "results"),
            "state_container": reader.container_name("NER_STATE_CONTAINER", "ner-state"),
            "queue": reader.queue_name(source),
        }
        if names["input_container"] == names["results_container"]:
            reader.problems.append(
                "NER_RESULTS_CONTAINER must differ from NER_INPUT_CONTAINER: "
                "otherwise the app submits each outcome as a new upload"
            )
        if names["state_container"] in (names["input_container"], names["results_container"]):
            reader.problems.append(
                "NER_STATE_CONTAINER must differ from NER_INPUT_CONTAINER and NER_RESULTS_CONTAINER: "
                "the app keeps its own records there"
            )
        poll_min = reader.whole_number("NER_POLL_MIN_SECONDS", 2, 1, LONGEST_DELAY_SECONDS)
        poll_max = reader.whole_number("NER_POLL_MAX_SECONDS", 60, 1, LONGEST_DELAY_SECONDS)
        if poll_min > poll_max:
            reader.problems.append(
                f"NER_POLL_MIN_SECONDS ({poll_min}) must not be greater than NER_POLL_MAX_SECONDS ({poll_max})"
            )
        settings = cls(
            storage=reader.storage_connection(CONNECTION),
            **names,
            blob_trigger_source=source,
            endpoint=reader.endpoint("NER_ENDPOINT"),
            key=reader.key("NER_KEY"),
            api_version=api_version,
            project_name=reader.matching("NER_PROJECT_NAME", PROJECT_NAME, "a project name", project),
            deployment_name=reader.matching("NER_DEPLOYMENT_NAME", PROJECT_NAME, "a deployment name", project),
            model_id=reader.matching("NER_MODEL_ID", PROJECT_NAME, "a model id", None if by_model_id else ""),
            language=reader.language(api_version),
            logging_opt_out=reader.one_of("NER_LOGGING_OPT_OUT", ("false", "true")) == "true",
            poll_min_seconds=poll_min,
            poll_max_seconds=poll_max,
            job_timeout_seconds=reader.whole_number("NER_JOB_TIMEOUT_SECONDS", 86400, 1, LONGEST_DELAY_SECONDS),
            submit_timeout_seconds=reader.whole_number("NER_SUBMIT_TIMEOUT_SECONDS", 120, 2, 3600),
            max_blob_bytes=reader.whole_number("NER_MAX_BLOB_BYTES", 20 * 1024 * 1024, 1, 2**31 - 1),
            sweep_schedule=reader.matching(
                "NER_SWEEP_SCHEDULE", NCRONTAB, "an NCRONTAB expression of six fields", "0 */5 * * * *"
            ),
            sweep_grace_seconds=reader.whole_number("NER_SWEEP_GRACE_SECONDS", 120, 1, LONGEST_DELAY_SECONDS),
            sweep_existing=reader.one_of("NER_SWEEP_EXISTING", ("false", "true")) == "true",
        )
        if reader.problems:
            raise SettingsError(reader.problems)
        return settings


class Reader:
    """Reads single settings and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """Return the setting without surrounding space; a setting left empty counts as absent."""
        value = self.environ.get(name, "").strip()
        if PLACEHOLDER.search(value):  # the user may have put a secret into the brackets, so it is not shown
            problem = f"{name} still contains a placeholder in angle brackets: replace it with your own value"
            self.problems += [problem] * (problem not in self.problems)
        return value

    def matching(self, name: str, pattern: re.Pattern[str], what: str, default: str | None) -> str:
        """Return a setting that matches the pattern, or the default; None as the default means that it is required."""
        value = self.text(name)
        if not value:
            if default is None:
                self.problems.append(f"{name} is missing: set it to {what}")
            return default or ""
        if not pattern.fullmatch(value):
            self.problems.append(f"{name} must be {what}, not {value!r}")
        return value

    def container_name(self, name: str, default: str) -> str:
        """Return the name of a container."""
        return self.matching(name, STORAGE_NAME, f"a container name ({NAME_RULE})", default)

    def queue_name(self, source: str) -> str:
        """Return NER_QUEUE; it must leave room for what is appended to it."""
        value = self.matching("NER_QUEUE", STORAGE_NAME, f"a queue name ({NAME_RULE})", "ner-jobs")
        longest = MAX_QUEUE_NAME - len("-events-poison" if source == EVENT_QUEUE else "-poison")
        if len(value) > longest or value.endswith("-poison"):
            self.problems.append(
                f"NER_QUEUE must have at most {longest} characters and must not end in -poison: the host "
                "appends -poison to name the poison queue"
            )
        return value

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices; the first is the default."""
        value = self.text(name) or choices[0]
        if value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def whole_number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds, both included."""
        value = self.text(name)
        if not value:
            return default
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            self.problems.append(f"{name} must be a whole number from {least} to {most}, not {value!r}")
            return default
        return int(value)

    def api_version(self) -> str:
        """Return NER_API_VERSION."""
        value = self.text("NER_API_VERSION") or "2023-04-01"
        if not is_version(value):
            self.problems.append(f"NER_API_VERSION must be {VERSIONS}, not {value!r}")
        return value

    def language(self, api_version: str) -> str:
        """Return NER_LANGUAGE; not every version of the API can detect the language."""
        value = self.matching("NER_LANGUAGE", LANGUAGE, "a language tag such as en or pt-BR, or auto", "en")
        is_auto = value.lower() == "auto"
        if is_auto and not detects_languages(api_version):
            self.problems.append(
                f"NER_LANGUAGE must not be auto: version {api_version} of the API does not detect languages. Set "
                "NER_API_VERSION to 2025-11-01 or later, or NER_LANGUAGE to a language tag such as en"
            )
        return "auto" if is_auto else value

    def endpoint(self, name: str) -> str:
        """Return scheme, host and port of an address that the key may be sent to."""
        value = self.text(name)
        if not value:
            self.problems.append(f"{name} is missing: set it to https://<resource>.cognitiveservices.azure.com")
            return ""
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if not host or "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            self.problems.append(
                f"{name} must be like https://<resource>.cognitiveservices.azure.com, with nothing after the host name"
            )
        elif parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
            self.problems.append(f"{name} must begin with https:// (http:// is allowed for this machine only)")
        return f"{parts.scheme}://{parts.netloc}"

    def key(self, name: str) -> str | None:
        """Return the resource's key, or None for Microsoft Entra ID."""
        value = self.text(name)
        if not all("!" <= character <= "~" for character in value):
            self.problems.append(
                f"{name} contains characters that no key has: copy it again from the resource's Keys and Endpoint"
            )
        return value or None

    def storage_connection(self, name: str) -> StorageConnection:
        """Return the connection, looked up as the Functions host does: the exact name, else the name as a prefix."""
        connection_string = self.text(name)
        if connection_string:
            return StorageConnection(connection_string=connection_string)
        account = self.text(f"{name}__accountName")
        blob_service_uri = self.text(f"{name}__blobServiceUri")
        queue_service_uri = self.text(f"{name}__queueServiceUri")
        if account:
            blob_service_uri = blob_service_uri or f"https://{account}.blob.core.windows.net"
            queue_service_uri = queue_service_uri or f"https://{account}.queue.core.windows.net"
        if not blob_service_uri or not queue_service_uri:
            self.problems.append(
                f"{name} is missing: set it to a connection string or, for an identity, set {name}__accountName, or "
                f"{name}__blobServiceUri and {name}__queueServiceUri"
            )
        for uri in (blob_service_uri, queue_service_uri):
            if uri and not uri.startswith("https://"):  # it may hold a signature, so it is not shown
                self.problems.append(f"{name}: the URL of a storage service must begin with https://")
        return StorageConnection(None, blob_service_uri, queue_service_uri, self.text(f"{name}__clientId") or None)
