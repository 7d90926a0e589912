"""A local Hyperliquid: the REST interface, its quirks, its limiter, and faults that can be switched on.

What belongs here: whatever answers as the exchange answers. What does not:
anything of the pipeline; this room knows the model and nobody knows this room
but the command line, the demo and the tests. Facts about the real exchange
come from the wire reference, and each is named where it is imitated.

noise        hashes and the random walk: any instant without its past
catalogue    the markets of the default world
truth        what really happened: candles as a pure function of the seed
world        truth, markets and a clock
wire         candles as the exchange spells them
snapshot     which candles a request gets: window, newest 5000, quiet slots, the open candle
describe     meta, contexts, mids, dexes
funding      funding rates and their history
limiter      request weight per minute
request_log  who asked for what, when, at which weight
faults       what can go wrong, when, for whom
corrupt      how a fault changes a row or a body
exchange     one request in, one answer out
server       the HTTP face, and how to run it here or in a thread
process      the same in a process of its own
"""
