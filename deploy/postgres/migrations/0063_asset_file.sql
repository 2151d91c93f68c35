-- Everything the ledger knows of one media asset, for people: its versions, newest first.
set role media_owner;
set search_path = media, pg_temp;

create function asset_file(of_asset text, max_rows integer)
returns table (asset_id text, content_version text, status text, stage text, code text,
               message text, bucket text, object_key text, content_type text, size_bytes bigint,
               content_digest text, topic text, kafka_partition integer, kafka_offset bigint,
               priority text, attempts integer, fence bigint, run_id text, created_at timestamptz,
               claimed_at timestamptz, finished_at timestamptz, letters jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, m.status, m.stage, m.code, m.message, m.bucket,
        m.object_key, m.content_type, coalesce(m.size_bytes, m.announced_bytes), m.content_digest,
        m.topic, m.kafka_partition, m.kafka_offset, m.priority, m.attempts, m.fence, m.run_id,
        m.created_at, m.claimed_at, m.finished_at,
        coalesce((
            select jsonb_agg(jsonb_build_object('dlq_id', l.dlq_id, 'stage', l.stage,
                'code', l.code, 'state', l.state) order by l.first_failed_at)
            from dead_letter l
            where (l.asset_id, l.content_version) = (m.asset_id, m.content_version)), '[]')
    from media_asset m
    where m.asset_id = of_asset
    order by m.sequence desc
    limit max_rows
$$;

-- The media assets that ended last, newest first.
create index media_asset_by_end on media_asset (finished_at desc) where finished_at is not null;
create function ended_lately(max_rows integer)
returns table (asset_id text, content_version text, status text, code text,
               finished_at timestamptz)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id, m.content_version, m.status, m.code, m.finished_at from media_asset m
    where m.finished_at is not null
    order by m.finished_at desc
    limit max_rows
$$;

revoke all on function asset_file(text, integer), ended_lately(integer) from public;
grant execute on function asset_file(text, integer), ended_lately(integer)
    to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
