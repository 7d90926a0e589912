"""Hyperliquid market data in Postgres, proven slot by slot.

model        nouns and pure arithmetic, standard library only
source       the outside: the exchange's REST interface, the weight budget's keeper
storage      Postgres: embedded server, migrations, one file per relation
collect      plan -> fetch -> land -> prove
derived      numbers from numbers: confidence, signals, plots
health       verdicts, expectations, the report
defs         the only rooms that import Dagster
sandbox      a local Hyperliquid with switchable faults
cli          `hl ...`, thin
"""
