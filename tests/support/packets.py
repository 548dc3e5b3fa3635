"""Parts of MQTT packets, written by hand: what a test sends is not made by what it tests."""


def text(word: str) -> bytes:
    """Write a string as MQTT has it."""
    data = word.encode()
    return len(data).to_bytes(2, "big") + data


def length(value: int) -> bytes:
    """Write a remaining length."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)
