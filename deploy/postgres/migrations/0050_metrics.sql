-- Figures for monitoring: counters written in the transaction of what they count, so that they
-- are exact across crashes, and one function that reads them all in bounded time.
set role media_owner;
set search_path = media, pg_temp;

-- Since when a content version waits for its outcome: a replay waits anew, however old its row.
alter table media_asset add column waiting_since timestamptz not null default now();
update media_asset set waiting_since = created_at where status in ('registered', 'claimed', 'retry');
create index media_asset_waiting on media_asset (priority, waiting_since)
    where status in ('registered', 'claimed', 'retry');

create function wait_anew() returns trigger
language plpgsql set search_path = media, pg_temp as $$
begin
    new.waiting_since := now();
    return new;
end
$$;
create trigger wait_anew before update of status on media_asset for each row
    when (old.status in ('complete', 'partial', 'dead_lettered')
        and new.status in ('registered', 'claimed', 'retry'))
    execute function wait_anew();

-- Sums by figure and one label. Figures: input_bytes and output_bytes (by processor), rejected
-- messages (by code), and the sums of the histograms in figure_bucket.
create table figure_total (
    figure  text not null,
    label   text not null,
    value   double precision not null,
    primary key (figure, label)
);
-- Histograms, cumulative: batch_assets (media assets recorded at once) and asset_seconds (from
-- waiting to the outcome). Bounds are those of media_pipeline/telemetry/metrics.py.
create table figure_bucket (
    figure  text not null,
    le      double precision not null,
    count   bigint not null,
    primary key (figure, le)
);
insert into figure_total
select 'rejected', code, count(*) from dead_letter where asset_id is null group by code;

do $$
declare
    name text;
begin
    foreach name in array array['figure_total', 'figure_bucket'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy owner_all on %I to media_owner using (true) with check (true)', name);
        execute format('create policy reader_all on %I for select to media_reader using (true)', name);
        execute format('grant select on %I to media_reader', name);
    end loop;
end
$$;

create function count_rejected() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    insert into figure_total
    select 'rejected', code, count(*) from added where asset_id is null group by code order by code
    on conflict (figure, label) do update set value = figure_total.value + excluded.value;
    return null;
end
$$;
create trigger count_rejected after insert on dead_letter
    referencing new table as added for each statement execute function count_rejected();

-- How long media assets waited for their outcome; finished ones that a backfill records again
-- have waited for nothing.
create function count_finished() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    with waited as (
        select extract(epoch from now() - n.waiting_since) as seconds
        from changed n join previous p using (asset_id, content_version)
        where p.status in ('registered', 'claimed', 'retry')
            and n.status in ('complete', 'partial', 'dead_lettered')
    ), bound(le) as (
        values (1::float8), (2.5), (5), (10), (30), (60), (120), (300), (600), (1800), (3600),
               (10800), (43200), (86400), ('infinity')
    ), bucketed as (
        insert into figure_bucket
        select 'asset_seconds', le, count(*) from waited join bound on seconds <= le
        group by le order by le
        on conflict (figure, le) do update set count = figure_bucket.count + excluded.count
    )
    insert into figure_total
    select 'asset_seconds', '', sum(seconds) from waited having count(*) > 0
    on conflict (figure, label) do update set value = figure_total.value + excluded.value;
    return null;
end
$$;
create trigger count_finished after update on media_asset
    referencing new table as changed old table as previous
    for each statement execute function count_finished();

-- As before, and: bytes in and out by processor, and the size of the batch.
create or replace function count_outcomes() returns void
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

    with done as (
        select d ->> 'kind' as processor, (d ->> 'input_bytes')::float8 as bytes_in, (
                select coalesce(sum((a ->> 'size_bytes')::float8), 0)
                from jsonb_array_elements(d -> 'artifacts') as a) as bytes_out
        from incoming i, jsonb_array_elements(i.derivatives) as d where i.verdict = 'ok'
    )
    insert into figure_total
    select figure, processor, sum(value) from (
        select 'input_bytes' as figure, processor, bytes_in as value from done
        union all select 'output_bytes', processor, bytes_out from done
    ) as both_ways group by 1, 2 order by 1, 2
    on conflict (figure, label) do update set value = figure_total.value + excluded.value;

    with batch as (
        select count(*)::float8 as assets from incoming where verdict = 'ok' having count(*) > 0
    ), bound(le) as (
        values (1::float8), (5), (10), (25), (50), (100), (200), (300), (400), (500), (1000),
               ('infinity')
    ), bucketed as (
        insert into figure_bucket
        select 'batch_assets', le, 1 from batch join bound on assets <= le order by le
        on conflict (figure, le) do update set count = figure_bucket.count + excluded.count
    )
    insert into figure_total select 'batch_assets', '', assets from batch
    on conflict (figure, label) do update set value = figure_total.value + excluded.value;
end
$$;

-- Everything that the ledger knows for monitoring. Counters and partial indexes alone: the
-- answer takes as long with a million rows as with ten. Ages in seconds, by this clock.
create function metrics() returns jsonb
language sql stable security definer set search_path = media, pg_temp as $$
    select jsonb_build_object(
        'processors', coalesce((select jsonb_agg(to_jsonb(t)) from processor_total t), '[]'),
        'durations', coalesce((select jsonb_agg(to_jsonb(b)) from processor_bucket b), '[]'),
        'statuses', coalesce((select jsonb_object_agg(status, count) from status_total), '{}'),
        'totals', coalesce((select jsonb_agg(to_jsonb(t)) from figure_total t), '[]'),
        'buckets', coalesce((select jsonb_agg(to_jsonb(b)) from figure_bucket b), '[]'),
        'oldest_unfinished', coalesce((
            select jsonb_object_agg(lane, extract(epoch from now() - oldest))
            from unnest(array['live', 'backfill']) as lane, lateral (
                select waiting_since as oldest from media_asset
                where priority = lane and status in ('registered', 'claimed', 'retry')
                order by waiting_since limit 1) as waiting), '{}'),
        'outbox_rows', (select count(*) from outbox where published_at is null),
        'outbox_oldest', (
            select extract(epoch from now() - created_at) from outbox
            where published_at is null order by sequence limit 1),
        'dead_letters', coalesce((
            select jsonb_agg(jsonb_build_object('stage', stage, 'code', code, 'count', letters))
            from (select stage, code, count(*) as letters from dead_letter
                where state = 'open' group by stage, code) as open_ones), '[]'))
$$;

revoke execute on function metrics(), count_rejected(), count_finished(), wait_anew() from public;
grant execute on function metrics() to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
