"""The storage account: uploads, outcomes, the queue and the blobs that the app keeps about files in flight."""
