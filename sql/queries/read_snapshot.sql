-- All that this transaction reads is of one instant, and it writes nothing.
set transaction isolation level repeatable read, read only
