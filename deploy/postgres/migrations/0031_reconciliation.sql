-- What a reconciliation asks of the ledger: reads alone, page by page.
set role media_owner;
set search_path = media, pg_temp;

-- Pages of what ended lately, in order; and whether an object's input is known.
create index media_asset_by_finish on media_asset (finished_at, asset_id, content_version);
create index derivative_by_input on derivative (input_digest, kind);

create function instant_exactly(moment timestamptz) returns text
language sql stable set search_path = media, pg_temp as $$
    select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- As before, and: what is held for a pause is nobody's to repair. By name, because the column is
-- added by a later migration; only of the unfinished, because rows carry whole messages.
create or replace function busy_with(m media_asset, own_replay text, idle interval) returns text
language sql stable set search_path = media, pg_temp as $$
    select coalesce(
        (select 'replay ' || r.replay_id from replay_item i join replay r using (replay_id)
         where (i.asset_id, i.content_version) = (m.asset_id, m.content_version)
            and i.fence >= coalesce(m.recorded_fence, 0)
            and r.ended_at is null and r.started_at > now() - interval '1 day'
            and r.replay_id is distinct from own_replay
         order by r.started_at desc limit 1),
        case when m.status in ('registered', 'claimed', 'retry') then coalesce(
            'the pause of ' || (to_jsonb(m) ->> 'held_for'),
            case when greatest(m.created_at, m.claimed_at) > now() - idle
                then coalesce('run ' || m.run_id, 'the sensor') end) end)
$$;

-- How the ledger accounts for messages, in order: `row` (its version is known: by this record or
-- by another that announced the same content), `letter`, `superseded` (a version that was
-- announced later is known), or null: nobody has ever taken it. An invalid message has no version.
create function accounted(messages jsonb)
returns table (how text)
language sql stable security definer set search_path = media, pg_temp as $$
    select case
            when exists (select from media_asset m
                where (m.asset_id, m.content_version) = (a.asset_id, a.content_version)) then 'row'
            when exists (select from dead_letter l
                where (l.topic, l.kafka_partition, l.kafka_offset)
                    = (a.topic, a.kafka_partition, a.kafka_offset)) then 'letter'
            when exists (select from media_asset n
                where n.asset_id = a.asset_id
                    and case when (n.topic, n.kafka_partition) = (a.topic, a.kafka_partition)
                        then n.kafka_offset > a.kafka_offset
                        else n.record_timestamp > a.record_timestamp end) then 'superseded'
        end
    from jsonb_array_elements(messages) with ordinality as g(item, place),
        jsonb_to_record(item) as a(asset_id text, content_version text, topic text,
            kafka_partition integer, kafka_offset bigint, record_timestamp bigint)
    order by g.place
$$;

-- Versions that were enriched in the interval (until excluded), in the order of their end, after
-- the given one, with every object that their rows name. `newest`: a backfill would run this one.
create function enriched_versions(since timestamptz, until timestamptz, after_finished timestamptz,
                                  after_asset text, after_version text, max_rows integer)
returns table (asset_id text, content_version text, finished_at text, newest boolean,
               objects jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, instant_exactly(m.finished_at),
        not exists (select from media_asset n
            where n.asset_id = m.asset_id and n.sequence > m.sequence),
        coalesce((
            select jsonb_agg(part ->> 'object_key' order by part ->> 'object_key')
            from derivative d, jsonb_array_elements(d.artifacts) as part
            where (d.asset_id, d.content_version) = (m.asset_id, m.content_version)), '[]')
    from media_asset m
    where m.finished_at >= since and m.finished_at < until
        and m.status in ('complete', 'partial')
        and (after_finished is null or (m.finished_at, m.asset_id, m.content_version)
            > (after_finished, coalesce(after_asset, ''), coalesce(after_version, '')))
    order by m.finished_at, m.asset_id, m.content_version limit max_rows
$$;

-- Versions that arrived in the interval, are unfinished, and nobody is at.
create function stalled_versions(since timestamptz, until timestamptz, idle_seconds integer,
                                 after_asset text, after_version text, max_rows integer)
returns table (asset_id text, content_version text, status text, idle double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, m.status,
        extract(epoch from now() - greatest(m.created_at, m.claimed_at))::double precision
    from media_asset m
    where m.status in ('registered', 'claimed', 'retry')
        and m.created_at >= since and m.created_at < until
        and busy_with(m, null, make_interval(secs => idle_seconds)) is null
        and (after_asset is null or (m.asset_id, m.content_version)
            > (after_asset, coalesce(after_version, '')))
    order by m.asset_id, m.content_version limit max_rows
$$;

-- Of [{kind, digest}] those that some derivative was made of.
create function known_inputs(inputs jsonb)
returns table (kind text, digest text)
language sql stable security definer set search_path = media, pg_temp as $$
    select g.kind, g.digest from jsonb_to_recordset(inputs) as g(kind text, digest text)
    where exists (select from derivative d
        where (d.input_digest, d.kind) = (g.digest, g.kind))
$$;

create function overdue_events(older_seconds integer, max_rows integer)
returns table (event_id text, topic text, age double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select o.event_id, o.topic, extract(epoch from now() - o.created_at)::double precision
    from outbox o
    where o.published_at is null and o.created_at < now() - make_interval(secs => older_seconds)
    order by o.sequence limit max_rows
$$;

-- Media assets by whether any version of them is enriched, and when the last one ended (seconds
-- since the epoch; null: none has). Unknown ones are left out.
create function ends_of(asset_ids text[])
returns table (asset_id text, enriched boolean, finished double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, bool_or(m.status in ('complete', 'partial')),
        extract(epoch from max(m.finished_at))::double precision
    from media_asset m where m.asset_id = any(asset_ids) group by m.asset_id
$$;

revoke execute on all functions in schema media from public;
grant execute on function accounted(jsonb),
    enriched_versions(timestamptz, timestamptz, timestamptz, text, text, integer),
    stalled_versions(timestamptz, timestamptz, integer, text, text, integer),
    known_inputs(jsonb), overdue_events(integer, integer), ends_of(text[])
    to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
