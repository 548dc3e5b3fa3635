"""Attacks on a small fleet: real services, a real mosquitto, and somebody between or beside them.

    table.py       what an attack is: who, against what, and how its defence is switched off
    intruder.py    MQTT by hand, for who does what no library would do
    cast.py        who plays: keys, what they say, what is made of what was heard
    ends.py        the two real services, in the test's own thread
    stage.py       both on one mosquitto, what a test does to them, and what is true afterwards
    path.py        what stands on the wire between a device and its MQTT broker
    stranger.py, guest.py, device.py, broker.py, former.py
                   the attacks of who is named so; every.py has them all

tests/end_to_end/test_attacks.py plays each of them twice. SECURITY.md names them.
"""
