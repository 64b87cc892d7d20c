"""A model of the protocol: storage, queue and service as a few dictionaries, and workers that stop at each call."""
