-- What a changed processor, setting or model touches: derivatives of each media asset's newest
-- finished content version whose fingerprint is not the expected one, or that are missing.
set role media_owner;
set search_path = media, pg_temp;

-- `expected`: {"<kind>": "<fingerprint>", ...}. Ordered by media asset, for paging by key.
create function stale(expected jsonb, after_asset text, max_rows integer)
returns table (asset_id text, content_version text, kind text, fingerprint text,
               seconds double precision, input_bytes bigint)
language sql stable security definer set search_path = media, pg_temp as $$
    with newest as (
        select distinct on (m.asset_id) m.asset_id, m.content_version, m.status, m.size_bytes
        from media_asset m
        where m.asset_id > coalesce(after_asset, '')
        order by m.asset_id, m.sequence desc
    ), touched as (
        select n.asset_id, n.content_version, e.key as kind, d.fingerprint, d.seconds, n.size_bytes
        from newest n
        cross join jsonb_each_text(expected) e
        left join derivative d on d.asset_id = n.asset_id
            and d.content_version = n.content_version and d.kind = e.key
        where n.status in ('complete', 'partial') and d.fingerprint is distinct from e.value
    ), first_assets as (
        select distinct t.asset_id from touched t order by t.asset_id limit max_rows
    )
    select t.asset_id, t.content_version, t.kind, t.fingerprint, t.seconds, t.size_bytes
    from touched t join first_assets using (asset_id)
    order by t.asset_id, t.kind
$$;

-- Seconds per kind as they were recorded lately: what a missing derivative will cost.
create function mean_seconds()
returns table (kind text, seconds double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select d.kind, avg(d.seconds)
    from (select kind, seconds, row_number() over (partition by kind order by updated_at desc) as n
          from derivative) d
    where d.n <= 1000
    group by d.kind
$$;

revoke all on function stale(jsonb, text, integer), mean_seconds() from public;
grant execute on function stale(jsonb, text, integer), mean_seconds() to media_writer, media_reader;

reset role;
notify pgrst, 'reload schema';
