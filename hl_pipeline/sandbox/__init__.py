"""A local Hyperliquid: the REST interface, its quirks, its limiter, and faults that can be switched on.

What belongs here: whatever answers as the exchange answers. What does not:
anything of the pipeline; this room knows the model and nobody knows this room
but the command line, the demo and the tests. Facts about the real exchange
come from the wire reference, and each is named where it is imitated.

noise          hashes and the random walk: any instant without its past
catalogue      the markets of the default world
truth          what really happened: candles as a pure function of the seed
world          truth, markets and a clock
path           how a minute's candle forms, trade by trade
wire           candles as the exchange spells them
snapshot       which candles a request gets: window, newest 5000, quiet slots, the open candle
describe       meta, contexts, mids, dexes
funding        funding rates and their history
limiter        request weight per minute
request_log    who asked for what, when, at which weight
faults         what can go wrong, when, for whom
corrupt        how a fault changes a row or a body
exchange       one request in, one answer out
tape           one market's frames, minute by minute
feed           all topics that are watched, in the order in which things happen
subscriptions  what a client may say on the WebSocket, and the words of the answers
dialogue       one message in, one answer out
gate           what a client may do on the WebSocket, per address
connection     one socket
hub            all sockets: fan-out, timers, faults
mischief       frames that no client should trust
socket_log     who opened, was refused and lost which socket
socket         the WebSocket face
server         the HTTP face, and how to run both here or in a thread
process        the same in a process of its own
"""
