"""A stand-in for the Azure Functions host, for tests and for machines without Azure Functions Core Tools.

It loads `function_app.py` through `azure.functions`, as the platform's Python worker does, reads the bindings and
`host.json`, and drives the functions from storage as the real listeners do: blob receipts, the internal queue of the
blob trigger, leases, dequeue counts, poison queues, base64. It is not the host: nothing is deployed on it, and it knows
blob and queue triggers only. Where it differs, it is the stricter of the two.
"""
