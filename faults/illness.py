"""What may be wrong with a scorer: named by `cases.scorers`, done by `unwell`, which brings Serve along."""

from enum import StrEnum


class Illness(StrEnum):
    """What an unwell scorer does."""

    NAN = "answers NaN"
    RAISES = "raises"
    HANGS = "hangs"
