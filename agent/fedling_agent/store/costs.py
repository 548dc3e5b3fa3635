"""What the rows of recordings take on disk, with their indexes: `store.bytes` bounds the file.

Measured on SQLite 3.40; tests/agent/store/test_recordings.py holds the file to it.
"""

SAMPLE = 2  # bytes of one channel's count
RECORDING = 140  # and the text of its id
CHUNK = 64  # and its samples
STRETCH = 24
SPAN = 24  # and its label

# What is kept of a recording's size, from the rows themselves.
BYTES_ANEW = f"""UPDATE recordings SET bytes = {RECORDING} + length(id)
    + (SELECT coalesce(sum({CHUNK} + length(data)), 0) FROM chunks WHERE recording = key)
    + {STRETCH} * (SELECT count(*) FROM stretches WHERE recording = key)
    + (SELECT coalesce(sum({SPAN} + length(label)), 0) FROM spans WHERE recording = key)
"""  # noqa: S608 (constants)
