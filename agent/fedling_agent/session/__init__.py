"""One device's part in one task, as a pure state machine (SPEC.md section 5).

events.py   what the shell tells the machine, and what the machine asks of the shell
state.py    what the machine remembers, and how it is rebuilt after a crash
machine.py  step(state, event, now_ms) -> (state, actions)
"""
