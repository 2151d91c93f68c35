#!/bin/bash
# Runs once, when the database is made: who logs in beside the owner. Passwords come from the
# mounted secret by psql itself, not by a command line that others could read.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username postgres --dbname media <<'SQL'
\set password `cat /run/secrets/postgres-password`
create role authenticator login noinherit password :'password';
create role dagster login password :'password';
create database dagster owner dagster;
SQL
