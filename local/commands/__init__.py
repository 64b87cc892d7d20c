"""The commands of `python -m local`, by what they are about."""
