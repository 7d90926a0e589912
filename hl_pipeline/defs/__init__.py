"""The only room that imports Dagster: assets, checks, jobs, schedules, sensors.

What belongs here: reading the clock, joining the other rooms, reporting. What
does not: SQL, parsing, arithmetic; a body longer than a few lines has lost its
way. Inside: assets <- checks <- jobs <- schedules, sensors <- launch.
"""
