-- Enters settled slots into the ledger, month by month. A row that arrives overrules emptiness and loss.
with settled as (
    select
        %(final)s::tstzmultirange as final,
        %(empty)s::tstzmultirange as empty,
        %(lost)s::tstzmultirange as lost
),

months as (
    select month, tstzmultirange(tstzrange(month, month + interval '1 month')) as span
    from settled
    cross join generate_series(
        date_trunc('month', lower(final + empty + lost)),
        upper(final + empty + lost) - interval '1 microsecond',
        interval '1 month'
    ) as month
)

insert into hl.coverage as ledger (series_id, month, final, empty, lost)
select %(series_id)s, month::date, final * span, empty * span, lost * span
from settled
cross join months
where (final + empty + lost) && span
on conflict (series_id, month) do update
set
    final = ledger.final + excluded.final,
    empty = (ledger.empty + excluded.empty) - excluded.final,
    lost = (ledger.lost + excluded.lost) - excluded.final
where not (
    ledger.final @> excluded.final and ledger.empty @> excluded.empty and ledger.lost @> excluded.lost
    and not (ledger.empty && excluded.final) and not (ledger.lost && excluded.final)
)
