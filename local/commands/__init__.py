"""The commands of `python -m local`, by what a person wants to do."""
