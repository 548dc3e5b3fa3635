"""Labels that look the same are the same: one form at both ends."""

import unicodedata


def tidy(label: str) -> str:
    """Write a label in Unicode's form NFC, without space around it."""
    return unicodedata.normalize("NFC", label).strip()
