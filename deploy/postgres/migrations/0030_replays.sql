-- Replays of missed events: what is missing, what was launched, how each version ended. The rows
-- are the replay's memory: an interrupted one goes on from here, a finished one is proven from here.
set role media_owner;
set search_path = media, pg_temp;

create table replay (
    replay_id   text primary key,
    source      text not null check (source in ('topic', 'snapshot')),
    wanted      jsonb not null,
    who         text not null,
    host        text not null,
    place       jsonb not null,              -- where reading goes on
    counts      jsonb not null default '{}', -- what was read until there, by what it was
    started_at  timestamptz not null default now(),
    read_at     timestamptz,                 -- all was read
    proof       jsonb,
    ended_at    timestamptz                  -- all has ended and was proven
);
-- A portion is one backfill. It is noted before the launch, so that a crash launches it again
-- instead of losing it.
create table replay_portion (
    replay_id    text not null references replay,
    number       integer not null,
    backfill_id  text,
    launched_at  timestamptz,
    primary key (replay_id, number)
);
-- `fence`: of the last outcome before the replay; a later one is the replay's end. `rows`: the
-- derivatives before it.
create table replay_item (
    replay_id        text not null,
    asset_id         text not null,
    content_version  text not null,
    number           integer not null,
    fence            bigint not null,
    rows             jsonb not null,
    primary key (replay_id, asset_id, content_version),
    foreign key (replay_id, number) references replay_portion,
    foreign key (asset_id, content_version) references media_asset
);
create index replay_item_of_portion on replay_item (replay_id, number);
create index replay_item_of_version on replay_item (asset_id, content_version);

do $$
declare
    name text;
begin
    foreach name in array array['replay', 'replay_portion', 'replay_item'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy owner_all on %I to media_owner using (true) with check (true)', name);
        execute format('create policy reader_all on %I for select to media_reader using (true)', name);
        execute format('grant select on %I to media_reader', name);
    end loop;
end
$$;

-- Who is at this version right now; null where nobody is. Unfinished without a sign of life for
-- `idle` is nobody's. A replay that nobody proved is forgotten after a day.
create function busy_with(m media_asset, own_replay text, idle interval) returns text
language sql stable set search_path = media, pg_temp as $$
    select coalesce(
        (select 'replay ' || r.replay_id from replay_item i join replay r using (replay_id)
         where (i.asset_id, i.content_version) = (m.asset_id, m.content_version)
            and i.fence >= coalesce(m.recorded_fence, 0)
            and r.ended_at is null and r.started_at > now() - interval '1 day'
            and r.replay_id is distinct from own_replay
         order by r.started_at desc limit 1),
        case when m.status in ('registered', 'claimed', 'retry')
                and greatest(m.created_at, m.claimed_at) > now() - idle
            then coalesce('run ' || m.run_id, 'the sensor') end)
$$;

-- What the ledger knows of the versions that messages announce, in order. `state`: a status,
-- `missing` (no row), or `superseded`: a version that was announced later is known, or has ended.
-- Registering an older message after a newer one would make the old content the current one.
create function replay_states(arrivals jsonb, own_replay text, idle_seconds integer)
returns table (state text, busy text)
language sql stable security definer set search_path = media, pg_temp as $$
    select case
            when m.asset_id is null and exists (
                select from media_asset n
                where n.asset_id = a.asset_id and n.content_version <> a.content_version
                    and case when (n.topic, n.kafka_partition) = (a.topic, a.kafka_partition)
                        then n.kafka_offset > a.kafka_offset
                        else n.record_timestamp > a.record_timestamp end) then 'superseded'
            when m.asset_id is null then 'missing'
            when m.status in ('complete', 'partial', 'dead_lettered') and exists (
                select from media_asset n where n.asset_id = m.asset_id
                    and n.sequence > m.sequence) then 'superseded'
            else m.status
        end,
        case when m.asset_id is not null
            then busy_with(m, own_replay, make_interval(secs => idle_seconds)) end
    from jsonb_array_elements(arrivals) with ordinality as g(item, place),
        jsonb_to_record(item) as a(asset_id text, content_version text, topic text,
            kafka_partition integer, kafka_offset bigint, record_timestamp bigint)
        left join media_asset m on (m.asset_id, m.content_version) = (a.asset_id, a.content_version)
    order by g.place
$$;

-- One page of media assets in order: {rows: [{asset_id, content_version, status, busy}], after}.
-- Of each media asset the version that a run would claim. `scan` media assets are looked at, so
-- that a rare filter costs no more per call; `after` is null at the end. `wanted`: kinds_missing,
-- outcomes, statuses, assets (arrays), stale ({kind: expected fingerprint}), since, until (of the
-- last outcome, else of the arrival; until excluded). All that are given must hold.
create function replay_candidates(wanted jsonb, after_asset text, scan integer, own_replay text,
                                  idle_seconds integer)
returns jsonb
language sql stable security definer set search_path = media, pg_temp as $$
    with looked_at as materialized (
        select distinct a.asset_id from media_asset a
        where a.asset_id > coalesce(after_asset, '')
            and (wanted -> 'assets' is null or a.asset_id in (
                select jsonb_array_elements_text(wanted -> 'assets')))
        order by a.asset_id limit scan
    ), found as (
        select m.asset_id, m.content_version, m.status,
            busy_with(m, own_replay, make_interval(secs => idle_seconds)) as busy
        from looked_at l cross join lateral (
            select * from media_asset v where v.asset_id = l.asset_id
            order by case when v.status in ('registered', 'retry') then 0
                    when v.status = 'claimed' then 1 else 2 end,
                case when v.status in ('registered', 'claimed', 'retry') then v.sequence
                    else -v.sequence end
            limit 1) as v
            join media_asset m on (m.asset_id, m.content_version) = (v.asset_id, v.content_version)
        where (wanted -> 'statuses' is null or wanted -> 'statuses' ? m.status)
            and (wanted ->> 'since' is null or coalesce(m.finished_at, m.created_at)
                >= (wanted ->> 'since')::timestamptz)
            and (wanted ->> 'until' is null or coalesce(m.finished_at, m.created_at)
                < (wanted ->> 'until')::timestamptz)
            and (wanted -> 'outcomes' is null or exists (
                select from derivative d
                where (d.asset_id, d.content_version) = (m.asset_id, m.content_version)
                    and wanted -> 'outcomes' ? d.outcome))
            and (wanted -> 'kinds_missing' is null or exists (
                select from jsonb_array_elements_text(wanted -> 'kinds_missing') as k(kind)
                where not exists (select from derivative d
                    where (d.asset_id, d.content_version, d.kind)
                        = (m.asset_id, m.content_version, k.kind))))
            and (wanted -> 'stale' is null or exists (
                select from jsonb_each_text(wanted -> 'stale') as e(kind, fingerprint)
                left join derivative d on (d.asset_id, d.content_version, d.kind)
                    = (m.asset_id, m.content_version, e.kind)
                where d.fingerprint is distinct from e.fingerprint))
    )
    select jsonb_build_object(
        'rows', coalesce((select jsonb_agg(to_jsonb(f) order by f.asset_id) from found f), '[]'),
        'after', (select case when count(*) = scan then max(asset_id) end from looked_at))
$$;

create function begin_replay(replay_id text, source text, wanted jsonb, who text, host text,
                             place jsonb) returns void
language sql security definer set search_path = media, pg_temp as $$
    insert into replay (replay_id, source, wanted, who, host, place)
    values ($1, $2, $3, $4, $5, $6) on conflict do nothing
$$;

-- One portion in one transaction: register what is missing, remember what will run, move on.
-- `counts` are totals. Repeating it is harmless. Answers the media assets of the portion.
create function note_replay_portion(of_replay text, portion integer, moved_to jsonb, totals jsonb,
                                    arrivals jsonb, items jsonb, complete boolean)
returns table (asset_id text)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
begin
    perform 1 from replay r where r.replay_id = of_replay for update;
    if not found then
        raise exception 'no replay %', of_replay using errcode = 'MPREP';
    end if;
    if jsonb_array_length(arrivals) > 0 then
        perform register(arrivals);
    end if;
    if jsonb_array_length(items) > 0 then
        insert into replay_portion (replay_id, number) values (of_replay, portion)
            on conflict do nothing;
        insert into replay_item (replay_id, asset_id, content_version, number, fence, rows)
        select of_replay, m.asset_id, m.content_version, portion, coalesce(m.recorded_fence, 0),
            coalesce((
                select jsonb_agg(jsonb_build_object('kind', d.kind, 'fingerprint', d.fingerprint,
                    'outcome', d.outcome, 'input_digest', d.input_digest,
                    'artifacts', d.artifacts) order by d.kind)
                from derivative d
                where (d.asset_id, d.content_version) = (m.asset_id, m.content_version)), '[]')
        from jsonb_to_recordset(items) as g(asset_id text, content_version text)
            join media_asset m on (m.asset_id, m.content_version) = (g.asset_id, g.content_version)
        on conflict do nothing;
    end if;
    update replay r set place = moved_to, counts = totals,
        read_at = case when complete then coalesce(r.read_at, now()) end
    where r.replay_id = of_replay;
    return query select i.asset_id from replay_item i
        where i.replay_id = of_replay and i.number = portion order by i.asset_id;
end
$$;

create function note_replay_launch(of_replay text, portion integer, launched text) returns void
language sql security definer set search_path = media, pg_temp as $$
    update replay_portion set backfill_id = launched, launched_at = now()
    where replay_id = of_replay and number = portion
$$;

create function end_replay(of_replay text, proven jsonb) returns void
language sql security definer set search_path = media, pg_temp as $$
    update replay set proof = proven, ended_at = now() where replay_id = of_replay
$$;

-- The newest replays, or one. `ended` counts versions with an outcome of their own since, or that
-- a later version has replaced.
create function replays(of_replay text, max_rows integer)
returns table (replay_id text, source text, wanted jsonb, who text, host text, place jsonb,
               counts jsonb, started_at text, was_read boolean, proof jsonb, items bigint, ended bigint,
               portions integer, backfills jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select r.replay_id, r.source, r.wanted, r.who, r.host, r.place, r.counts,
        instant(r.started_at), r.read_at is not null, r.proof,
        (select count(*) from replay_item i where i.replay_id = r.replay_id),
        (select count(*) from replay_item i
         join media_asset m on (m.asset_id, m.content_version) = (i.asset_id, i.content_version)
         where i.replay_id = r.replay_id and m.status in ('complete', 'partial', 'dead_lettered')
            and (coalesce(m.recorded_fence, 0) > i.fence or exists (
                select from media_asset n
                where n.asset_id = m.asset_id and n.sequence > m.sequence))),
        (select coalesce(max(p.number) + 1, 0) from replay_portion p
         where p.replay_id = r.replay_id),
        (select coalesce(jsonb_agg(jsonb_build_object('number', p.number, 'backfill_id',
            p.backfill_id) order by p.number), '[]')
         from replay_portion p where p.replay_id = r.replay_id)
    from replay r where of_replay is null or r.replay_id = of_replay
    order by r.started_at desc, r.replay_id limit max_rows
$$;

create function replay_portion_assets(of_replay text, portion integer)
returns table (asset_id text)
language sql stable security definer set search_path = media, pg_temp as $$
    select i.asset_id from replay_item i
    where i.replay_id = of_replay and i.number = portion order by i.asset_id
$$;

-- How the versions of a replay stood before and stand now, page by page.
create function replay_ends(of_replay text, after_asset text, after_version text, max_rows integer)
returns table (asset_id text, content_version text, status text, ended boolean,
               superseded boolean, rows_before jsonb, rows_now jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select i.asset_id, i.content_version, m.status,
        m.status in ('complete', 'partial', 'dead_lettered')
            and coalesce(m.recorded_fence, 0) > i.fence,
        exists (select from media_asset n where n.asset_id = m.asset_id
            and n.sequence > m.sequence),
        i.rows,
        coalesce((
            select jsonb_agg(jsonb_build_object('kind', d.kind, 'fingerprint', d.fingerprint,
                'outcome', d.outcome, 'input_digest', d.input_digest,
                'artifacts', d.artifacts) order by d.kind)
            from derivative d
            where (d.asset_id, d.content_version) = (m.asset_id, m.content_version)), '[]')
    from replay_item i
        join media_asset m on (m.asset_id, m.content_version) = (i.asset_id, i.content_version)
    where i.replay_id = of_replay and (after_asset is null
        or (i.asset_id, i.content_version) > (after_asset, coalesce(after_version, '')))
    order by i.asset_id, i.content_version limit max_rows
$$;

revoke execute on all functions in schema media from public;
grant execute on function replay_states(jsonb, text, integer),
    replay_candidates(jsonb, text, integer, text, integer), replays(text, integer),
    replay_portion_assets(text, integer), replay_ends(text, text, text, integer)
    to media_writer, media_reader;
grant execute on function begin_replay(text, text, jsonb, text, text, jsonb),
    note_replay_portion(text, integer, jsonb, jsonb, jsonb, jsonb, boolean),
    note_replay_launch(text, integer, text), end_replay(text, jsonb) to media_writer;

reset search_path;
reset role;
notify pgrst, 'reload schema';
