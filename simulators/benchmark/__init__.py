"""Speed, as ratios to a peer in the same run.

    measure.py      candidates in turn, round by round
    orientation.py  the orientation core beside VQF and Fusion
    command.py      ``kinefuse bench``

``make bench`` runs these and those of ``tests/bench``, which need the tests' support.
"""
