-- Which runs of slots went missing since the last look, and what became of those that were missing before?
-- Found are slots that waited longer than it takes to ask for them (not is_young), of the time since their market is
-- tracked: what is older is history, read when it is its turn. A slot is over when the ledger holds it as a gap no more.
-- Gives how many were found, and how many closed.
with open_slots as (
    select
        gap.series_id,
        gap.step,
        gap.reason,
        gap.slots * tstzrange(series.tracked_from + %(window_slots)s::integer * series.step, null) as slots
    from hl.open_gaps(%(now)s, %(settle)s, %(grace)s, %(window_slots)s) as gap
    join hl.series using (series_id)
    where not gap.is_young and not gap.is_new
),

followed as (
    select
        episode.episode_id,
        episode.slots,
        market.tracked,
        case when market.tracked then episode.waiting * ledger.unsettled else '{}' end as waiting,
        ledger.empty,
        ledger.lost
    from hl.gap_episode as episode
    join hl.series using (series_id)
    join hl.market using (market_id)
    cross join lateral (
        select
            coalesce((select range_agg(gap.slots) from hl.gap where gap.series_id = series.series_id), '{}')
            + tstzrange(series.known_until, null)::tstzmultirange as unsettled,
            coalesce(
                (select range_agg(coverage.empty) from hl.coverage where coverage.series_id = series.series_id), '{}'
            ) as empty,
            coalesce(
                (select range_agg(coverage.lost) from hl.coverage where coverage.series_id = series.series_id), '{}'
            ) as lost
    ) as ledger
    where episode.closed_at is null
),

updated as (
    update hl.gap_episode as episode
    set
        waiting = followed.waiting,
        closed_at = case when followed.waiting = '{}' then %(now)s::timestamptz end,
        outcome = case
            when followed.waiting <> '{}' then null
            when followed.lost && followed.slots then 'lost'
            when not followed.tracked then 'dropped'
            when followed.empty @> followed.slots then 'empty'
            else 'filled'
        end
    from followed
    where followed.episode_id = episode.episode_id and followed.waiting <> episode.waiting
    returning episode.closed_at
),

found as (
    select
        missing.series_id,
        run.slots
    from (
        select
            open_slots.series_id,
            range_agg(open_slots.slots) - coalesce(
                (
                    select range_agg(episode.waiting) from hl.gap_episode as episode
                    where episode.series_id = open_slots.series_id and episode.closed_at is null
                ),
                '{}'
            ) as slots
        from open_slots
        where not isempty(open_slots.slots)
        group by open_slots.series_id
    ) as missing
    cross join lateral unnest(missing.slots) as run (slots)
),

inserted as (
    insert into hl.gap_episode (series_id, slots, waiting, reason, missing_since, found_at)
    select
        found.series_id,
        found.slots,
        found.slots::tstzmultirange,
        why.reason,
        lower(found.slots) + why.step + %(settle)s::interval,
        %(now)s
    from found
    cross join lateral (
        select open_slots.reason, open_slots.step
        from open_slots
        where open_slots.series_id = found.series_id and open_slots.slots && found.slots
        order by lower(open_slots.slots)
        limit 1
    ) as why
    returning episode_id
)

select
    (select count(*) from inserted) as found,
    (select count(*) from updated where closed_at is not null) as closed
