-- May a request of this weight be sent now? An exact sliding sum over the key's window, one row a request.
-- The clock is read after the lock, or a waiter would judge by a stale instant. Call it in autocommit on a
-- connection of its own: inside a longer transaction the lock blocks everybody, and a rollback forgets the spend.
-- p_now is for simulations; refusing it to ordinary roles is a grant's work.
create or replace function hl.check_rate_limit(
    p_key text, p_cost integer, p_lane text default 'live', p_now timestamptz default null
)
returns table (allowed boolean, spend_id bigint, retry_after double precision, remaining integer)
language plpgsql
set search_path = pg_catalog, hl, pg_temp
as $$
declare
    budget hl.rate_limit;
    v_now timestamptz;
    spent integer;
begin
    select * into budget from hl.rate_limit where key = p_key for update;
    if not found then
        raise exception 'no weight budget is set up for key %', p_key using hint = 'insert a row into hl.rate_limit';
    end if;
    if p_cost < 0 or p_cost > budget.max_weight then
        raise exception 'cost % is outside 0 to % of key %', p_cost, budget.max_weight, p_key
            using hint = 'split the request: it can never be allowed';
    end if;
    v_now := coalesce(p_now, clock_timestamp());
    delete from hl.rate_limit_spend s where s.key = p_key and s.at <= v_now - budget.window_length;
    select coalesce(sum(s.weight), 0) into spent from hl.rate_limit_spend s where s.key = p_key;
    if spent + p_cost <= budget.max_weight then
        insert into hl.rate_limit_spend (key, at, weight, lane) values (p_key, v_now, p_cost, p_lane)
        returning rate_limit_spend.spend_id into spend_id;
        allowed := true;
        retry_after := 0;
        remaining := budget.max_weight - spent - p_cost;
    else
        -- the moment at which enough of the oldest spends have left the window
        select extract(epoch from freed.at + budget.window_length - v_now) into retry_after
        from (
            select s.at, sum(s.weight) over (order by s.at, s.spend_id) as released
            from hl.rate_limit_spend s where s.key = p_key
        ) as freed
        where freed.released >= spent + p_cost - budget.max_weight
        order by freed.at limit 1;
        allowed := false;
        remaining := budget.max_weight - spent;
    end if;
    return next;
end
$$;

-- Puts the true weight in the place of a reservation, and dates it at the answer's arrival: the exchange counted
-- the request somewhere between sending and answering, so the later date can never free the weight too early.
create or replace function hl.settle_rate_limit(p_spend_id bigint, p_weight integer, p_now timestamptz default null)
returns void
language sql
set search_path = pg_catalog, hl, pg_temp
as $$
    update hl.rate_limit_spend
    set weight = p_weight, at = greatest(at, coalesce(p_now, clock_timestamp())), settled = true
    where spend_id = p_spend_id
$$;
