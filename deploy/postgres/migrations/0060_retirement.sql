-- Which media assets Dagster may forget: everything known of them has ended, long enough ago.
set role media_owner;
set search_path = media, pg_temp;

-- Claims count as work: a backfill leaves the status of what it works on as it is.
create function retirable(asset_ids text[], idle_seconds double precision)
returns table (asset_id text)
language sql stable security definer set search_path = media, pg_temp as $$
    select m.asset_id from media_asset m
    where m.asset_id = any(asset_ids)
    group by m.asset_id
    having bool_and(m.status in ('complete', 'partial', 'dead_lettered'))
        and max(greatest(m.finished_at, m.claimed_at)) < now() - make_interval(secs => idle_seconds)
    order by array_position(asset_ids, m.asset_id)
$$;

-- What was recorded lately is asked for by kind: means, drift, daily figures.
create index derivative_by_kind_and_time on derivative (kind, updated_at desc);

-- As before, but reads a thousand rows of each kind instead of the whole table.
create or replace function mean_seconds()
returns table (kind text, seconds double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select k.kind, r.seconds
    from (select distinct processor as kind from processor_total) k
    cross join lateral (
        select avg(d.seconds) as seconds
        from (select seconds from derivative where derivative.kind = k.kind
              order by updated_at desc limit 1000) d
    ) r
    where r.seconds is not null
$$;

revoke all on function retirable(text[], double precision) from public;
grant execute on function retirable(text[], double precision) to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
