-- Samples of what was enriched: evenly, the same for the same seed, page by page.
set role media_owner;
set search_path = media, pg_temp;

-- Media assets whose newest content version has an `ok` derivative of that kind, in the order of
-- a hash of seed and asset id: any prefix of this order is a sample, and each media asset has
-- the same chance to be in it. `after_rank` pages by key. "C": hex digits in one order anywhere.
create function sample_of(of_kind text, seed text, after_rank text, max_rows integer)
returns table (rank text, asset_id text, content_version text, bucket text, object_key text,
               version_id text, etag text, sha256 text, announced_bytes bigint, content_type text,
               event_id text, occurred_at text, priority text, ocr_languages text[],
               traceparent text, extra jsonb, fingerprint text, attributes jsonb)
language sql stable security definer set search_path = media, pg_temp as $$
    with newest as (
        select distinct on (m.asset_id) m.asset_id, m.content_version
        from media_asset m
        order by m.asset_id, m.sequence desc
    ), drawn as (
        select md5(sample_of.seed || ':' || n.asset_id) collate "C" as rank, n.asset_id,
            n.content_version, d.fingerprint, d.attributes
        from newest n
        join derivative d on d.asset_id = n.asset_id and d.content_version = n.content_version
            and d.kind = of_kind and d.outcome = 'ok'
        where md5(sample_of.seed || ':' || n.asset_id) collate "C" > coalesce(after_rank, '')
        order by rank
        limit max_rows
    )
    select d.rank, m.asset_id, m.content_version, m.bucket, m.object_key, m.version_id, m.etag,
        m.sha256, m.announced_bytes, m.content_type, m.event_id, m.occurred_at, m.priority,
        m.ocr_languages, m.traceparent, m.extra, d.fingerprint, d.attributes
    from drawn d join media_asset m using (asset_id, content_version)
    order by d.rank
$$;

-- How many there are to draw from.
create function sample_population(of_kind text)
returns bigint
language sql stable security definer set search_path = media, pg_temp as $$
    with newest as (
        select distinct on (m.asset_id) m.asset_id, m.content_version
        from media_asset m
        order by m.asset_id, m.sequence desc
    )
    select count(*) from newest n
    join derivative d using (asset_id, content_version)
    where d.kind = of_kind and d.outcome = 'ok'
$$;

revoke all on function sample_of(text, text, text, integer), sample_population(text) from public;
grant execute on function sample_of(text, text, text, integer), sample_population(text)
    to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
