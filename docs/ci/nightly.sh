#!/bin/sh
# Checks a staging server every night against the last night that passed. cron mails what a job prints, so this prints
# only failures. The folder holds targets/staging.toml, and keys.env (readable by its owner alone) exports STAGING_KEY and
# KNOUDS_HARNESS_HOSTS, such as staging.example.com: keys go to no other host.
#   17 3 * * *  flock -n /srv/contract/lock /srv/contract/nightly.sh
set -eu
cd "$(dirname "$0")"
. ./keys.env
: "${KNOUDS_HARNESS_HOSTS:?is missing, set it beside the keys}"
code=0
knouds-harness check --target staging --credits 50 >nightly.txt 2>&1 || code=$?
if [ "$code" -eq 0 ]; then
  knouds-harness compare --keep staging-check "$(ls -d reports/runs/*-check-staging | tail -n 1)" >/dev/null
else
  cat nightly.txt
fi
ls -d reports/runs/*-check-staging | sort -r | tail -n +31 | xargs -r rm -rf # keeps 30 nights
exit "$code"
