-- Scores recorded lately by one model, as few numbers: what a batch is compared with.
set role media_owner;
set search_path = media, pg_temp;

create function score_history(of_kind text, of_fingerprint text, label text, days double precision,
                              max_rows integer)
returns table (count bigint, mean double precision, deviation double precision)
language sql stable security definer set search_path = media, pg_temp as $$
    select count(*), avg(score), stddev_samp(score) from (
        select (d.attributes -> 'scores' ->> label)::double precision as score
        from derivative d
        where d.kind = of_kind and d.updated_at > now() - make_interval(secs => 86400 * days)
            and d.fingerprint = of_fingerprint and d.attributes -> 'scores' ->> label is not null
        order by d.updated_at desc
        limit max_rows
    ) recent
$$;

revoke all on function score_history(text, text, text, double precision, integer) from public;
grant execute on function score_history(text, text, text, double precision, integer)
    to media_writer, media_reader;

reset search_path;
reset role;
notify pgrst, 'reload schema';
