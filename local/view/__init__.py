"""A page that shows an account: drop files, see them on their way, read their text with the entities in it."""
