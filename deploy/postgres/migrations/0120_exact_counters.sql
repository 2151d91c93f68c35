-- Counters that agree with the rows whatever died: a run that dies after it recorded is retried,
-- and its retry records the same media assets again, under a new fence; an attempt that waits for
-- its retry has ended nothing yet.
set role media_owner;
set search_path = media, pg_temp;

-- Of which root run the last outcome is, and whether what was recorded last had been counted.
alter table media_asset
    add column recorded_root text,
    add column repeats boolean not null default false;

create function note_recording() returns trigger
language plpgsql set search_path = media, pg_temp as $$
begin
    new.repeats := coalesce(old.recorded_root = new.root_run_id, false);
    if new.status <> 'retry' then
        new.recorded_root := new.root_run_id;
    end if;
    return new;
end
$$;
create trigger note_recording before update of recorded_fence on media_asset for each row
    when (new.recorded_fence is distinct from old.recorded_fence)
    execute function note_recording();

-- As in 0050, but: of what a root run has ended already nothing is counted; of an attempt that
-- will be retried only what was transient, because the retry ends the rest.
create or replace function count_outcomes() returns void
language plpgsql set search_path = media, pg_temp as $$
begin
    create temporary table if not exists counted (
        processor text, outcome text, seconds float8, bytes_in float8, bytes_out float8
    ) on commit delete rows;
    truncate counted;
    insert into counted
    select d ->> 'kind', d ->> 'outcome', (d ->> 'seconds')::float8, (d ->> 'input_bytes')::float8,
        (select coalesce(sum((a ->> 'size_bytes')::float8), 0)
         from jsonb_array_elements(d -> 'artifacts') as a)
    from incoming i
    join media_asset m on (m.asset_id, m.content_version) = (i.asset_id, i.content_version),
        jsonb_array_elements(i.derivatives) as d
    where i.verdict = 'ok' and not m.repeats
        and (i.status <> 'retry' or d ->> 'outcome' = 'transient');

    insert into processor_total
    select processor, outcome, count(*), sum(seconds) from counted group by 1, 2 order by 1, 2
    on conflict (processor, outcome) do update set
        count = processor_total.count + excluded.count,
        seconds = processor_total.seconds + excluded.seconds;

    with bound(le) as (
        values (0.01::float8), (0.025), (0.05), (0.1), (0.25), (0.5), (1), (2.5), (5), (10), (30),
               (60), (120), ('infinity')
    )
    insert into processor_bucket
    select processor, le, count(*) from counted join bound on seconds <= le
    group by 1, 2 order by 1, 2
    on conflict (processor, le) do update set count = processor_bucket.count + excluded.count;

    insert into figure_total
    select figure, processor, sum(value) from (
        select 'input_bytes' as figure, processor, bytes_in as value from counted
        union all select 'output_bytes', processor, bytes_out from counted
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

revoke execute on function note_recording() from public;

reset search_path;
reset role;
notify pgrst, 'reload schema';
