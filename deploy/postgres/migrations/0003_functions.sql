-- The only way to write: bulk, idempotent functions. JSON in, rows out; bytes travel as base64.
set role media_owner;
set search_path = media, pg_temp;

-- New content versions get a row; one answer per arrival, in order (`position`).
create function register(arrivals jsonb)
returns table (asset_id text, content_version text, first_seen boolean, asset_known boolean,
               same_message boolean, status text)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
begin
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

-- Header list of a dead letter, in the form the outbox keeps: [[name, base64 value], ...].
create function dead_letter_headers(letter dead_letter, pipeline_version text, image_digest text,
                                    traceparent text)
returns jsonb language sql stable set search_path = media, pg_temp as $$
    select jsonb_agg(jsonb_build_array(name, translate(encode(convert_to(value, 'UTF8'), 'base64'), E'\n', ''))
                     order by position)
           || coalesce((
               select jsonb_agg(jsonb_build_array('orig.header.' || (h ->> 0), h ->> 1))
               from jsonb_array_elements(letter.record_headers) as h), '[]')
    from (values
        (1, 'dlq.schema', '1'),
        (2, 'dlq.id', letter.dlq_id),
        (3, 'asset_id', letter.asset_id),
        (4, 'content_version', letter.content_version),
        (5, 'pipeline_version', pipeline_version),
        (6, 'orig.topic', letter.topic),
        (7, 'orig.partition', letter.kafka_partition::text),
        (8, 'orig.offset', letter.kafka_offset::text),
        (9, 'orig.timestamp', letter.record_timestamp::text),
        (10, 'error.class', letter.error_class),
        (11, 'error.code', letter.code),
        (12, 'error.stage', letter.stage),
        (13, 'error.message', letter.message),
        (14, 'attempts', letter.attempts::text),
        (15, 'first_failed_at', to_char(letter.first_failed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
        (16, 'last_failed_at', to_char(letter.last_failed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
        (17, 'run_id', letter.run_id),
        (18, 'image.digest', image_digest),
        (19, 'replay.count', letter.replay_count::text),
        (20, 'traceparent', traceparent)
    ) as h(position, name, value)
    where value is not null
$$;

-- Invalid messages: a dead letter each, once, with the bytes as they came.
create function reject(messages jsonb, pipeline_version text, image_digest text)
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
            kafka_partition, kafka_offset, record_timestamp, record_key, record_value, record_headers)
        select distinct on (dlq_id) dlq_id, stage, code, 'permanent', message, 1, topic,
            kafka_partition, kafka_offset, record_timestamp, decode(record_key, 'base64'),
            decode(record_value, 'base64'), coalesce(record_headers, '[]')
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

-- One content version per media asset, chosen in this order:
--   1. what this run, or an earlier try of it, has claimed and not finished
--      (the same run asking again: also what it has finished; same fence, no new attempt)
--   2. the oldest that waits (registered or retry)
--   3. what another run has claimed: taken over, the other run is fenced out
--   4. the newest that is finished: a backfill; its status stays until a record arrives
create function claim(run text, root_run text, asset_ids text[])
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
            run_id = run,
            root_run_id = root_run,
            claimed_at = now(),
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

-- Outcomes, derivatives, events, dead letters and counters: together or not at all.
create function record(run text, results jsonb, pipeline_version text, image_digest text)
returns table (asset_id text, content_version text, accepted boolean, reason text)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
begin
    create temporary table if not exists incoming (
        position bigint, asset_id text, content_version text, fence bigint, status text,
        stage text, code text, message text, content_digest text, size_bytes bigint,
        derivatives jsonb, event jsonb, dead_letter jsonb, verdict text
    ) on commit delete rows;
    truncate incoming;
    insert into incoming
    select position, r.*, null from jsonb_array_elements(results) with ordinality as g(item, position),
        jsonb_to_record(item) as r(
            asset_id text, content_version text, fence bigint, status text, stage text, code text,
            message text, content_digest text, size_bytes bigint, derivatives jsonb, event jsonb,
            dead_letter jsonb);

    perform 1 from media_asset m join incoming i
        on (m.asset_id, m.content_version) = (i.asset_id, i.content_version)
        order by m.asset_id, m.content_version for update of m;
    -- `again`: recorded before with this very fence; the reply was lost. Accepted, nothing changes.
    update incoming i set verdict = case
            when m.asset_id is null then 'unknown'
            when exists (select from incoming e where e.position < i.position and
                (e.asset_id, e.content_version) = (i.asset_id, i.content_version)) then 'repeated'
            when m.fence <> i.fence or m.run_id is distinct from run then 'stale_fence'
            -- A `retry` is no end: the same run may try again under its fence.
            when m.recorded_fence = i.fence and m.status <> 'retry' then 'again'
            else 'ok'
        end
    from incoming j left join media_asset m
        on (m.asset_id, m.content_version) = (j.asset_id, j.content_version)
    where i.position = j.position;

    update media_asset m set
        status = i.status, stage = i.stage, code = i.code, message = i.message,
        content_digest = coalesce(i.content_digest, m.content_digest),
        size_bytes = coalesce(nullif(i.size_bytes, 0), m.size_bytes),
        recorded_fence = i.fence,
        first_failed_at = case when i.status in ('retry', 'dead_lettered')
            then coalesce(m.first_failed_at, now()) else m.first_failed_at end,
        finished_at = case when i.status = 'retry' then m.finished_at else now() end
    from incoming i
    where i.verdict = 'ok' and (m.asset_id, m.content_version) = (i.asset_id, i.content_version);

    insert into derivative (asset_id, content_version, kind, fingerprint, outcome, message,
        input_digest, input_bytes, artifacts, attributes, seconds, fence, run_id)
    select i.asset_id, i.content_version, d.kind, d.fingerprint, d.outcome, d.message,
        d.input_digest, d.input_bytes, d.artifacts, d.attributes, d.seconds, i.fence, run
    from incoming i, jsonb_array_elements(i.derivatives) as item,
        jsonb_to_record(item) as d(kind text, fingerprint text, outcome text, message text,
            input_digest text, input_bytes bigint, artifacts jsonb, attributes jsonb,
            seconds double precision)
    where i.verdict = 'ok'
    on conflict (asset_id, content_version, kind) do update set
        fingerprint = excluded.fingerprint, outcome = excluded.outcome, message = excluded.message,
        input_digest = excluded.input_digest, input_bytes = excluded.input_bytes,
        artifacts = excluded.artifacts, attributes = excluded.attributes,
        seconds = excluded.seconds, fence = excluded.fence, run_id = excluded.run_id,
        updated_at = now();

    insert into outbox (event_id, topic, key, payload, headers)
    select event ->> 'event_id', event ->> 'topic', decode(event ->> 'key', 'base64'),
        decode(event ->> 'payload', 'base64'), event -> 'headers'
    from incoming where verdict = 'ok' and status in ('complete', 'partial') and event is not null
    order by position
    on conflict (event_id) do nothing;

    update dead_letter l set state = 'replayed'
    from incoming i
    where i.verdict = 'ok' and i.status in ('complete', 'partial') and l.state in ('open', 'validated')
        and (l.asset_id, l.content_version) = (i.asset_id, i.content_version);

    perform bury(run, record.pipeline_version, record.image_digest);
    perform count_outcomes();
    return query select i.asset_id, i.content_version, i.verdict in ('ok', 'again'),
        case i.verdict when 'again' then 'ok' else i.verdict end
        from incoming i order by i.position;
end
$$;

-- Dead letters of `incoming`; a failure met again updates its letter and sends nothing.
create function bury(run text, pipeline_version text, image_digest text) returns void
language plpgsql set search_path = media, pg_temp as $$
begin
    with inserted as (
        insert into dead_letter (dlq_id, asset_id, content_version, stage, code, error_class, message,
            attempts, topic, kafka_partition, kafka_offset, record_timestamp, record_key, record_value,
            record_headers, run_id, first_failed_at)
        select i.dead_letter ->> 'dlq_id', m.asset_id, m.content_version, i.dead_letter ->> 'stage',
            i.dead_letter ->> 'code', i.dead_letter ->> 'error_class', i.dead_letter ->> 'message',
            m.attempts, m.topic, m.kafka_partition, m.kafka_offset, m.record_timestamp, m.record_key,
            m.record_value, m.record_headers, run, coalesce(m.first_failed_at, now())
        from incoming i join media_asset m
            on (m.asset_id, m.content_version) = (i.asset_id, i.content_version)
        where i.verdict = 'ok' and i.status = 'dead_lettered' and i.dead_letter is not null
        order by 1
        on conflict (dlq_id) do update set
            attempts = excluded.attempts, message = excluded.message, run_id = excluded.run_id,
            last_failed_at = now(),
            state = case when dead_letter.state = 'discarded' then 'discarded' else 'open' end
        returning dead_letter as letter, xmax = 0 as is_new
    )
    insert into outbox (event_id, topic, key, payload, headers)
    select (l.letter).dlq_id, 'media.processing.dlq', (l.letter).record_key,
        (l.letter).record_value,
        dead_letter_headers(l.letter, bury.pipeline_version, bury.image_digest, m.traceparent)
    from inserted l join media_asset m
        on (m.asset_id, m.content_version) = ((l.letter).asset_id, (l.letter).content_version)
    where l.is_new
    order by (l.letter).topic, (l.letter).kafka_partition, (l.letter).kafka_offset
    on conflict (event_id) do nothing;
end
$$;

-- Counters and histogram (seconds) of the outcomes in `incoming`.
create function count_outcomes() returns void
language plpgsql set search_path = media, pg_temp as $$
begin
    with done as (
        select d ->> 'kind' as processor, d ->> 'outcome' as outcome, (d ->> 'seconds')::float8 as seconds
        from incoming i, jsonb_array_elements(i.derivatives) as d where i.verdict = 'ok'
    )
    insert into processor_total
    select processor, outcome, count(*), sum(seconds) from done group by 1, 2 order by 1, 2
    on conflict (processor, outcome) do update set
        count = processor_total.count + excluded.count,
        seconds = processor_total.seconds + excluded.seconds;

    with done as (
        select d ->> 'kind' as processor, (d ->> 'seconds')::float8 as seconds
        from incoming i, jsonb_array_elements(i.derivatives) as d where i.verdict = 'ok'
    ), bound(le) as (
        values (0.01::float8), (0.025), (0.05), (0.1), (0.25), (0.5), (1), (2.5), (5), (10), (30),
               (60), (120), ('infinity')
    )
    insert into processor_bucket
    select processor, le, count(*) from done join bound on seconds <= le group by 1, 2 order by 1, 2
    on conflict (processor, le) do update set count = processor_bucket.count + excluded.count;
end
$$;

create function unpublished(max_rows integer)
returns table (event_id text, topic text, key text, payload text, headers jsonb)
language sql security definer set search_path = media, pg_temp as $$
    select event_id, topic, encode(key, 'base64'), encode(payload, 'base64'), headers
    from outbox where published_at is null order by sequence limit max_rows
$$;

create function mark_published(event_ids text[]) returns integer
language sql security definer set search_path = media, pg_temp as $$
    with marked as (
        update outbox set published_at = now()
        where event_id = any(event_ids) and published_at is null returning 1
    )
    select count(*)::integer from marked
$$;

create function derivatives_of(asset_ids text[])
returns table (asset_id text, content_version text, fence bigint, kind text, fingerprint text,
               outcome text, message text, input_digest text, input_bytes bigint, artifacts jsonb,
               attributes jsonb, seconds double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    with newest as (
        select distinct on (m.asset_id) m.asset_id, m.content_version
        from media_asset m where m.asset_id = any(asset_ids)
        order by m.asset_id, m.sequence desc
    )
    select d.asset_id, d.content_version, d.fence, d.kind, d.fingerprint, d.outcome, d.message,
        d.input_digest, d.input_bytes, d.artifacts, d.attributes, d.seconds
    from newest n join derivative d using (asset_id, content_version)
    order by array_position(asset_ids, d.asset_id), d.kind
$$;

create function counts()
returns table (by_status jsonb, rejected bigint, unpublished bigint)
language sql stable security definer set search_path = media, pg_temp as $$
    select
        coalesce((select jsonb_object_agg(status, count) from status_total where count > 0), '{}'),
        (select count(*) from dead_letter where asset_id is null),
        (select count(*) from outbox where published_at is null)
$$;

revoke execute on all functions in schema media from public;
grant execute on function register(jsonb), reject(jsonb, text, text), claim(text, text, text[]),
    record(text, jsonb, text, text), unpublished(integer), mark_published(text[]),
    derivatives_of(text[]), counts() to media_writer;
grant execute on function derivatives_of(text[]), counts() to media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
