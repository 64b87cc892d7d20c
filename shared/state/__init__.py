"""What the app remembers of files in flight, as values: who has claimed a file, and how far its batch has come."""
