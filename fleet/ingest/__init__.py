"""One member of the ingest pool: polling, scoring, finishing, committing."""
