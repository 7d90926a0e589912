-- Which files hold the rows of this month that are not in the table, or were once? Every interval where none is named.
select interval, file, rows, bytes, encode(sha256, 'hex'), content, hl.epoch_ms(exported_at), hl.epoch_ms(restored_at)
from hl.export_file
where relation = %(relation)s
    and month = %(month)s
    and (%(interval)s::text is null or interval = %(interval)s)
order by interval, export_id
