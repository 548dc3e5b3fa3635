"""Virtual time for real shells: many processes, their links and an MQTT broker in one thread.

    clock.py          what is due when, in the world and in each process
    worker.py         work beside a process's loop, and where it may be killed
    network.py        delays and faults on the way, drawn from one seed
    cable.py          one end's way to the broker, which can be cut or blocked
    connection.py     one MQTT connection: its two lanes, its two ends
    subscriptions.py  which filters match a topic
    mqtt.py           the broker
    link.py           a Link
    node.py           a process that may die

One event of the world enters at most one process, so that the process may die in it. Everything
that happens follows from the seed.
"""
