-- Outcomes by day: what is usual, without reading the derivatives of a week.
set role media_owner;
set search_path = media, pg_temp;

create table processor_day (
    day        date not null,
    processor  text not null,
    outcome    text not null,
    count      bigint not null,
    seconds    double precision not null,
    primary key (day, processor, outcome)
);
alter table processor_day enable row level security;
alter table processor_day force row level security;
create policy owner_all on processor_day to media_owner using (true) with check (true);
create policy reader_all on processor_day for select to media_reader using (true);
grant select on processor_day to media_reader;

-- Whatever raises a total raises the day's figure in the same transaction. Days are UTC.
create function count_day() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into processor_day
        select (now() at time zone 'UTC')::date, processor, outcome, count, seconds from changed
        order by processor, outcome
        on conflict (day, processor, outcome) do update set
            count = processor_day.count + excluded.count,
            seconds = processor_day.seconds + excluded.seconds;
    else
        insert into processor_day
        select (now() at time zone 'UTC')::date, c.processor, c.outcome, c.count - p.count,
            c.seconds - p.seconds
        from changed c join previous p using (processor, outcome)
        where c.count <> p.count
        order by c.processor, c.outcome
        on conflict (day, processor, outcome) do update set
            count = processor_day.count + excluded.count,
            seconds = processor_day.seconds + excluded.seconds;
    end if;
    return null;
end
$$;
create trigger day_inserted after insert on processor_total
    referencing new table as changed for each statement execute function count_day();
create trigger day_updated after update on processor_total
    referencing new table as changed old table as previous
    for each statement execute function count_day();

create function daily_outcomes(days integer)
returns table (day date, kind text, outcome text, count bigint, seconds double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select day, processor, outcome, count, seconds from processor_day
    where day > (now() at time zone 'UTC')::date - days
    order by day, processor, outcome
$$;

revoke all on function count_day(), daily_outcomes(integer) from public;
grant execute on function daily_outcomes(integer) to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
