#!/bin/sh
# Checks a staging server every night against the last night that passed. cron mails what a job prints, so this prints
# only failures. The folder holds targets/staging.toml, and keys.env (readable by its owner alone) exports STAGING_KEY:
#   17 3 * * *  flock -n /srv/contract/lock /srv/contract/nightly.sh
set -eu
cd "$(dirname "$0")"
. ./keys.env
code=0
knouds-harness check --target staging --credits 50 >nightly.txt 2>&1 || code=$?
if [ "$code" -eq 0 ]; then
  knouds-harness compare --keep staging-check "$(ls -d reports/runs/*-check-staging | tail -n 1)" >/dev/null
else
  cat nightly.txt
fi
ls -d reports/runs/*-check-staging | sort -r | tail -n +31 | xargs -r rm -rf # keeps 30 nights
exit "$code"
