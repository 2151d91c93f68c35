-- Roles: who may do what with the ledger. Nobody but the owner touches tables directly.
--   media_owner    owns the schema and its functions; no login
--   media_writer   may call the functions; no table rights
--   media_reader   may read
--   anon           may do nothing
--   authenticator  what PostgREST logs in as; becomes one of the others per request
do $$
declare
    name text;
begin
    foreach name in array array['media_owner', 'media_writer', 'media_reader', 'anon'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin', name);
        end if;
    end loop;
    if not exists (select from pg_roles where rolname = 'authenticator') then
        create role authenticator login noinherit;
    end if;
end
$$;

grant media_writer, media_reader, anon to authenticator;
grant media_owner to current_user;

create schema if not exists media authorization media_owner;
revoke all on schema media from public;
grant usage on schema media to media_writer, media_reader;

notify pgrst, 'reload schema';
