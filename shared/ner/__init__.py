"""The custom NER API behind one job model.

`client` talks HTTP, `dialects` knows the three versions of the API, `model` reads the answers, `errors` the failures.
"""
