#!/bin/bash
# Starts one server as the image that compose.yaml names would: same variables, files, arguments.
#   server NAME [ARGUMENT...]; as a health check it is called by the name that the check uses.
set -euo pipefail

postgres_server() {
  local data=/var/lib/postgresql/data file
  as() { setpriv --reuid postgres --regid postgres --init-groups -- "$@"; }
  chown postgres:postgres "$data"
  chmod 0700 "$data"
  if [ ! -s "$data/PG_VERSION" ]; then
    as initdb --pgdata "$data" --username postgres --encoding UTF8 --locale C.UTF-8 \
      --auth-local trust --auth-host scram-sha-256 --pwfile "$POSTGRES_PASSWORD_FILE"
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    # On the socket alone until everything is made, as the official image does.
    as pg_ctl --pgdata "$data" --wait start --options "-c listen_addresses= -k /run/postgresql"
    export PGHOST=/run/postgresql
    as psql --username postgres --dbname postgres --command "create database \"$POSTGRES_DB\""
    for file in /docker-entrypoint-initdb.d/*.sh; do as "$file"; done
    as pg_ctl --pgdata "$data" --wait --mode fast stop
  fi
  exec setpriv --reuid postgres --regid postgres --init-groups -- \
    postgres -D "$data" -c "listen_addresses=*" -c unix_socket_directories=/run/postgresql
}

kafka_server() {
  local port="${KAFKA_LISTENERS#PLAINTEXT://:}"
  exec tansu broker --storage-engine memory://tansu/ --listener-url "tcp://0.0.0.0:${port%%,*}" \
    --advertised-listener-url "tcp://${KAFKA_ADVERTISED_LISTENERS#PLAINTEXT://}"
}

kafka_answers() {
  exec python -c 'import sys; from kafka.admin import KafkaAdminClient
KafkaAdminClient(bootstrap_servers=sys.argv[2], request_timeout_ms=5000).list_topics()' "$@"
}

postgrest_server() {
  if [ "${1:-}" = --ready ]; then
    exec wget -q -O /dev/null "http://127.0.0.1:${PGRST_SERVER_PORT:-3000}/ready"
  fi
  PGRST_SERVER_HOST=0.0.0.0 PGRST_SERVER_PORT="${PGRST_SERVER_PORT:-3000}" \
    PGRST_JWT_AUD="${PGRST_JWT_AUD:-}" exec python -m media_pipeline.local_stack.postgrest_server
}

case "$(basename "$0")" in
  postgrest) postgrest_server "$@" ;;
  kafka-broker-api-versions.sh) kafka_answers "$@" ;;
esac
name="$1"
shift
case "$name" in
  postgres) postgres_server ;;
  kafka) kafka_server ;;
  postgrest) postgrest_server ;;
  object-store) exec weed "$@" ;;
  vault) exec bao "$1" "-dev-listen-address=${BAO_DEV_LISTEN_ADDRESS:-0.0.0.0:8200}" "${@:2}" ;;
  prometheus) exec prometheus "$@" ;;
  alertmanager)
    exec prometheus-alertmanager --config.file=/etc/alertmanager/alertmanager.yml \
      --storage.path=/alertmanager "$@" ;;
  *) echo "no server $name" >&2; exit 1 ;;
esac
