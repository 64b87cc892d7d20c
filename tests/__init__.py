"""All tests. They run on this machine alone, whatever its proxies, app settings and Functions host are."""

import os

from local.proxies import exempt_loopback

# Before any test makes an HTTP client, which reads the proxies.
exempt_loopback()
# A developer's own settings may name an account and a resource that cost money.
for _name in [name for name in os.environ if name.startswith(("NER_", "AzureWebJobs", "AzureFunctions", "AZURE_"))]:
    if not _name.startswith(("NER_TESTS_", "NER_AZURITE")):
        del os.environ[_name]
os.environ["NER_LOCAL_SETTINGS"] = os.devnull
# The tests give the stand-in options that Core Tools do not have.
os.environ["NER_CORE_TOOLS"] = "off"
