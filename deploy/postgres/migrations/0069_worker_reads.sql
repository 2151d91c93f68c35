-- What runs ask beside their batch: scores of the week for a check, figures for the daily checks.
-- The role is made here or in 0090, whichever comes first.
do $$
begin
    if not exists (select from pg_roles where rolname = 'media_worker') then
        create role media_worker nologin;
    end if;
end
$$;

set role media_owner;
set search_path = media, pg_temp;

grant execute on function score_history(text, text, text, double precision, integer),
    daily_outcomes(integer), dead_letters(jsonb, text[], text, integer) to media_worker;

reset search_path;
reset role;
notify pgrst, 'reload schema';
