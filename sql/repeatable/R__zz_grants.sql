-- Who may do what. Roles of the whole server, made where the one who migrates may make them, without a login:
--   hl_owner     owns the schema, where a superuser migrates
--   hl_migrate   member of hl_owner: what a migration needs
--   hl_writer    the pipeline: reads and writes rows, makes no tables, empties none
--   hl_operator  a reader who also sees failures, alerts and health, and may act on them
--   hl_reader    market data and how far to trust it; can change nothing
-- Where they cannot be made there is one user, as before. Nothing of ours is ever open to PUBLIC.
-- Row security stands only where two kinds of reader differ; elsewhere grants are the barrier.
-- Sorts last, because it speaks of what all other files make; it names some of it, so that it waits for them.
select from hl.latest, hl.candles limit 0;

do $$
declare
    name text;
begin
    if not (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) then
        return;
    end if;
    foreach name in array array['hl_owner', 'hl_migrate', 'hl_writer', 'hl_reader', 'hl_operator'] loop
        if to_regrole(name) is null then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null;  -- a migration of another database of this server was quicker
            end;
        end if;
    end loop;
    if not pg_has_role('hl_migrate', 'hl_owner', 'member') then
        grant hl_owner to hl_migrate;
    end if;
    -- since Postgres 16 who makes a role may administer it, and no more: things cannot yet be given to it
    if not (select rolsuper from pg_roles where rolname = current_user)
        and pg_has_role(current_user, 'hl_owner', 'member') and not pg_has_role(current_user, 'hl_owner', 'usage') then
        execute format('grant hl_owner to %I', current_user);
    end if;
    if not pg_has_role('hl_operator', 'hl_reader', 'member') then
        grant hl_reader to hl_operator;
    end if;
exception when insufficient_privilege then
    raise notice 'the roles belong to somebody else: %', sqlerrm;
end
$$;

-- Everything of the schema belongs to hl_owner, so that functions with their owner's rights are no superuser's.
do $$
declare
    thing record;
begin
    if to_regrole('hl_owner') is null or not pg_has_role(current_user, 'hl_owner', 'member') then
        return;
    end if;
    if (select datdba from pg_database where datname = current_database()) <> 'hl_owner'::regrole
        and (select rolsuper from pg_roles where rolname = current_user) then
        execute format('alter database %I owner to hl_owner', current_database());
    end if;
    if (select nspowner from pg_namespace where nspname = 'hl') <> 'hl_owner'::regrole then
        alter schema hl owner to hl_owner;
    end if;
    for thing in
        select format('hl.%I', relname) as name, case relkind when 'v' then 'view' when 'm' then 'materialized view'
            else 'table' end as kind
        from pg_class
        where relnamespace = 'hl'::regnamespace and relkind in ('r', 'p', 'v', 'm') and relowner <> 'hl_owner'::regrole
        order by relkind <> 'p'
    loop
        execute format('alter %s %s owner to hl_owner', thing.kind, thing.name);
    end loop;
    for thing in
        select oid::regprocedure::text as name from pg_proc
        where pronamespace = 'hl'::regnamespace and proowner <> 'hl_owner'::regrole
    loop
        execute format('alter function %s owner to hl_owner', thing.name);
    end loop;
    alter default privileges for role hl_owner revoke execute on functions from public;
end
$$;

alter default privileges revoke execute on functions from public;
revoke all on schema hl from public;
revoke all on all tables in schema hl from public;
revoke all on all sequences in schema hl from public;
revoke all on all functions in schema hl from public;

do $$
begin
    if pg_has_role(current_user, (select datdba from pg_database where datname = current_database()), 'member') then
        execute format('revoke all on database %I from public', current_database());
    end if;
    if pg_has_role(current_user, (select nspowner from pg_namespace where nspname = 'public'), 'member') then
        revoke all on schema public from public;
    end if;
end
$$;

-- What Postgres lets anybody do that leaves a trace: large objects, locks that others wait for, messages, log entries,
-- transaction numbers, the end of other sessions. Only a superuser can take it away; the pipeline keeps it.
do $$
declare
    built_in record;
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        return;
    end if;
    for built_in in
        select oid::regprocedure::text as name, proname ~ 'advisory' as is_lock
        from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
            and (
                proname ~ '^(lo_|pg_(try_)?advisory_|pg_logical_emit_message$)'
                or proname in (
                    'loread', 'lowrite', 'pg_notify', 'pg_export_snapshot', 'pg_current_xact_id', 'txid_current',
                    'pg_cancel_backend', 'pg_terminate_backend'
                )
            )
    loop
        execute format('revoke execute on function %s from public', built_in.name);
        if built_in.is_lock and to_regrole('hl_writer') is not null then
            execute format('grant execute on function %s to hl_writer, hl_owner', built_in.name);
        end if;
    end loop;
end
$$;

-- Grants and row security, where the roles exist.
do $$
declare
    shown constant text[] := array[
        'candle', 'candle_revision', 'candles', 'confidence', 'coverage', 'export_file', 'exported_slots', 'fetch',
        'funding_rate', 'gap', 'gap_episode', 'latest', 'market', 'market_context', 'market_history',
        'pipeline_stats_24h', 'rate_limit_lane', 'schema_repeatable', 'schema_version', 'series', 'vanished_row'
    ];
    -- readers see none of these rows, operators all
    of_operators constant text[] := array[
        'alert', 'alert_incident', 'alert_silence', 'alert_outbox', 'alert_notice', 'alert_delivery', 'dead_letter',
        'endpoint', 'endpoint_disagreement', 'fetch_failure', 'performance_history', 'rejected_row', 'retention_progress',
        'system_health_log'
    ];
    -- what an operator may change by hand
    in_hand constant text[] := array['alert_silence', 'alert_rule', 'alert_rule_market', 'failure_kind', 'vanished_row'];
    readable constant text[] := array['epoch_ms', 'slots_in', 'candles_asof', 'candles_filled', 'open_gaps'];
    thing record;
begin
    if to_regrole('hl_reader') is null or to_regrole('hl_writer') is null or to_regrole('hl_operator') is null then
        return;
    end if;
    if pg_has_role(current_user, (select datdba from pg_database where datname = current_database()), 'member') then
        execute format('grant connect on database %I to hl_reader, hl_migrate', current_database());
        execute format('grant connect, temporary on database %I to hl_writer', current_database());
        if to_regrole('hl_owner') is not null then
            -- a view that is refreshed beside its readers fills a temporary table, as its owner
            execute format('grant temporary on database %I to hl_owner', current_database());
        end if;
    end if;
    grant usage on schema hl to hl_reader, hl_writer;

    grant select, insert, update, delete on all tables in schema hl to hl_writer;
    revoke insert, update, delete on hl.schema_version, hl.schema_repeatable from hl_writer;
    revoke update, delete on hl.installation from hl_writer;
    grant execute on all functions in schema hl to hl_writer;
    if current_setting('server_version_num')::integer >= 170000 then
        execute 'grant maintain on all tables in schema hl to hl_writer';  -- statistics, and the latest metrics
        if to_regrole('hl_owner') is not null and pg_has_role(current_user, 'hl_owner', 'member') then
            execute 'alter default privileges for role hl_owner in schema hl grant maintain on tables to hl_writer';
        end if;
    end if;
    grant select on all tables in schema hl to hl_operator;
    grant execute on function hl.retry_dead_letters to hl_operator;

    for thing in
        select relname as name, relkind in ('r', 'p') as is_table from pg_class
        where relnamespace = 'hl'::regnamespace and relname = any(shown || of_operators || in_hand)
    loop
        if thing.name = any(shown || of_operators) then
            execute format('grant select on hl.%I to hl_reader', thing.name);
        end if;
        if thing.name = any(in_hand) then
            execute format('grant insert, update, delete on hl.%I to hl_operator', thing.name);
        end if;
        -- once: a policy locks its table, and this file is applied again whenever any other changed
        if thing.name = any(of_operators || 'fetch'::text) and thing.is_table and not exists (
            select from pg_policy
            where polrelid = format('hl.%I', thing.name)::regclass and polname = 'operators_see'
        ) then
            execute format('alter table hl.%I enable row level security', thing.name);
            execute format('create policy operators_see on hl.%I to hl_operator using (true)', thing.name);
            execute format('create policy writers_write on hl.%I to hl_writer using (true)', thing.name);
            if thing.name = 'fetch' then
                -- where a candle came from is for everybody, what went wrong on the way is not
                create policy readers_see_what_landed on hl.fetch for select to hl_reader using (status = 'landed');
            end if;
        end if;
    end loop;
    for thing in
        select oid::regprocedure::text as name from pg_proc
        where pronamespace = 'hl'::regnamespace and proname = any(readable)
    loop
        execute format('grant execute on function %s to hl_reader', thing.name);
    end loop;
end
$$;
