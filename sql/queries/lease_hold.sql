-- Who claims the months of this span? Held as they are until the transaction ends.
select month, holder, epoch
from hl.lease
where series_id = %(series_id)s
    and lane = %(lane)s
    and month >= date_trunc('month', %(starts)s::timestamptz)::date
    and month < %(ends)s::timestamptz
order by month
for share
