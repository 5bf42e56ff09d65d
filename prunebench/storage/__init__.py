"""Files on disk: whole or not at all, documents with a digest, locks, git."""
