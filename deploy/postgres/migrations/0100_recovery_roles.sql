-- What the components may do of migration 0080: the sensor keeps the gate, runs mark the cage,
-- operators set pauses.
set role media_owner;
set search_path = media, pg_temp;

grant execute on function controls() to media_sensor, media_worker;
grant execute on function trip_breakers(jsonb), breaker_probed(boolean, text), hold(jsonb, text),
    waiting(text[], double precision, integer) to media_sensor;
grant execute on function losses(text, text[]), enter_cage(text, text, text, bigint),
    leave_cage(text, text, text, bigint) to media_worker;
grant execute on function set_flag(text, jsonb, text, text) to media_operator;

reset search_path;
reset role;
notify pgrst, 'reload schema';
