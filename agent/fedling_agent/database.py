"""The device's SQLite file: its tables and its transactions."""


class Database:
    """One connection; see Store."""
