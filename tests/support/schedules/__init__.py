"""Seeded random schedules of both state machines against each other.

    world.py       virtual time, the network with its MQTT broker, the course of one schedule
    device.py      a session, the simulated disk and child under it
    aggregator.py  the rounds of a task, the simulated database under them
    faults.py      crashes, disconnects, conditions, clock jumps, erasures, damage
    pairs.py       which events the machines meet in which state
    planted.py     bugs that the schedules must find

Disks keep exactly what a durable action wrote. What may never break is checked where it happens.
"""
