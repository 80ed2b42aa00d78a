"""Pages of the documentation that are made from the code, so that they cannot say anything else than it does.

`python -m reference` writes them into `docs/`, where they are committed; a test says when they are out of date.
"""
