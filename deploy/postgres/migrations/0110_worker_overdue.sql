-- What the check `events_are_published` asks at the end of each batch.
set role media_owner;
set search_path = media, pg_temp;

grant execute on function overdue_events(integer, integer) to media_worker;

reset search_path;
reset role;
notify pgrst, 'reload schema';
