"""Labels that look the same are the same: one form at both ends."""


def tidy(label: str) -> str:
    """Write a label in Unicode's form NFC, without space around it."""
    if not label.isascii():
        from unicodedata import normalize  # a megabyte, which few devices need

        label = normalize("NFC", label)
    return label.strip()
