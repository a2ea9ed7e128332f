"""Accuracy on recordings and on simulated truth, with peers in the same run.

    parts.py     the list of what is evaluated; one module each
    section.py   what a part hands back: tables, targets, figures
    trials.py, attitude.py, peers.py, plots.py   what evaluate orientation is made of
    links.py, clock_plot.py   what evaluate clock is made of
    workers.py   the processes that the slow work is shared among
    output.py    a section as Markdown and on the terminal
    command.py   ``kinefuse evaluate``

A new part is a module with a function ``Options -> Section`` and a line in ``parts.PARTS``.
"""
