-- May a request of this weight be sent now? An exact sliding sum over the key's window, one row a request.
-- The clock is read after the lock, or a waiter would judge by a stale instant; the sum is read after it too, which
-- needs read committed. Call it in autocommit on a connection of its own: inside a longer transaction the lock blocks
-- everybody, and a rollback forgets the spend. Who cannot have the lock in 2 s gets an error and sends nothing.
-- A reservation nobody settles counts for one window. Its row is kept for ten, so that a process that slept in
-- between still finds it to settle.
-- p_now is for simulations; refusing it to ordinary roles is a grant's work.
create or replace function hl.check_rate_limit(
    p_key text, p_cost integer, p_lane text default 'live', p_now timestamptz default null
)
returns table (allowed boolean, spend_id bigint, retry_after double precision, remaining integer)
language plpgsql
set search_path = pg_catalog, hl, pg_temp
set lock_timeout = '2s'
as $$
declare
    budget hl.rate_limit;
    v_now timestamptz;
    spent integer;
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
    delete from hl.rate_limit_spend s
    where s.key = p_key and s.at <= v_now - budget.window_length * case when s.settled then 1 else 10 end;
    select coalesce(sum(s.weight), 0) into spent
    from hl.rate_limit_spend s where s.key = p_key and s.at > v_now - budget.window_length;
    if spent + p_cost <= budget.max_weight then
        insert into hl.rate_limit_spend (key, at, weight, lane) values (p_key, v_now, p_cost, p_lane)
        returning rate_limit_spend.spend_id into spend_id;
        if budget.refused_since is not null then
            update hl.rate_limit r set refused_since = null where r.key = p_key;
        end if;
        allowed := true;
        retry_after := 0;
        remaining := budget.max_weight - spent - p_cost;
    else
        update hl.rate_limit r
        set refused_since = coalesce(r.refused_since, v_now), refused_total = r.refused_total + 1
        where r.key = p_key;
        -- the moment at which enough of the oldest spends have left the window
        select extract(epoch from freed.at + budget.window_length - v_now) into retry_after
        from (
            select s.at, sum(s.weight) over (order by s.at, s.spend_id) as released
            from hl.rate_limit_spend s where s.key = p_key and s.at > v_now - budget.window_length
        ) as freed
        where freed.released >= spent + p_cost - budget.max_weight
        order by freed.at limit 1;
        allowed := false;
        remaining := greatest(budget.max_weight - spent, 0);
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
