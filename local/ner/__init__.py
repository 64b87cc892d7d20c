"""The emulator of the custom NER service: a recogniser trained on labels, and the service's API in front of it."""
