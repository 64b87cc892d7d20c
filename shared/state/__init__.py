"""What the app stores about files in flight, as values: who has claimed a file, and how far its batch is."""
