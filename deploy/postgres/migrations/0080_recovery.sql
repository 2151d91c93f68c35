-- What keeps a media asset from being lost when runs die, dependencies fail or people pause:
-- losses of runs, marks of the cage, breakers, flags with history, waiting content versions.
set role media_owner;
set search_path = media, pg_temp;

-- `lost_attempts`: claims in a row whose run ended without a word about this content version.
-- `held_for`: the paused scope for which the sensor took the message and asked for no run.
alter table media_asset
    add lost_attempts integer not null default 0,
    add held_for text;

-- As in 0003, and: a claim that was never recorded was lost with its run.
create or replace function claim(run text, root_run text, asset_ids text[])
returns table (asset_id text, content_version text, fence bigint, attempts integer,
               previous_status text, bucket text, object_key text, version_id text, etag text,
               sha256 text, announced_bytes bigint, content_type text, event_id text,
               occurred_at text, priority text, ocr_languages text[], traceparent text, extra jsonb)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
begin
    -- Locks in key order, so that two claims of overlapping batches cannot deadlock.
    perform 1 from media_asset m where m.asset_id = any(asset_ids)
        order by m.asset_id, m.content_version for update;
    return query
    with chosen as (
        select distinct on (m.asset_id) m.asset_id, m.content_version, m.status,
            m.run_id is not distinct from run as same_run
        from media_asset m
        where m.asset_id = any(asset_ids)
        order by m.asset_id,
            case
                when m.run_id = run then 0
                when m.root_run_id = root_run and m.status in ('claimed', 'retry') then 1
                when m.status in ('registered', 'retry') then 2
                when m.status = 'claimed' then 3
                else 4
            end,
            case when m.status in ('registered', 'claimed', 'retry') then m.sequence else -m.sequence end
    ), moved as (
        update media_asset m set
            fence = m.fence + 1,
            attempts = m.attempts + 1,
            lost_attempts = case
                when m.attempts = 0 or m.recorded_fence is not distinct from m.fence then 0
                else m.lost_attempts + 1
            end,
            run_id = run,
            root_run_id = root_run,
            claimed_at = now(),
            held_for = null,
            status = case when m.status in ('registered', 'retry') then 'claimed' else m.status end
        from chosen c
        where (m.asset_id, m.content_version) = (c.asset_id, c.content_version) and not c.same_run
        returning m.asset_id, m.content_version, m.fence, m.attempts
    )
    select m.asset_id, m.content_version, coalesce(v.fence, m.fence), coalesce(v.attempts, m.attempts),
        c.status, m.bucket, m.object_key, m.version_id, m.etag, m.sha256, m.announced_bytes,
        m.content_type, m.event_id, m.occurred_at, m.priority, m.ocr_languages, m.traceparent, m.extra
    from chosen c
    join media_asset m on (m.asset_id, m.content_version) = (c.asset_id, c.content_version)
    left join moved v on (v.asset_id, v.content_version) = (c.asset_id, c.content_version)
    order by array_position(asset_ids, m.asset_id);
end
$$;

-- Files that are in the cage right now, of batches whose earlier runs died. A mark that its run
-- left behind says which file was being looked at when it died.
create table cage_mark (
    asset_id         text not null,
    content_version  text not null,
    kind             text not null,
    fence            bigint not null,
    at               timestamptz not null default now(),
    primary key (asset_id, content_version, kind, fence)
);

create function enter_cage(asset text, version text, of_kind text, under_fence bigint) returns void
language sql security definer set search_path = media, pg_temp as $$
    insert into cage_mark (asset_id, content_version, kind, fence)
    values (asset, version, of_kind, under_fence)
    on conflict do nothing
$$;

create function leave_cage(asset text, version text, of_kind text, under_fence bigint) returns void
language sql security definer set search_path = media, pg_temp as $$
    delete from cage_mark
    where (asset_id, content_version, kind, fence) = (asset, version, of_kind, under_fence)
$$;

-- Of the content versions that this run holds: those that runs before it were lost with.
-- `marks`: kind -> how many of these runs died with that file in the cage.
create function losses(run text, asset_ids text[])
returns table (asset_id text, content_version text, lost_attempts integer, marks jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, m.lost_attempts, coalesce((
        select jsonb_object_agg(kind, count) from (
            select kind, count(*) from cage_mark c
            where (c.asset_id, c.content_version) = (m.asset_id, m.content_version)
                and c.fence < m.fence and c.fence > coalesce(m.recorded_fence, 0)
            group by kind) as left_behind), '{}')
    from media_asset m
    where m.asset_id = any(asset_ids) and m.run_id = run and m.lost_attempts > 0
$$;

-- One row per cause. open: nothing is launched until `retry_at`, then dependencies are probed;
-- half_open: a small batch is on trial; closed by the first outcome that is recorded.
create table breaker (
    code        text primary key,
    state       text not null check (state in ('open', 'half_open', 'closed')),
    message     text not null,
    run_id      text,
    trips       integer not null,
    opened_at   timestamptz not null,
    retry_at    timestamptz not null,
    changed_at  timestamptz not null default now()
);
-- Runs that tripped one: each counts once, however often it is told.
create table breaker_trip (
    run_id  text primary key,
    code    text not null,
    at      timestamptz not null default now()
);

-- 30 seconds after the first trip, twice as long after each that follows within the hour.
create function breaker_pause(trips integer) returns interval
language sql immutable set search_path = media, pg_temp as $$
    select make_interval(secs => least(30 * 2 ^ (trips - 1), 1800))
$$;

-- `told`: [{"run_id", "code", "message"}, ...]; answers how many were news.
create function trip_breakers(told jsonb) returns integer
language plpgsql security definer set search_path = media, pg_temp as $$
declare
    one record;
    news integer := 0;
begin
    for one in select r.* from jsonb_array_elements(told) as item,
            jsonb_to_record(item) as r(run_id text, code text, message text) loop
        insert into breaker_trip (run_id, code) values (one.run_id, one.code) on conflict do nothing;
        continue when not found;
        news := news + 1;
        insert into breaker as b (code, state, message, run_id, trips, opened_at, retry_at)
        values (one.code, 'open', one.message, one.run_id, 1, now(), now() + breaker_pause(1))
        on conflict (code) do update set
            -- Runs that were under way when it opened say nothing new.
            trips = case
                when b.state = 'open' then b.trips
                when b.changed_at < now() - interval '1 hour' then 1
                else b.trips + 1
            end,
            opened_at = case when b.state = 'open' then b.opened_at else now() end,
            retry_at = case
                when b.state = 'open' then b.retry_at
                when b.changed_at < now() - interval '1 hour' then now() + breaker_pause(1)
                else now() + breaker_pause(b.trips + 1)
            end,
            state = 'open', message = excluded.message, run_id = excluded.run_id, changed_at = now();
    end loop;
    delete from breaker_trip where at < now() - interval '30 days';
    return news;
end
$$;

-- What a probe of the dependencies gave: passed means that a batch may be tried.
create function breaker_probed(passed boolean, said text) returns void
language sql security definer set search_path = media, pg_temp as $$
    update breaker set
        state = case when passed then 'half_open' else 'open' end,
        message = case when passed then message else said end,
        retry_at = now() + breaker_pause(trips),
        changed_at = now()
    where state = 'open' and retry_at <= now()
$$;

-- An outcome that was recorded after all: the trial has succeeded.
create function close_breakers() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    update breaker set state = 'closed', changed_at = now()
    where state = 'half_open' and exists (
        select from changed c join previous p using (asset_id, content_version)
        where c.recorded_fence is distinct from p.recorded_fence
            and c.status in ('complete', 'partial', 'dead_lettered'));
    return null;
end
$$;
create trigger close_breakers after update on media_asset
    referencing new table as changed old table as previous
    for each statement execute function close_breakers();

create function set_flag(flag_name text, flag_value jsonb, because text, by_whom text) returns void
language sql security definer set search_path = media, pg_temp as $$
    insert into flag (name, value, reason, who) values (flag_name, flag_value, because, by_whom)
$$;

-- Everything that may keep the intake from launching, in one answer: the newest row of each
-- flag, and the breakers that are not closed.
create function controls()
returns table (flags jsonb, breakers jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select
        coalesce((select jsonb_agg(jsonb_build_object('name', name, 'value', value,
                'reason', reason, 'who', who, 'at', extract(epoch from at))
            order by name)
            from (select distinct on (name) * from flag order by name, id desc) as newest), '[]'),
        coalesce((select jsonb_agg(jsonb_build_object('code', code, 'state', state,
                'message', message, 'run_id', run_id, 'trips', trips,
                'opened_at', extract(epoch from opened_at),
                'retry_in_seconds', extract(epoch from retry_at - now())) order by code)
            from breaker where state <> 'closed'), '[]')
$$;

-- Messages of a paused scope: taken, kept, launched when it is resumed.
create function hold(arrivals jsonb, scope text) returns integer
language sql security definer set search_path = media, pg_temp as $$
    with held as (
        update media_asset m set held_for = scope
        from jsonb_to_recordset(arrivals) as r(asset_id text, content_version text)
        where (m.asset_id, m.content_version) = (r.asset_id, r.content_version)
            and m.status = 'registered'
        returning 1
    )
    select count(*)::integer from held
$$;

-- Content versions that wait, oldest first: those that no run has touched for `grace_seconds`,
-- and those held for a scope that is not paused any more. Ages in seconds.
create function waiting(paused_scopes text[], grace_seconds double precision, max_rows integer)
returns table (asset_id text, content_version text, status text, attempts integer,
               lost_attempts integer, fence bigint, run_id text, root_run_id text, priority text,
               released boolean, waiting_since double precision, claimed_at double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, m.status, m.attempts, m.lost_attempts, m.fence, m.run_id,
        m.root_run_id, m.priority, m.held_for is not null,
        extract(epoch from m.waiting_since), extract(epoch from m.claimed_at)
    from media_asset m
    where m.status in ('registered', 'claimed', 'retry')
        and case when m.held_for is null
            then greatest(m.waiting_since, m.claimed_at) < now() - make_interval(secs => grace_seconds)
            else m.held_for <> all(paused_scopes) end
    order by m.created_at, m.asset_id
    limit max_rows
$$;

do $$
declare
    name text;
begin
    foreach name in array array['cage_mark', 'breaker', 'breaker_trip'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy owner_all on %I to media_owner using (true) with check (true)', name);
        execute format('create policy reader_all on %I for select to media_reader using (true)', name);
        execute format('grant select on %I to media_reader', name);
    end loop;
end
$$;

revoke execute on function enter_cage(text, text, text, bigint),
    leave_cage(text, text, text, bigint), losses(text, text[]), breaker_pause(integer),
    trip_breakers(jsonb), breaker_probed(boolean, text), close_breakers(),
    set_flag(text, jsonb, text, text), controls(), hold(jsonb, text),
    waiting(text[], double precision, integer) from public;
grant execute on function enter_cage(text, text, text, bigint),
    leave_cage(text, text, text, bigint), losses(text, text[]), trip_breakers(jsonb),
    breaker_probed(boolean, text), set_flag(text, jsonb, text, text), controls(),
    hold(jsonb, text), waiting(text[], double precision, integer) to media_writer;
grant execute on function controls() to media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
