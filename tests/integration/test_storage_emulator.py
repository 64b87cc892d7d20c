"""The storage emulator that a local run starts: its account opens to nobody who only knows the published key."""

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.storage_emulator import ACCOUNT, Azurite

PUBLISHED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def test_the_published_key_opens_nothing(azurite: Azurite) -> None:
    """A web page whose name leads here knows it, and Azurite answers under any host name."""
    blob, queue, _ = azurite.ports
    credential = {"account_name": ACCOUNT, "account_key": PUBLISHED_KEY}
    blobs = BlobServiceClient(f"http://127.0.0.1:{blob}/{ACCOUNT}", credential=credential, retry_total=0)
    queues = QueueServiceClient(f"http://127.0.0.1:{queue}/{ACCOUNT}", credential=credential, retry_total=0)
    with blobs, queues:
        with pytest.raises(HttpResponseError) as refused:
            list(blobs.list_containers())
        assert refused.value.status_code == 403
        with pytest.raises(HttpResponseError) as refused:
            list(queues.list_queues())
        assert refused.value.status_code == 403
    with BlobServiceClient.from_connection_string(azurite.connection_string) as own:
        list(own.list_containers())
