-- Makes sure the monthly partitions exist that rows between two instants need.
select hl.ensure_partitions(%(parent)s, %(starts)s, %(ends)s)
