"""An emulator of the Azure Functions host, for tests and for machines without Azure Functions Core Tools.

Its worker process loads `function_app.py` through `azure.functions`, as the platform's Python worker does. Its host
process reads `host.json` and drives the functions from storage as the real listeners do. It is not the host: nothing of
it is deployed, and it knows blob and queue triggers only. README.md says where it differs.
"""
