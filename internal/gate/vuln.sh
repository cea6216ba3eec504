#!/usr/bin/env bash
# vuln.sh GOVULNCHECK looks for known vulnerabilities in what the root module's packages call, and
# writes one line with the result to bin/vuln.result.
#
# VULNDB is the address of the database, https:// or file://. Where it cannot be reached, nothing
# was checked: that is a failure, unless VULNDB_MAY_BE_UNREACHABLE=1 allows it. It is never silent.
set -euo pipefail
db=${VULNDB:-https://vuln.go.dev}
mkdir -p bin
rm -f bin/vuln.result

status=0
out=$("$1" -db "$db" ./... 2>&1) || status=$?
case $status in
0)
	echo "Known vulnerabilities: none, by $db." | tee bin/vuln.result
	exit 0
	;;
3)
	printf '%s\n' "$out"
	echo "Known vulnerabilities were found: upgrade the modules that are named above." >&2
	exit 1
	;;
esac
if [[ $out != *"fetching vulnerabilities:"* ]]; then
	printf '%s\n' "$out" >&2
	echo "govulncheck failed: nothing is known about vulnerabilities." >&2
	exit 1
fi
line="NOT CHECKED: known vulnerabilities. The database $db cannot be reached (${out##*: })."
if [ "${VULNDB_MAY_BE_UNREACHABLE:-}" = 1 ]; then
	echo "$line" | tee bin/vuln.result
	exit 0
fi
printf '%s\n%s\n' "$line" "Set VULNDB to a copy of it, such as file:///srv/vulndb, or VULNDB_MAY_BE_UNREACHABLE=1 to go on without." >&2
exit 1
