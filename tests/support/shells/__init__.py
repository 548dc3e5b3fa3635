"""Seeded random schedules of the real services of both ends, in virtual time.

    world.py     one schedule: a fleet made from a seed, its course, its end
    faults.py    crashes, disconnects, conditions, clock jumps, full disks
    judge.py     what may never break, checked where it happens
    taps.py      where the judge listens, and what is quicker than in the product
    planted.py   bugs that the schedules must find

What is under test is what `fedling-agent run` and `fedling-broker serve` run; only arithmetic and
signatures are stand-ins (virtual/training.py, taps.py).
"""
