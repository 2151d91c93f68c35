-- The ledger: what became of every content version of every media asset.
set role media_owner;
set search_path = media, pg_temp;

create table media_asset (
    asset_id          text not null check (asset_id ~ '^[A-Za-z0-9._~-]{1,128}$'),
    content_version   text not null,
    -- as announced
    bucket            text not null,
    object_key        text not null,
    version_id        text,
    etag              text,
    sha256            text,
    announced_bytes   bigint,
    content_type      text,
    event_id          text not null,
    occurred_at       text not null,
    priority          text not null,
    ocr_languages     text[] not null default '{}',
    traceparent       text,
    extra             jsonb not null default '{}',
    -- the record as received: what a dead letter carries, byte for byte
    topic             text not null,
    kafka_partition   integer not null,
    kafka_offset      bigint not null,
    record_timestamp  bigint not null,
    record_key        bytea,
    record_value      bytea,
    record_headers    jsonb not null default '[]',
    -- as found
    content_digest    text,
    size_bytes        bigint,
    status            text not null default 'registered'
        check (status in ('registered', 'claimed', 'retry', 'complete', 'partial', 'dead_lettered')),
    stage             text,
    code              text,
    message           text,
    attempts          integer not null default 0,
    fence             bigint not null default 0,
    run_id            text,
    root_run_id       text,
    recorded_fence    bigint,
    sequence          bigint generated always as identity,
    created_at        timestamptz not null default now(),
    claimed_at        timestamptz,
    first_failed_at   timestamptz,
    finished_at       timestamptz,
    primary key (asset_id, content_version)
);
-- The unfinished are few and asked for often: oldest age, takeover, counts.
create index media_asset_unfinished on media_asset (created_at)
    where status in ('registered', 'claimed', 'retry');
create index media_asset_by_sequence on media_asset (asset_id, sequence desc);

create table derivative (
    asset_id         text not null,
    content_version  text not null,
    kind             text not null,
    fingerprint      text not null,
    outcome          text not null,
    message          text not null,
    input_digest     text,
    input_bytes      bigint not null,
    artifacts        jsonb not null,
    object_key       text generated always as (artifacts -> 0 ->> 'object_key') stored,
    attributes       jsonb not null,
    seconds          double precision not null,
    fence            bigint not null,
    run_id           text not null,
    updated_at       timestamptz not null default now(),
    primary key (asset_id, content_version, kind),
    foreign key (asset_id, content_version) references media_asset
);

create table outbox (
    sequence      bigint generated always as identity primary key,
    event_id      text not null unique,
    topic         text not null,
    key           bytea,
    payload       bytea,
    headers       jsonb not null default '[]',
    created_at    timestamptz not null default now(),
    published_at  timestamptz
);
create index outbox_unpublished on outbox (sequence) where published_at is null;

create table dead_letter (
    dlq_id            text primary key,
    asset_id          text,
    content_version   text,
    stage             text not null,
    code              text not null,
    error_class       text not null,
    message           text not null,
    attempts          integer not null,
    topic             text not null,
    kafka_partition   integer not null,
    kafka_offset      bigint not null,
    record_timestamp  bigint not null,
    record_key        bytea,
    record_value      bytea,
    record_headers    jsonb not null,
    run_id            text,
    state             text not null default 'open'
        check (state in ('open', 'validated', 'replayed', 'discarded')),
    replay_count      integer not null default 0,
    first_failed_at   timestamptz not null default now(),
    last_failed_at    timestamptz not null default now()
);
create index dead_letter_open on dead_letter (code, stage) where state = 'open';
create index dead_letter_by_asset on dead_letter (asset_id, content_version);

-- History is kept: the newest row of a name is in force.
create table flag (
    id      bigint generated always as identity primary key,
    name    text not null,
    value   jsonb not null,
    reason  text not null,
    who     text not null,
    at      timestamptz not null default now()
);
create index flag_newest on flag (name, id desc);

-- Counters, incremented in the transaction of the outcome: exact across crashes.
create table processor_total (
    processor  text not null,
    outcome    text not null,
    count      bigint not null,
    seconds    double precision not null,
    primary key (processor, outcome)
);
create table processor_bucket (
    processor  text not null,
    le         double precision not null,
    count      bigint not null,
    primary key (processor, le)
);
-- Content versions by status: counting a million rows at each look would be too slow.
create table status_total (
    status  text primary key,
    count   bigint not null
);

create function count_status() returns trigger
language plpgsql security definer set search_path = media, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into status_total select status, count(*) from changed group by status order by status
        on conflict (status) do update set count = status_total.count + excluded.count;
    else
        insert into status_total
        select status, sum(delta) from (
            select status, 1 as delta from changed union all select status, -1 from previous
        ) as moved group by status having sum(delta) <> 0 order by status
        on conflict (status) do update set count = status_total.count + excluded.count;
    end if;
    return null;
end
$$;
create trigger count_inserted after insert on media_asset
    referencing new table as changed for each statement execute function count_status();
create trigger count_updated after update on media_asset
    referencing new table as changed old table as previous
    for each statement execute function count_status();

do $$
declare
    name text;
begin
    foreach name in array array['media_asset', 'derivative', 'outbox', 'dead_letter', 'flag',
                                'processor_total', 'processor_bucket', 'status_total'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy owner_all on %I to media_owner using (true) with check (true)', name);
        execute format('create policy reader_all on %I for select to media_reader using (true)', name);
        execute format('grant select on %I to media_reader', name);
    end loop;
end
$$;

reset search_path;
reset role;
notify pgrst, 'reload schema';
