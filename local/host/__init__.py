"""An emulator of the Azure Functions host, for tests and for machines without Azure Functions Core Tools.

Its worker process loads `function_app.py` through `azure.functions`, as the platform's Python worker does. Its host
process reads `host.json` and triggers the functions from storage as the real listeners do. It is not the host: it is
not deployed, and supports only blob, queue and timer triggers. README.md lists the differences.
"""
