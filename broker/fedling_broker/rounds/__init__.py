"""The rounds of one task, as a pure state machine (SPEC.md section 5).

events.py   what the shell tells the machine, and what the machine asks of the shell
state.py    what the machine remembers, and how it is rebuilt after a crash
machine.py  step(state, event, now_ms) -> (state, actions)
cohort.py   places and decisions of the open round, changed in place
policy.py   whom a round takes in and when it has enough, as the machine asks it
synchronous.py   the policy that there is: places, a goal, a deadline
terms.py    what a plan asks of an update
"""
