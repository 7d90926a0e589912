-- How many slots before %(until)s are not settled yet?
select
    (
        select coalesce(
            sum(
                extract(epoch from least(upper(gap.slots), date_bin(series.step, %(until)s, 'epoch')) - lower(gap.slots))
                / extract(epoch from series.step)
            ),
            0
        )::integer
        from hl.gap
        join hl.series using (series_id)
        where lower(gap.slots) < date_bin(series.step, %(until)s, 'epoch')
    )
    + (
        select count(*)::integer from hl.series
        where known_until < date_bin(step, %(until)s, 'epoch')
    )
