"""What `ner check` asks of a deployed app, or of the local one."""
