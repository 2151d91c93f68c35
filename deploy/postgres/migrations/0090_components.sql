-- A role for each component, so that a stolen token does what that component does and no more.
--   media_sensor    takes messages in: registers, rejects, looks whether to pause
--   media_worker    works on a batch: claims, records
--   media_relay     publishes the outbox
--   media_exporter  reads, for metrics and dashboards
--   media_operator  reads, and acts on dead letters
-- media_writer stays for small installations, where all components are one workload.
do $$
declare
    name text;
begin
    foreach name in array array['media_sensor', 'media_worker', 'media_relay', 'media_exporter',
                                'media_operator'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin', name);
        end if;
    end loop;
end
$$;

grant media_sensor, media_worker, media_relay, media_exporter, media_operator to authenticator;
grant usage on schema media to media_sensor, media_worker, media_relay, media_exporter,
    media_operator;
grant media_reader to media_exporter, media_operator;

set role media_owner;
set search_path = media, pg_temp;

grant execute on function register(jsonb), reject(jsonb, text, text), counts(), mean_seconds(),
    newest_pause(), retirable(text[], double precision) to media_sensor;
grant execute on function claim_batch(text, text, double precision, text[]),
    record(text, jsonb, text, text), derivatives_of(text[]), counts() to media_worker;
grant execute on function unpublished(integer), mark_published(text[]), counts() to media_relay;
grant execute on function act_on_letters(text, text, text, text, jsonb, text, jsonb),
    take_lease(text, text, text, text, integer), release_lease(text, text),
    begin_replay(text, text, jsonb, text, text, jsonb),
    note_replay_portion(text, integer, jsonb, jsonb, jsonb, jsonb, boolean),
    note_replay_launch(text, integer, text), end_replay(text, jsonb) to media_operator;

reset search_path;
reset role;
notify pgrst, 'reload schema';
