"""Rightly signed hostile messages for whole services, made from the one table of kinds.

    values.py      what a field may be, and may not be: at its limits, beyond them, of another type
    seal.py        any CBOR as an envelope
    agent.py       a device's real service, and an aggregator that has lost its mind
    aggregator.py  an aggregator's real service, and devices that have

Everything follows from a seed. A new field, record or kind is fuzzed as soon as it is in its table.
"""
