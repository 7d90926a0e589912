"""The command line ``hl``: thin. It reads options, calls the rooms, and shows what they answer.

What belongs here: one file per group of commands, the screen, the supervisor
of child processes and the demo's script. What does not: rules, SQL, requests.
Dagster is never imported at the top of a file here: ``hl status`` and
``hl health`` must answer while Dagster takes its seconds to load.

main        the front door: names every command, loads the one that is asked for
lazy        how a command is loaded, and how an error leaves: one line, exit code 1 or 2
screen      tables, JSON, progress bars
settings_   ``hl config check`` and ``hl env``
database    ``hl db start|stop|url`` and ``hl migrate``
collect     ``hl collect``
status      ``hl status``
gaps        ``hl gaps``
options     options that several commands share
verify      ``hl verify``
health      ``hl health``
sandbox     ``hl sandbox``
up          ``hl up``: Postgres, the code server, the UI and the daemon
stopping    what a signal does to a command: it ends in order, and in time
supervisor  child processes: started, restarted, stopped in bounded time
demo        ``hl demo``: the promises, kept and broken and mended in front of you
"""
