"""What the rows of recordings take on disk, with their indexes: `store.bytes` bounds the file.

Measured on SQLite 3.40; tests/agent/store/test_recordings.py holds the file to it.
"""

SAMPLE = 2  # bytes of one channel's count
RECORDING = 140  # and the text of its id
CHUNK = 48  # and its samples
STRETCH = 24
SPAN = 24  # and its label
