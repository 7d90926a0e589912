-- Within this transaction, wait so many milliseconds for a lock: others queue behind whoever waits for a whole table.
select set_config('lock_timeout', %(milliseconds)s::text, true)
