-- Who says that he works on which series' months now? A killed holder is named for a while after its end.
select holder, lane, count(*) as months, min(claimed_at) as claimed_at, max(held_until) as held_until
from hl.lease
where held_until > clock_timestamp()
group by holder, lane
order by holder, lane
