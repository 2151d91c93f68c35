-- A run that Dagster took for dead, retried, and that goes on all the same: it must not claim
-- again what its retry has claimed, or it would take the batch back with a fresh fence.
set role media_owner;
set search_path = media, pg_temp;

-- The newest try of each run that was seen claiming; `created`: seconds since the epoch.
create table run_lineage (
    root_run_id  text primary key,
    run_id       text not null,
    created      double precision not null
);
alter table run_lineage enable row level security;
alter table run_lineage force row level security;
create policy owner_all on run_lineage to media_owner using (true) with check (true);
create policy reader_all on run_lineage for select to media_reader using (true);
grant select on run_lineage to media_reader;

-- `claim`, unless a newer try of the same run has claimed before. The lineage row is locked to
-- the end, so that of two tries that claim at once the newer one wins in either order.
create function claim_batch(run text, root_run text, run_created double precision, asset_ids text[])
returns table (asset_id text, content_version text, fence bigint, attempts integer,
               previous_status text, bucket text, object_key text, version_id text, etag text,
               sha256 text, announced_bytes bigint, content_type text, event_id text,
               occurred_at text, priority text, ocr_languages text[], traceparent text, extra jsonb)
language plpgsql security definer set search_path = media, pg_temp as $$
#variable_conflict use_column
declare
    newest text;
begin
    insert into run_lineage (root_run_id, run_id, created) values (root_run, run, run_created)
    on conflict (root_run_id) do update set run_id = excluded.run_id, created = excluded.created
        where run_lineage.created <= excluded.created;
    select l.run_id into newest from run_lineage l where l.root_run_id = root_run;
    if newest <> run then
        raise exception 'run % was retried as %', run, newest using errcode = 'MPSUP';
    end if;
    return query select * from claim(run, root_run, asset_ids);
end
$$;

revoke execute on function claim_batch(text, text, double precision, text[]) from public;
revoke execute on function claim(text, text, text[]) from media_writer;
grant execute on function claim_batch(text, text, double precision, text[]) to media_writer;

reset search_path;
reset role;
notify pgrst, 'reload schema';
