"""What people do with a running system: the audit of the books, and dead letters."""
