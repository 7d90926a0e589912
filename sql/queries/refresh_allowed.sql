-- May this user bring the live edge up to date: store candles, and hold the lock for it? Readers may not.
select
    has_table_privilege('hl.candle', 'insert')
    and has_function_privilege('pg_try_advisory_lock(integer, integer)', 'execute')
