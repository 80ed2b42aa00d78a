"""`python -m commands` is the `fleet` command."""

from commands.main import app

app()
