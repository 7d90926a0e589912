-- Drops what earlier processes said of sockets that this one does not have.
delete from hl.stream where socket >= %(sockets)s
