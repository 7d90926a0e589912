-- Where does a request stand in the queue of its key: how much weight is claimed before it, and is its lane's floor
-- used up by then? hl.check_rate_limit states the rule, and asks under the key's lock.
create or replace function hl.place_in_queue(
    budget hl.rate_limit, p_cost integer, p_lane text, p_waiter text, p_since timestamptz, p_now timestamptz,
    out ahead integer, out beyond_floor boolean
)
language plpgsql
as $$
begin
    with lately as (
        select s.lane, sum(s.weight) as weight,
            coalesce(sum(s.weight) filter (where s.at > p_now - budget.window_length / 6), 0) as just_now
        from hl.rate_limit_spend as s
        where s.key = budget.key and s.at > p_now - budget.window_length * 3 / 4
        group by s.lane
    ),
    claim as (
        select c.lane, c.waiter, c.weight, c.waiting_since
        from hl.rate_limit_claim as c
        where c.key = budget.key and c.waiter <> p_waiter
            and c.asked_at > p_now - budget.window_length / 10 and c.asked_at <= p_now
        union all
        select p_lane, p_waiter, p_cost, p_since
    ),
    queue as (
        select c.lane, c.waiter, c.weight, c.waiting_since, l.rank,
            coalesce(lately.weight, 0) + sum(c.weight) over in_lane - c.weight
                >= budget.max_weight * l.floor_percent / 100
            or coalesce(lately.just_now, 0) + sum(c.weight) over in_lane - c.weight
                >= budget.max_weight * l.floor_percent / 400 as beyond_floor
        from claim as c
        join hl.rate_limit_lane as l on l.lane = c.lane
        left join lately on lately.lane = c.lane
        window in_lane as (partition by c.lane order by c.waiting_since, c.waiter)
    )
    select
        coalesce(sum(q.weight) filter (
            where (q.beyond_floor, q.rank, q.waiting_since, q.waiter)
                < (m.beyond_floor, m.rank, m.waiting_since, m.waiter)
        ), 0),
        m.beyond_floor
    into ahead, beyond_floor
    from queue as q cross join (select * from queue where waiter = p_waiter and lane = p_lane) as m
    group by m.beyond_floor;
end
$$;

-- How much more than its even share has a key spent? The most that any span up to now holds beyond max_weight a window.
create or replace function hl.spent_beyond_pace(budget hl.rate_limit, p_now timestamptz)
returns integer
language plpgsql
as $$
begin
    return (
        select coalesce(ceil(max(
            spent_since
            - budget.max_weight * extract(epoch from p_now - at) / extract(epoch from budget.window_length)
        )), 0)
        from (
            select at, sum(weight) over (order by at desc, spend_id desc) as spent_since
            from hl.rate_limit_spend where key = budget.key and at > p_now - budget.window_length
        ) as spans
    );
end
$$;

-- May a request of this weight be sent now? An exact sliding sum over the key's window, one row a request.
-- The clock is read after the lock, or a waiter would judge by a stale instant; the sum is read after it too, which
-- needs read committed. Call it in autocommit on a connection of its own: inside a longer transaction the lock blocks
-- everybody, and a rollback forgets the spend. Who cannot have the lock in 2 s gets an error and sends nothing.
-- A reservation nobody settles counts for one window. Its row is kept for ten, so that a process that slept in
-- between still finds it to settle.
--
-- Lanes (hl.rate_limit_lane: urgent_gap > live > gap > backfill) share the key by three rules.
-- 1. Queue. Who is refused leaves a claim, alive for a tenth of the window and renewed by asking again; a request is
--    let through only if it fits beside all claims before it. So a large one collects freed weight while small ones
--    wait behind it, and a dead process is soon forgotten. Claims within their lane's floor go first, then by rank,
--    then by waiting time. Once let through, a claim lives on for its short while at its lane's end: the waiter is
--    likely to be back, and lower lanes shall not win the race each time it sends.
-- 2. Floor. A claim is within its lane's floor while the lane's spends of the last 3/4 of the window and its claims
--    before this one are less than the floor, and those of the last sixth less than a quarter of it (all at one blow
--    would leave long pauses). The last quarter is the time it may take until weight is freed and asked for again, so
--    that any whole window holds the floor. Whole requests fill it, so a saturated lane gets somewhat more.
-- 3. Pace. While lanes meet (another has a claim, or spent within two windows), a request beyond its floor waits until
--    the spends and the claims before it are no more than 1/24 of the limit ahead of an even pace. A window filled at
--    one blow is freed at one blow a window later, and nobody gets anything in between.
-- With one lane at work only the queue applies, and it may spend the whole window at once: so is lent what others do
-- not use. A lane that wakes into a window spent so waits until it is freed, at most one window.
--
-- p_waiter names who waits, one request at a time; without it a refusal leaves no claim.
-- p_now is for simulations; refusing it to ordinary roles is a grant's work.
drop function if exists hl.check_rate_limit(text, integer, text, timestamptz);
create or replace function hl.check_rate_limit(
    p_key text, p_cost integer, p_lane text default 'live', p_waiter text default '', p_now timestamptz default null
)
returns table (allowed boolean, spend_id bigint, retry_after double precision, remaining integer)
language plpgsql
set search_path = pg_catalog, hl, pg_temp
set lock_timeout = '2s'
as $$
declare
    budget hl.rate_limit;
    v_now timestamptz;
    v_since timestamptz;
    claim_from timestamptz;
    spent integer;
    ahead integer := 0;
    paced boolean := false;
    some_are_old boolean;
    lane_known boolean;
    others_wait boolean;
    has_claim boolean;
    over_limit integer;
    over_pace integer := 0;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the weight budget was asked in a % transaction', current_setting('transaction_isolation')
            using hint = 'ask it in read committed: a snapshot from before the lock hides what others spent';
    end if;
    select * into budget from hl.rate_limit r where r.key = p_key for update;
    if not found then
        raise exception 'no weight budget is set up for key %', p_key using hint = 'insert a row into hl.rate_limit';
    end if;
    if p_cost is null or p_cost < 0 or p_cost > budget.max_weight then
        raise exception 'cost % is outside 0 to % of key %', p_cost, budget.max_weight, p_key
            using hint = 'split the request: it can never be allowed';
    end if;
    v_now := coalesce(p_now, clock_timestamp());
    select coalesce(sum(s.weight) filter (where s.at > v_now - budget.window_length), 0),
        coalesce(bool_or(s.lane <> p_lane) filter (where s.at > v_now - budget.window_length * 2), false),
        coalesce(bool_or(s.at <= v_now - budget.window_length * case when s.settled then 2 else 10 end), false),
        exists (select from hl.rate_limit_lane l where l.lane = p_lane)
    into spent, paced, some_are_old, lane_known
    from hl.rate_limit_spend s where s.key = p_key;
    if not lane_known then
        raise exception 'there is no lane %', p_lane using hint = 'take one that stands in hl.rate_limit_lane';
    end if;
    if some_are_old then
        delete from hl.rate_limit_spend s
        where s.key = p_key and s.at <= v_now - budget.window_length * case when s.settled then 2 else 10 end;
    end if;
    claim_from := v_now - budget.window_length / 10;
    select coalesce(bool_or(c.waiter <> p_waiter), false),
        coalesce(bool_or(c.waiter = p_waiter), false),
        paced or coalesce(bool_or(c.lane <> p_lane) filter (where c.waiter <> p_waiter), false),
        coalesce(min(c.waiting_since) filter (
            where c.waiter = p_waiter and c.lane = p_lane and c.weight = p_cost and c.waiting_since <= v_now
        ), v_now)
    into others_wait, has_claim, paced, v_since
    from hl.rate_limit_claim c  -- one from the future was left before the clock was set back
    where c.key = p_key and c.asked_at > claim_from and c.asked_at <= v_now;
    if others_wait or paced then
        select q.ahead, paced and q.beyond_floor into ahead, paced
        from hl.place_in_queue(budget, p_cost, p_lane, p_waiter, v_since, v_now) q;
    end if;
    over_limit := spent + ahead + p_cost - budget.max_weight;
    if paced then
        over_pace := hl.spent_beyond_pace(budget, v_now) + ahead - budget.max_weight / 24;
    end if;
    if over_limit <= 0 and over_pace <= 0 then
        insert into hl.rate_limit_spend (key, at, weight, lane) values (p_key, v_now, p_cost, p_lane)
        returning rate_limit_spend.spend_id into spend_id;
        if budget.refused_since is not null then
            update hl.rate_limit r set refused_since = null where r.key = p_key;
        end if;
        if has_claim then
            update hl.rate_limit_claim c
            set lane = p_lane, weight = p_cost, waiting_since = 'infinity', asked_at = v_now
            where c.key = p_key and c.waiter = p_waiter;
        end if;
        allowed := true;
        retry_after := 0;
        remaining := budget.max_weight - spent - p_cost;
    else
        update hl.rate_limit r
        set refused_since = coalesce(r.refused_since, v_now), refused_total = r.refused_total + 1
        where r.key = p_key;
        delete from hl.rate_limit_claim c where c.key = p_key and (c.asked_at <= claim_from or c.asked_at > v_now);
        if p_waiter <> '' then
            insert into hl.rate_limit_claim (key, waiter, lane, weight, waiting_since, asked_at)
            values (p_key, p_waiter, p_lane, p_cost, v_since, v_now)
            on conflict (key, waiter) do update
            set lane = p_lane, weight = p_cost, waiting_since = v_since, asked_at = v_now;
        end if;
        -- the moment at which enough of the oldest spends have left the window, or all, if more is wanted than is spent
        select extract(epoch from freed.at + budget.window_length - v_now) into retry_after
        from (
            select s.at, sum(s.weight) over (order by s.at, s.spend_id) as released
            from hl.rate_limit_spend s where s.key = p_key and s.at > v_now - budget.window_length
        ) as freed
        where over_limit > 0 and freed.released >= least(over_limit, spent)
        order by freed.at limit 1;
        if over_pace > 0 then
            retry_after := greatest(
                retry_after, extract(epoch from budget.window_length) * over_pace / budget.max_weight
            );
        end if;
        retry_after := coalesce(retry_after, extract(epoch from budget.window_length / 60));
        allowed := false;
        remaining := greatest(budget.max_weight - spent - ahead, 0);
    end if;
    return next;
end
$$;

-- Puts the true weight in the place of a reservation, and dates it at the answer's arrival: the exchange counted
-- the request somewhere between sending and answering, so the later date can never free the weight too early.
-- False when the reservation is no longer there (older than ten windows), or was never made.
drop function if exists hl.settle_rate_limit(bigint, integer, timestamptz);
create function hl.settle_rate_limit(p_spend_id bigint, p_weight integer, p_now timestamptz default null)
returns boolean
language sql
set search_path = pg_catalog, hl, pg_temp
set lock_timeout = '2s'
as $$
    with settled as (
        update hl.rate_limit_spend
        set weight = p_weight, at = greatest(at, coalesce(p_now, clock_timestamp())), settled = true
        where spend_id = p_spend_id
        returning 1
    )
    select exists (select from settled)
$$;
