"""The locks that a killed host leaves behind, as if the minute until they expire had passed."""

from azure.storage.blob import BlobLeaseClient, BlobServiceClient

from local.host.blobs import HOSTS_CONTAINER


def break_locks(blobs: BlobServiceClient, host_id: str) -> None:
    """Release the locks of a host that has ended."""
    container = blobs.get_container_client(HOSTS_CONTAINER)
    if not container.exists():
        return
    for blob in container.list_blobs(f"locks/{host_id}/"):
        if blob.lease.state == "leased":
            BlobLeaseClient(container.get_blob_client(blob.name)).break_lease(0)
