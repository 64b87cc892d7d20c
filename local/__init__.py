"""Everything that runs on a laptop and is never deployed: storage, an NER emulator, a host stand-in, a command line."""
