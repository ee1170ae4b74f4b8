#!/bin/sh
# Run once, by the PostgreSQL image, on an empty disk: a database and a role for each service, and no way into another's.
# In a shell of its own, for the image reads this file into its own.
(
  set -eu
  for service in users orders inventory payments notifications; do
    psql --username=postgres --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
      --set=service="$service" --set=password="$(cat "${PASSWORDS:-/passwords}/$service")" <<'SQL'
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
  done
)
