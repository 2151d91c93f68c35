-- What `media-pipeline doctor` asks: who am I here, what may I do, who is in the way. It reads
-- catalogues alone, so that it answers while tables are locked.
set role media_owner;
set search_path = media, pg_temp;

create function doctor() returns jsonb
language sql volatile security definer set search_path = media, pg_temp as $$
    with ours as (
        select c.oid, c.relname, c.relrowsecurity and c.relforcerowsecurity as guarded
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'media' and c.relkind in ('r', 'p')
    ), held as (
        select l.pid, o.relname, l.mode, a.xact_start
        from pg_locks l join ours o on o.oid = l.relation
            left join pg_stat_activity a on a.pid = l.pid
        where l.granted and l.pid <> pg_backend_pid()
            and l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock',
                           'ShareLock')
    )
    select jsonb_build_object(
        'role', current_setting('role', true),
        'at', extract(epoch from clock_timestamp()),
        'may', (
            select coalesce(jsonb_agg(distinct p.proname order by p.proname), '[]')
            from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname = 'media'
                and has_function_privilege(current_setting('role', true), p.oid, 'execute')),
        'unguarded', (
            select coalesce(jsonb_agg(o.relname order by o.relname), '[]')
            from ours o where not o.guarded),
        'shut', (
            -- Row security is forced, and no policy lets the functions' owner through.
            select coalesce(jsonb_agg(o.relname order by o.relname), '[]')
            from ours o
            where o.guarded and not exists (
                select from pg_policies p where p.schemaname = 'media'
                    and p.tablename = o.relname and 'media_owner' = any(p.roles))),
        'locks', (
            select coalesce(jsonb_agg(distinct jsonb_build_object(
                'pid', h.pid, 'table', h.relname, 'mode', h.mode,
                'seconds', round(extract(epoch from clock_timestamp() - h.xact_start)))), '[]')
            from held h),
        'waiting', (
            select count(distinct w.pid) from pg_locks w
            where not w.granted and exists (
                select from pg_locks l join ours o on o.oid = l.relation where l.pid = w.pid)))
$$;

revoke execute on function doctor() from public;
grant execute on function doctor() to media_writer, media_reader, media_sensor, media_worker,
    media_relay, media_exporter, media_operator;

reset search_path;
reset role;
notify pgrst, 'reload schema';
