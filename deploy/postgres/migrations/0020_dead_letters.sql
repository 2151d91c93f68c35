-- Dead letters: state with history, replays that run again and are counted, one operator at a time.
set role media_owner;
set search_path = media, pg_temp;

-- In the order of the original records: a replay keeps the order of versions.
create index dead_letter_by_record
    on dead_letter (topic, kafka_partition, kafka_offset, dlq_id);

-- What people did, with which filter; the letters stand in dead_letter_history.
create table dead_letter_action (
    action_id  text primary key,
    action     text not null check (action in ('validate', 'replay', 'discard')),
    who        text not null,
    host       text not null,
    wanted     jsonb not null,
    reason     text not null,
    at         timestamptz not null default now()
);

-- Everything that became of a letter. `what`: buried, buried again, enriched, or an action.
create table dead_letter_history (
    id            bigint generated always as identity primary key,
    dlq_id        text not null references dead_letter,
    what          text not null,
    state         text not null,
    replay_count  integer not null,
    run_id        text,
    action_id     text references dead_letter_action,
    at            timestamptz not null default now()
);
create index dead_letter_history_of_letter on dead_letter_history (dlq_id, id);
create index dead_letter_history_of_action on dead_letter_history (action_id);

insert into dead_letter_history (dlq_id, what, state, replay_count, run_id, at)
select dlq_id, 'buried', state, replay_count, run_id, first_failed_at from dead_letter;

-- A right that one holder has until it expires; `token` tells two processes of a person apart.
create table lease (
    name        text primary key,
    token       text not null,
    holder      text not null,
    host        text not null,
    since       timestamptz not null,
    expires_at  timestamptz not null
);

do $$
declare
    name text;
begin
    foreach name in array array['dead_letter_action', 'dead_letter_history', 'lease'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy owner_all on %I to media_owner using (true) with check (true)', name);
        execute format('create policy reader_all on %I for select to media_reader using (true)', name);
        execute format('grant select on %I to media_reader', name);
    end loop;
end
$$;

-- No state changes without a history row. Actions of people write their own (act_on_letters).
create function note_dead_letter() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into dead_letter_history (dlq_id, what, state, replay_count, run_id)
        values (new.dlq_id, 'buried', new.state, new.replay_count, new.run_id);
    elsif new.last_failed_at is distinct from old.last_failed_at then
        insert into dead_letter_history (dlq_id, what, state, replay_count, run_id)
        values (new.dlq_id, 'buried again', new.state, new.replay_count, new.run_id);
    elsif new.state is distinct from old.state and new.state = 'replayed'
            and coalesce(current_setting('media.dead_letter_action', true), '') = '' then
        insert into dead_letter_history (dlq_id, what, state, replay_count)
        values (new.dlq_id, 'enriched', new.state, new.replay_count);
    end if;
    return null;
end
$$;
create trigger note_dead_letter after insert or update on dead_letter
    for each row execute function note_dead_letter();

-- A replayed letter whose media asset has ended well: its history says so. Only what has failed
-- before is looked at, so the usual batch pays nothing.
create function note_enriched() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    insert into dead_letter_history (dlq_id, what, state, replay_count, run_id)
    select l.dlq_id, 'enriched', l.state, l.replay_count, new.run_id
    from dead_letter l
    where (l.asset_id, l.content_version) = (new.asset_id, new.content_version)
        and l.state = 'replayed';
    return null;
end
$$;
create trigger note_enriched after update on media_asset for each row
    when (new.first_failed_at is not null and new.status in ('complete', 'partial')
        and old.status not in ('complete', 'partial'))
    execute function note_enriched();

-- Value of a header in the form [[name, base64], ...]; bytes that are no ASCII come escaped.
create function header_text(headers jsonb, wanted text) returns text
language sql immutable set search_path = media, pg_temp as $$
    select encode(decode(h ->> 1, 'base64'), 'escape')
    from jsonb_array_elements(headers) as h where h ->> 0 = wanted limit 1
$$;

-- How often the record has been replayed: strangers may write anything into a header.
create function replay_count_of(headers jsonb) returns integer
language sql immutable set search_path = media, pg_temp as $$
    select case when text ~ '^[0-9]{1,6}$' then text::integer else 0 end
    from (select coalesce(header_text(headers, 'replay.count'), '') as text) as h
$$;

create function instant(moment timestamptz) returns text
language sql stable set search_path = media, pg_temp as $$
    select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- A replayed message of a dead-lettered version runs again, once per replay id, with fresh
-- attempts. The row takes over the record, so that a tick repeated after a crash knows it.
create function reopen(arrivals jsonb) returns void
language plpgsql set search_path = media, pg_temp as $$
begin
    update media_asset m set
        status = 'registered', attempts = 0,
        bucket = r.bucket, object_key = r.object_key, version_id = r.version_id, etag = r.etag,
        sha256 = r.sha256, announced_bytes = r.announced_bytes, content_type = r.content_type,
        event_id = r.event_id, occurred_at = r.occurred_at, priority = r.priority,
        ocr_languages = coalesce(r.ocr_languages, '{}'), traceparent = r.traceparent,
        extra = coalesce(r.extra, '{}'), topic = r.topic, kafka_partition = r.kafka_partition,
        kafka_offset = r.kafka_offset, record_timestamp = r.record_timestamp,
        record_key = decode(r.record_key, 'base64'),
        record_value = decode(r.record_value, 'base64'), record_headers = r.record_headers
    from (
        select distinct on (g.asset_id, g.content_version) g.*
        from jsonb_array_elements(arrivals) with ordinality as one(item, position),
            jsonb_to_record(item) as g(
                asset_id text, content_version text, bucket text, object_key text, version_id text,
                etag text, sha256 text, announced_bytes bigint, content_type text, event_id text,
                occurred_at text, priority text, ocr_languages text[], traceparent text, extra jsonb,
                topic text, kafka_partition integer, kafka_offset bigint, record_timestamp bigint,
                record_key text, record_value text, record_headers jsonb)
        where header_text(coalesce(g.record_headers, '[]'), 'replay.id') is not null
        order by g.asset_id, g.content_version, position
    ) as r
    where (m.asset_id, m.content_version) = (r.asset_id, r.content_version)
        and m.status = 'dead_lettered'
        and header_text(m.record_headers, 'replay.id')
            is distinct from header_text(r.record_headers, 'replay.id');
end
$$;

-- As before, after replayed versions were opened again.
create or replace function register(arrivals jsonb)
returns table (asset_id text, content_version text, first_seen boolean, asset_known boolean,
               same_message boolean, status text)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
begin
    perform reopen(arrivals);
    return query
    with given as (
        select position, item from jsonb_array_elements(arrivals) with ordinality as g(item, position)
    ), row_of as (
        select position, r.* from given,
            jsonb_to_record(item) as r(
                asset_id text, content_version text, bucket text, object_key text, version_id text,
                etag text, sha256 text, announced_bytes bigint, content_type text, event_id text,
                occurred_at text, priority text, ocr_languages text[], traceparent text, extra jsonb,
                topic text, kafka_partition integer, kafka_offset bigint, record_timestamp bigint,
                record_key text, record_value text, record_headers jsonb)
    ), known as (
        -- Before the insert: this statement sees the table as it was.
        select distinct r.asset_id, r.content_version from row_of r join media_asset m
            on m.asset_id = r.asset_id and m.content_version <> r.content_version
    ), inserted as (
        insert into media_asset (
            asset_id, content_version, bucket, object_key, version_id, etag, sha256, announced_bytes,
            content_type, event_id, occurred_at, priority, ocr_languages, traceparent, extra, topic,
            kafka_partition, kafka_offset, record_timestamp, record_key, record_value, record_headers)
        select distinct on (r.asset_id, r.content_version)
            r.asset_id, r.content_version, bucket, object_key, version_id, etag, sha256,
            announced_bytes, content_type, event_id, occurred_at, priority,
            coalesce(ocr_languages, '{}'), traceparent, coalesce(extra, '{}'), topic,
            kafka_partition, kafka_offset, record_timestamp, decode(record_key, 'base64'),
            decode(record_value, 'base64'), coalesce(record_headers, '[]')
        from row_of r
        order by r.asset_id, r.content_version, r.position
        on conflict (asset_id, content_version) do nothing
        returning asset_id, content_version, topic, kafka_partition, kafka_offset
    )
    select r.asset_id, r.content_version,
        i.asset_id is not null
            and (i.topic, i.kafka_partition, i.kafka_offset)
                = (r.topic, r.kafka_partition, r.kafka_offset),
        k.asset_id is not null,
        -- False, never null: a row that another call inserts right now is not this message's.
        coalesce((coalesce(i.topic, m.topic), coalesce(i.kafka_partition, m.kafka_partition),
            coalesce(i.kafka_offset, m.kafka_offset))
            = (r.topic, r.kafka_partition, r.kafka_offset), false),
        coalesce(m.status, 'registered')
    from row_of r
    left join inserted i on (i.asset_id, i.content_version) = (r.asset_id, r.content_version)
    left join media_asset m on (m.asset_id, m.content_version) = (r.asset_id, r.content_version)
    left join known k on (k.asset_id, k.content_version) = (r.asset_id, r.content_version)
    order by r.position;
end
$$;

-- As before; the replay count comes from the record's own header.
create or replace function reject(messages jsonb, pipeline_version text, image_digest text)
returns integer
language plpgsql security definer set search_path = media, pg_temp as $$
declare
    added integer;
begin
    with given as (
        select r.* from jsonb_array_elements(messages) as item,
            jsonb_to_record(item) as r(
                dlq_id text, stage text, code text, message text, topic text, kafka_partition integer,
                kafka_offset bigint, record_timestamp bigint, record_key text, record_value text,
                record_headers jsonb)
    ), inserted as (
        insert into dead_letter (dlq_id, stage, code, error_class, message, attempts, topic,
            kafka_partition, kafka_offset, record_timestamp, record_key, record_value,
            record_headers, replay_count)
        select distinct on (dlq_id) dlq_id, stage, code, 'permanent', message, 1, topic,
            kafka_partition, kafka_offset, record_timestamp, decode(record_key, 'base64'),
            decode(record_value, 'base64'), coalesce(record_headers, '[]'),
            replay_count_of(coalesce(record_headers, '[]'))
        from given order by dlq_id
        on conflict (dlq_id) do nothing
        returning dead_letter as letter
    ), sent as (
        insert into outbox (event_id, topic, key, payload, headers)
        select (i.letter).dlq_id, 'media.processing.dlq', (i.letter).record_key,
            (i.letter).record_value,
            dead_letter_headers(i.letter, reject.pipeline_version, reject.image_digest, null)
        from inserted i
        order by (i.letter).topic, (i.letter).kafka_partition, (i.letter).kafka_offset
        on conflict (event_id) do nothing
        returning 1
    )
    select count(*) into added from inserted;
    return added;
end
$$;

-- As before, and: a replay that fails again is told again, once per replay; the letter keeps its
-- first record (the original), its count is the record's.
create or replace function bury(run text, pipeline_version text, image_digest text) returns void
language plpgsql set search_path = media, pg_temp as $$
begin
    with buried as (
        insert into dead_letter (dlq_id, asset_id, content_version, stage, code, error_class, message,
            attempts, topic, kafka_partition, kafka_offset, record_timestamp, record_key, record_value,
            record_headers, run_id, replay_count, first_failed_at)
        select i.dead_letter ->> 'dlq_id', m.asset_id, m.content_version, i.dead_letter ->> 'stage',
            i.dead_letter ->> 'code', i.dead_letter ->> 'error_class', i.dead_letter ->> 'message',
            m.attempts, m.topic, m.kafka_partition, m.kafka_offset, m.record_timestamp, m.record_key,
            m.record_value, m.record_headers, run, replay_count_of(m.record_headers),
            coalesce(m.first_failed_at, now())
        from incoming i join media_asset m
            on (m.asset_id, m.content_version) = (i.asset_id, i.content_version)
        where i.verdict = 'ok' and i.status = 'dead_lettered' and i.dead_letter is not null
        order by 1
        on conflict (dlq_id) do update set
            attempts = excluded.attempts, message = excluded.message, run_id = excluded.run_id,
            replay_count = greatest(dead_letter.replay_count, excluded.replay_count),
            last_failed_at = now(),
            state = case when dead_letter.state = 'discarded' then 'discarded' else 'open' end
        returning dead_letter as letter
    )
    insert into outbox (event_id, topic, key, payload, headers)
    select (l.letter).dlq_id || case when (l.letter).replay_count > 0
            then '#' || (l.letter).replay_count else '' end,
        'media.processing.dlq', (l.letter).record_key, (l.letter).record_value,
        dead_letter_headers(l.letter, bury.pipeline_version, bury.image_digest, m.traceparent)
    from buried l join media_asset m
        on (m.asset_id, m.content_version) = ((l.letter).asset_id, (l.letter).content_version)
    order by (l.letter).topic, (l.letter).kafka_partition, (l.letter).kafka_offset
    on conflict (event_id) do nothing;
end
$$;

-- Letters without their records, in the order of the original records, after the given one.
-- `wanted`: states, codes, stages, assets (arrays), since, until (instants of the last failure,
-- until excluded), replay_id (of the record that failed); `ids` alone when it is given.
create function dead_letters(wanted jsonb, ids text[], after_letter text, max_rows integer)
returns table (dlq_id text, asset_id text, content_version text, stage text, code text,
               error_class text, message text, attempts integer, topic text,
               kafka_partition integer, kafka_offset bigint, record_timestamp bigint,
               record_bytes integer, run_id text, state text, replay_count integer,
               first_failed_at text, last_failed_at text, superseded boolean)
language sql stable security definer set search_path = media, pg_temp as $$
    select l.dlq_id, l.asset_id, l.content_version, l.stage, l.code, l.error_class, l.message,
        l.attempts, l.topic, l.kafka_partition, l.kafka_offset, l.record_timestamp,
        coalesce(length(l.record_value), 0), l.run_id, l.state, l.replay_count,
        instant(l.first_failed_at), instant(l.last_failed_at),
        exists (
            select from media_asset m join media_asset n
                on n.asset_id = m.asset_id and n.sequence > m.sequence
            where (m.asset_id, m.content_version) = (l.asset_id, l.content_version)
                and n.status in ('complete', 'partial'))
    from (
        -- Two branches, of which one is never executed: each has its index.
        select * from dead_letter where ids is not null and dlq_id = any(ids)
        union all
        select * from dead_letter where ids is null
    ) as l
    where (wanted -> 'states' is null or wanted -> 'states' ? l.state)
        and (wanted -> 'codes' is null or wanted -> 'codes' ? l.code)
        and (wanted -> 'stages' is null or wanted -> 'stages' ? l.stage)
        and (wanted -> 'assets' is null or wanted -> 'assets' ? l.asset_id)
        and (wanted ->> 'since' is null or l.last_failed_at >= (wanted ->> 'since')::timestamptz)
        and (wanted ->> 'until' is null or l.last_failed_at < (wanted ->> 'until')::timestamptz)
        and (wanted ->> 'replay_id' is null
            or header_text(l.record_headers, 'replay.id') = wanted ->> 'replay_id')
        and (after_letter is null
            or (l.topic, l.kafka_partition, l.kafka_offset, l.dlq_id) > (
                select a.topic, a.kafka_partition, a.kafka_offset, a.dlq_id
                from dead_letter a where a.dlq_id = after_letter))
    order by l.topic, l.kafka_partition, l.kafka_offset, l.dlq_id
    limit max_rows
$$;

create function dead_letter_records(ids text[])
returns table (dlq_id text, topic text, kafka_partition integer, kafka_offset bigint,
               record_timestamp bigint, record_key text, record_value text, record_headers jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select dlq_id, topic, kafka_partition, kafka_offset, record_timestamp,
        encode(record_key, 'base64'), encode(record_value, 'base64'), record_headers
    from dead_letter where dlq_id = any(ids)
$$;

create function dead_letter_history_of(letter text)
returns table (at text, what text, state text, replay_count integer, run_id text,
               action_id text, who text, host text, reason text, wanted jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select instant(h.at), h.what, h.state, h.replay_count, h.run_id, h.action_id, a.who, a.host,
        a.reason, a.wanted
    from dead_letter_history h left join dead_letter_action a using (action_id)
    where h.dlq_id = letter order by h.id
$$;

-- One action of one person on these letters; answers the ids whose state it changed. `letters`:
-- [{dlq_id, replay_count}] as the person saw them: a letter that was buried again by then, or
-- that has ended, keeps its state. Repeating it is harmless; with no letters it notes the start.
create function act_on_letters(action_id text, action text, who text, host text, wanted jsonb,
                               reason text, letters jsonb)
returns table (letter text)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_variable
begin
    insert into dead_letter_action (action_id, action, who, host, wanted, reason)
    values (action_id, action, who, host, wanted, reason)
    on conflict do nothing;
    perform set_config('media.dead_letter_action', action_id, true);
    perform 1 from dead_letter l, jsonb_to_recordset(letters) as g(dlq_id text)
        where l.dlq_id = g.dlq_id order by l.dlq_id for update of l;
    return query
    with given as (
        select distinct on (g.dlq_id) g.* from jsonb_to_recordset(letters)
            as g(dlq_id text, replay_count integer)
        -- Already noted: this call is a repetition.
        where not exists (select from dead_letter_history h
            where h.action_id = act_on_letters.action_id and h.dlq_id = g.dlq_id)
    ), moved as (
        update dead_letter l set
            state = case action when 'validate' then 'validated' when 'replay' then 'replayed'
                else 'discarded' end,
            replay_count = l.replay_count + case action when 'replay' then 1 else 0 end
        from given g
        where l.dlq_id = g.dlq_id and l.replay_count = g.replay_count
            and case action when 'validate' then l.state = 'open'
                when 'replay' then l.state in ('open', 'validated', 'replayed', 'discarded')
                else l.state in ('open', 'validated') end
        returning l.dlq_id, l.state, l.replay_count
    ), noted as (
        insert into dead_letter_history (dlq_id, what, state, replay_count, action_id)
        select l.dlq_id, action, coalesce(m.state, l.state),
            coalesce(m.replay_count, l.replay_count), act_on_letters.action_id
        from given g join dead_letter l on l.dlq_id = g.dlq_id
            left join moved m on m.dlq_id = g.dlq_id
        where m.dlq_id is not null or action = 'replay'
    )
    select m.dlq_id from moved m order by 1;
    perform set_config('media.dead_letter_action', '', true);
end
$$;

-- Status, fence of the last outcome and derivatives of exactly these content versions: [{asset_id, content_version}].
create function version_states(versions jsonb)
returns table (asset_id text, content_version text, status text, fence bigint, derivatives jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, m.status, coalesce(m.recorded_fence, 0), coalesce((
        select jsonb_agg(jsonb_build_object(
            'asset_id', d.asset_id, 'content_version', d.content_version, 'fence', d.fence,
            'kind', d.kind, 'fingerprint', d.fingerprint, 'outcome', d.outcome,
            'message', d.message, 'input_digest', d.input_digest, 'input_bytes', d.input_bytes,
            'artifacts', d.artifacts, 'attributes', d.attributes, 'seconds', d.seconds)
            order by d.kind)
        from derivative d
        where (d.asset_id, d.content_version) = (m.asset_id, m.content_version)), '[]')
    from jsonb_to_recordset(versions) as v(asset_id text, content_version text)
        join media_asset m using (asset_id, content_version)
    order by m.asset_id, m.content_version
$$;

-- Takes or renews a lease; answers who holds it afterwards. An expired one is anybody's.
create function take_lease(lease_name text, lease_token text, lease_holder text, lease_host text,
                           seconds integer)
returns table (granted boolean, holder text, host text, since text, expires_at text)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
begin
    insert into lease (name, token, holder, host, since, expires_at)
    values (lease_name, lease_token, lease_holder, lease_host, now(),
            now() + make_interval(secs => seconds))
    on conflict (name) do update set
        token = excluded.token, holder = excluded.holder, host = excluded.host,
        since = case when lease.token = excluded.token then lease.since else now() end,
        expires_at = excluded.expires_at
    where lease.token = excluded.token or lease.expires_at <= now();
    return query select l.token = lease_token, l.holder, l.host, instant(l.since),
        instant(l.expires_at) from lease l where l.name = lease_name;
end
$$;

create function release_lease(lease_name text, lease_token text) returns boolean
language sql security definer set search_path = media, pg_temp as $$
    with gone as (
        delete from lease where name = lease_name and token = lease_token returning 1
    )
    select exists (select from gone)
$$;

-- The pause that is in force or was last, for whoever must say that messages will wait.
create function newest_pause() returns table (value jsonb, reason text, who text, at text)
language sql stable security definer set search_path = media, pg_temp as $$
    select f.value, f.reason, f.who, instant(f.at) from flag f
    where f.name = 'pause' order by f.id desc limit 1
$$;

revoke execute on all functions in schema media from public;
grant execute on function dead_letters(jsonb, text[], text, integer),
    dead_letter_records(text[]), dead_letter_history_of(text), version_states(jsonb),
    newest_pause() to media_writer, media_reader;
grant execute on function act_on_letters(text, text, text, text, jsonb, text, jsonb),
    take_lease(text, text, text, text, integer), release_lease(text, text) to media_writer;

reset search_path;
reset role;
notify pgrst, 'reload schema';
