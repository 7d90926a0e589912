"""``hl demo``: the promises kept in front of you, on a local exchange that misbehaves when told to.

What belongs here: the play, its words and its judgement. What does not: a
second way to collect; every act runs the real Dagster job against the real
database, and only the clock and the exchange are ours to move.

command      options, and the order of the acts
stage        what the acts stand on: exchange, database, clock, Dagster instance
switchboard  the exchange's switches: its clock, its faults, its request log
acts         first collection, trouble, healing
verdict      what is stored against what was true; one line a promise
"""
