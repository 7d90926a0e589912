-- Windows that get no usable answer: hl.record_failure counts them in hl.fetch_failure, whose trigger hl.move_to_dlq
-- makes a dead letter of a window that fails for good; hl.retry_dead_letters has it asked for again, and
-- hl.settle_dead_letters closes the letter when its slots are answered or lost.
--
-- All but hl.retry_dead_letters are called under the lock of the series, in the transaction that writes its gaps.

-- Lays gap slots aside: each unbroken run of them becomes one dead gap, to be asked for once more an hour before the
-- exchange forgets its oldest slot, and after that never. Slots of p_slots that are no gap are passed over.
create or replace function hl.bury(p_series_id integer, p_slots tstzmultirange, p_kind text, p_at timestamptz)
returns void
language sql
set search_path = pg_catalog, hl, pg_temp
as $$
    with old as (
        delete from hl.gap where series_id = p_series_id and slots && p_slots
        returning *
    ),

    kept as (
        select
            piece as slots, reason, attempts, first_absent_at, next_try,
            deadline + (lower(piece) - lower(slots)) as deadline, is_dead
        from old
        cross join lateral unnest(slots::tstzmultirange - p_slots) as piece
    ),

    dying as (
        select unnest(range_agg(slots) * p_slots) as slots
        from old
    ),

    dead as (
        select
            dying.slots,
            max(old.attempts) as attempts,
            min(old.first_absent_at) as first_absent_at,
            min(old.deadline - lower(old.slots)) + lower(dying.slots) as deadline
        from dying
        join old on old.slots && dying.slots
        group by dying.slots
    )

    insert into hl.gap (series_id, slots, reason, attempts, first_absent_at, next_try, deadline, is_dead)
    select p_series_id, slots, reason, attempts, first_absent_at, next_try, deadline, is_dead
    from kept
    union all
    select
        p_series_id,
        slots,
        case p_kind when 'rejected' then 'rejected' else 'failed' end,
        attempts,
        first_absent_at,
        case
            when deadline - interval '1 hour' > p_at then deadline - interval '1 hour'
            -- when the newest slot is gone, too, there is nothing left to ask for
            else deadline + (upper(slots) - lower(slots))
        end,
        deadline,
        true
    from dead
$$;

-- Has the exchange answered anybody's candle request that was sent after this one? If not, a failure says nothing
-- about the window that failed.
create or replace function hl.answered_since(p_fetch_id bigint, p_kind text)
returns boolean
language sql stable
set search_path = pg_catalog, hl, pg_temp
as $$
    select exists (
        select from hl.fetch
        where fetch_id > p_fetch_id and request_type = 'candleSnapshot' and status = 'landed'
            and (p_kind <> 'rejected' or rejected = 0)
    )
$$;

-- A window that failed for good leaves hl.fetch_failure and becomes a dead letter, or part of the one beside it.
create or replace function hl.move_to_dlq()
returns trigger
language plpgsql
set search_path = pg_catalog, hl, pg_temp
as $$
declare
    patience hl.failure_kind;
begin
    select * into strict patience from hl.failure_kind where kind = new.kind;
    if new.attempts < patience.max_attempts or new.last_failed_at - new.first_failed_at < patience.lasting then
        return null;
    end if;
    delete from hl.fetch_failure where failure_id = new.failure_id;
    update hl.dead_letter
    set slots = slots + new.slots, waiting = waiting + new.slots, attempts = attempts + new.attempts,
        error = new.error, request = new.request, fetch_id = new.fetch_id, died_at = new.last_failed_at
    where dead_letter_id = (
        select min(letter.dead_letter_id)
        from hl.dead_letter as letter
        where letter.series_id = new.series_id and letter.kind = new.kind and letter.resolved_at is null
            and (letter.slots && new.slots or letter.slots -|- new.slots)
            and isempty(letter.lost * new.slots)
    );
    if not found then
        insert into hl.dead_letter (
            series_id, kind, slots, waiting, attempts, error, request, next_step, fetch_id, first_failed_at, died_at
        )
        values (
            new.series_id, new.kind, new.slots, new.slots, new.attempts, new.error, new.request, patience.next_step,
            new.fetch_id, new.first_failed_at, new.last_failed_at
        );
    end if;
    perform hl.bury(new.series_id, new.slots, new.kind, new.last_failed_at);
    return null;
end
$$;

create or replace trigger move_to_dlq after insert or update of attempts on hl.fetch_failure
for each row execute function hl.move_to_dlq();

-- Enters one failed request: p_slots are the gap slots that it was to settle. The dead letters that died of it.
-- 1. Dead slots that were due had their one try: they are laid aside again, and the letter says what came of it.
-- 2. The newest slots of a series that stand beside a dead window join it at once: a series that fails as a whole is
--    one letter that grows, and is asked less and less often.
-- 3. Any others are counted, together with the failures of the same kind that they overlap. A failure counts only when
--    the exchange answered somebody since the one before: an outage buries nothing, however long it lasts.
create or replace function hl.record_failure(
    p_series_id integer, p_slots tstzmultirange, p_kind text, p_at timestamptz, p_error text, p_request jsonb,
    p_fetch_id bigint
)
returns setof bigint
language plpgsql
set search_path = pg_catalog, hl, pg_temp
as $$
declare
    was_dead tstzmultirange;
    had_its_try tstzmultirange;
    alive tstzmultirange;
    grown tstzmultirange;
    at_the_edge boolean;
begin
    select
        coalesce(range_agg(slots), '{}'),
        coalesce(range_agg(slots) filter (where next_try <= p_at), '{}')
    into was_dead, had_its_try
    from hl.gap
    where series_id = p_series_id and is_dead and slots && p_slots;
    alive := p_slots - was_dead;
    if not isempty(had_its_try) then
        update hl.dead_letter
        set attempts = attempts + 1, error = p_error, request = p_request, fetch_id = p_fetch_id, died_at = p_at
        where series_id = p_series_id and resolved_at is null and waiting && had_its_try;
        perform hl.bury(p_series_id, had_its_try, p_kind, p_at);
    end if;
    select p_kind <> 'rejected' and known_until <= upper(alive) into at_the_edge
    from hl.series
    where series_id = p_series_id;
    if at_the_edge then
        update hl.dead_letter
        set slots = slots + alive, waiting = waiting + alive, attempts = attempts + 1,
            error = p_error, request = p_request, fetch_id = p_fetch_id, died_at = p_at
        where dead_letter_id = (
            select min(letter.dead_letter_id)
            from hl.dead_letter as letter
            where letter.series_id = p_series_id and letter.kind <> 'rejected' and letter.resolved_at is null
                and letter.waiting -|- alive and hl.answered_since(letter.fetch_id, p_kind)
        )
        returning waiting into grown;
        if found then
            perform hl.bury(p_series_id, grown, p_kind, p_at);
            alive := '{}';
        end if;
    end if;
    if not isempty(alive) then
        with earlier as (
            delete from hl.fetch_failure where series_id = p_series_id and kind = p_kind and slots && alive
            returning *
        )

        insert into hl.fetch_failure (
            series_id, slots, kind, attempts, first_failed_at, last_failed_at, error, request, fetch_id
        )
        select
            p_series_id,
            alive + coalesce(range_agg(slots), '{}'),
            p_kind,
            coalesce(max(attempts) + hl.answered_since(max(fetch_id), p_kind)::integer, 1),
            coalesce(min(first_failed_at), p_at), p_at, p_error, p_request, p_fetch_id
        from earlier;
    end if;
    return query
    select dead_letter_id
    from hl.dead_letter
    where series_id = p_series_id and fetch_id = p_fetch_id and died_at = p_at;
end
$$;

-- Forgets the failures of slots that got an answer, or are settled or lost. p_refused are those of them for which the
-- answer held no sound row, but rows that break a rule.
create or replace function hl.forget_failures(
    p_series_id integer, p_answered tstzmultirange, p_refused tstzmultirange default '{}'
)
returns void
language sql
set search_path = pg_catalog, hl, pg_temp
as $$
    with over as (
        select failure_id, slots - (p_answered - case kind when 'rejected' then p_refused else '{}' end) as remaining
        from hl.fetch_failure
        where series_id = p_series_id and slots && p_answered
    ),

    gone as (
        delete from hl.fetch_failure
        where failure_id in (select failure_id from over where isempty(remaining))
    )

    update hl.fetch_failure
    set slots = over.remaining
    from over
    where fetch_failure.failure_id = over.failure_id and not isempty(over.remaining)
$$;

-- Takes slots out of the dead letters that wait for them: p_freed are answered or lost, p_lost are those lost. A letter
-- that waits for nothing more is resolved, and its alert with the last one of that series and kind.
create or replace function hl.settle_dead_letters(
    p_series_id integer, p_freed tstzmultirange, p_lost tstzmultirange, p_at timestamptz
)
returns integer
language plpgsql
set search_path = pg_catalog, hl, pg_temp
as $$
declare
    resolved integer;
begin
    update hl.dead_letter
    set waiting = waiting - p_freed,
        lost = lost + waiting * p_lost * p_freed,
        resolved_at = case when isempty(waiting - p_freed) then p_at end,
        next_step = case
            when isempty(waiting * p_lost * p_freed) then next_step
            else 'the exchange forgot slots of it before it answered; they only come back from an archive'
        end
    where series_id = p_series_id and resolved_at is null and waiting && p_freed;
    select count(*) into resolved
    from hl.dead_letter
    where series_id = p_series_id and resolved_at = p_at;
    if resolved > 0 then
        update hl.alert
        set resolved_at = p_at
        from hl.series
        join hl.market using (market_id)
        where series.series_id = p_series_id
            and alert.rule = 'dead_letter' and alert.resolved_at is null
            and alert.labels ->> 'coin' = market.coin and alert.labels ->> 'interval' = series.interval
            and not exists (
                select from hl.dead_letter as letter
                where letter.series_id = p_series_id and letter.resolved_at is null
                    and letter.kind = alert.labels ->> 'kind'
            );
    end if;
    return resolved;
end
$$;

-- Has the slots of dead letters asked for again, once, by the next collection: all letters that are open, or those of a
-- kind, or one. Returns how many. p_at is market time; what succeeds resolves the letter, what fails is laid aside.
create or replace function hl.retry_dead_letters(
    p_kind text default null, p_letter bigint default null, p_at timestamptz default now()
)
returns integer
language plpgsql
security definer  -- an operator may do this, and write no gap otherwise
set search_path = pg_catalog, hl, pg_temp
as $$
declare
    retried integer;
begin
    if p_kind is not null and not exists (select from hl.failure_kind where kind = p_kind) then
        raise exception 'there is no kind of failure %', p_kind using hint = 'take one that stands in hl.failure_kind';
    end if;
    -- as landings do: 1m first, then those derived from it
    perform series_id
    from hl.series
    where series_id in (select series_id from hl.dead_letter where resolved_at is null)
    order by interval <> '1m', series_id
    for update;
    with chosen as (
        update hl.dead_letter
        set retried_at = p_at
        where resolved_at is null
            and (p_kind is null or kind = p_kind) and (p_letter is null or dead_letter_id = p_letter)
        returning series_id, waiting
    ),

    due as (
        update hl.gap
        set next_try = p_at
        from chosen
        where gap.series_id = chosen.series_id and gap.is_dead and gap.slots && chosen.waiting
    )

    select count(*) into retried from chosen;
    return retried;
end
$$;
