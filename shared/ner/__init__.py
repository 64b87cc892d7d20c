"""The custom NER API behind one job model.

`client` talks HTTP, `dialects` knows the versions of the API, `reading` reads its answers into the `model`,
`passing_on` keeps what this app does not know, `errors` has its failures.
"""
