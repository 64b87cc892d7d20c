"""The whole way without a key: tokens from a stand-in for the endpoint that App Service has for managed identities.

Azurite checks what a token is for, who issued it and when it ends, and takes it over https alone. Whether the signature
is right, and the identity allowed to do what it does, only Azure can tell.
"""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local import stack
from local.storage_emulator import ACCOUNT, Azurite
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from tests.conftest import LOGS
from tests.e2e.test_whole_way import drop, outcome_of
from tests.ports import free_port, free_ports
from tests.serving import QuietHandler, serving

IDENTITY_HEADER = "secret-of-the-endpoint"
CLIENT_ID = "7d1d6b9c-0f0e-4a53-9a0b-4f0d9f3c6a11"
STORAGE, SERVICE = "https://storage.azure.com", "https://cognitiveservices.azure.com"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths


def token_for(resource: str) -> str:
    """Return a token that looks like one of Microsoft Entra ID."""
    now = int(time.time())
    claims = {"aud": resource, "iss": "https://sts.windows.net/tenant/", "iat": now, "nbf": now - 60, "exp": now + 3600}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"signature"))


@contextmanager
def token_endpoint() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Run the endpoint until the block ends; yield its address, and which client asked for a token for what."""
    asked: list[tuple[str, str]] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802  # the name is looked up
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            allowed = self.headers.get("X-IDENTITY-HEADER") == IDENTITY_HEADER
            asked.append((query.get("client_id", ""), query["resource"]))
            body = {
                "access_token": token_for(query["resource"]),
                "expires_on": str(int(time.time()) + 3600),
                "resource": query["resource"],
                "token_type": "Bearer",
            }
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body if allowed else {}).encode())

    with serving(Handler) as address:
        yield f"{address}/msi/token", asked


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    return make_certificate(tmp_path)


def test_a_file_gets_its_outcome_without_any_key(certificate: tuple[Path, Path], sample_values: dict[str, str]) -> None:
    """Storage, queue and service take tokens of the identities that the settings name."""
    options = ["--oauth", "basic", "--cert", str(certificate[0]), "--key", str(certificate[1])]
    with (
        Azurite(LOGS / "azurite-identity.log", ports=free_ports(), options=options) as azurite,
        token_endpoint() as (endpoint, asked),
    ):
        blob_uri, queue_uri = (f"https://127.0.0.1:{port}/{ACCOUNT}" for port in azurite.ports[:2])
        values = {
            **{
                name: value
                for name, value in sample_values.items()
                if "Storage" not in name and name not in ("NER_STORAGE", "NER_KEY")
            },
            **{f"{name}__blobServiceUri": blob_uri for name in ("NER_STORAGE", "AzureWebJobsStorage")},
            **{f"{name}__queueServiceUri": queue_uri for name in ("NER_STORAGE", "AzureWebJobsStorage")},
            "NER_STORAGE__credential": "managedidentity",
            "NER_STORAGE__clientId": CLIENT_ID,
            "AZURE_CLIENT_ID": CLIENT_ID,
            "IDENTITY_ENDPOINT": endpoint,
            "IDENTITY_HEADER": IDENTITY_HEADER,
            "SSL_CERT_FILE": str(certificate[0]),
        }
        port = free_port()
        values["NER_ENDPOINT"] = f"http://127.0.0.1:{port}"
        settings = Settings.from_environ(values)
        assert settings.key is None
        # Whoever deploys has made these, by whatever right; here by the emulator's key.
        by_key = azurite.connection_string.replace("http", "https")
        verify: dict[str, Any] = {"connection_verify": str(certificate[0])}
        with (
            BlobServiceClient.from_connection_string(by_key, **verify) as blobs,
            QueueServiceClient.from_connection_string(by_key, **verify) as queues,
            stack.start_ner_emulator(values, port, None, LOGS / "ner-emulator-identity.log"),
        ):
            blobs.create_container(settings.input_container)
            queues.create_queue(settings.queue)
            with stack.start_host(values, LOGS / "host-identity.log"):
                etag = drop(blobs, settings, "keyless.txt", b"A table at the Blue Heron in Bristol, please.")
                outcome = outcome_of(blobs, settings, "keyless.txt", etag)
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert set(asked) == {(CLIENT_ID, STORAGE), (CLIENT_ID, SERVICE)}
    log = (LOGS / "host-identity.log").read_text()
    assert IDENTITY_HEADER not in log
    assert token_for(STORAGE).split(".")[0] not in log
