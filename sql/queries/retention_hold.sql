-- Hold the writers of this month off until the transaction ends; false when there is no such partition.
select hl.hold_month(%(relation)s, %(month)s)
