"""The tests use neither the developer's app settings nor a proxy, so that they cost nothing and pass everywhere."""

import json
import os
import subprocess
import sys

from local.install import ROOT

PROGRAM = """
import json, os, tests
from local.app_settings import OWN, local_values
from local.stack import find_core_tools
print(json.dumps([local_values(os.environ), OWN.is_file(), find_core_tools(), dict(os.environ)]))
"""


def test_settings_and_proxies_of_the_developer_do_not_count() -> None:
    """Those of the environment; a local.settings.json is not even read."""
    own = {
        "NER_STORAGE__accountName": "precious",
        "NER_ENDPOINT": "https://precious.cognitiveservices.azure.com",
        "AZURE_CLIENT_ID": "precious",
        "NER_CORE_TOOLS": sys.executable,
        "NER_TESTS_NEED_BROWSER": "1",
        "HTTP_PROXY": "http://proxy.example:8080",
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=True
    )
    values, has_file, core_tools, environ = json.loads(result.stdout)
    assert "precious" not in result.stdout
    assert values["NER_STORAGE"] == "UseDevelopmentStorage=true"
    assert (has_file, core_tools) == (False, None)
    assert environ["NER_TESTS_NEED_BROWSER"] == "1"
    assert "127.0.0.1" in environ["NO_PROXY"]
