"""An open-loop load of thousands of devices, in C: what ``kinefuse bench fleet`` drives a server with.

    load.h         the contract of the C part: schedule, connections, subscriber, figures
    records.py     its structs as numpy sees them
    recordings.py  what the devices play: some athletes' minute of motion and heart
    generator.py   the load as an object
    figures.py     histograms and counts of the run, second by second

Linux only: it stands on epoll.
"""
