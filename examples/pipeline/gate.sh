#!/bin/sh
# Hold a pipeline until image jobs have finished, and continue only if all of them have completed.
#
#     gate.sh image-version/9002 image-diff/5003@1763769600
#
# The keys come from the environment, and so may GATE_TIMEOUT (default 90m), GATE_REPORT and GATE_JUNIT (files for the
# timeline of each job and for JUnit XML). The exit status is that of `clanforge watch`.
set -eu

watch() {
    status=0
    clanforge watch --timeout "${GATE_TIMEOUT:-90m}" --fail-fast --report "${GATE_REPORT:-image-jobs.html}" \
        --junit "${GATE_JUNIT:-image-jobs.xml}" "$@" || status=$?
}

watch "$@"
if [ "$status" -eq 5 ]; then
    # The only status that is worth another try. Watching has no side effects.
    echo "gate: the API failed; watching once more" >&2
    watch "$@"
fi

case $status in
    0) echo "gate: all jobs have completed" ;;
    1) echo "gate: a job has failed, see above; nothing is rolled out" >&2 ;;
    2) echo "gate: wrong usage or configuration, see above" >&2 ;;
    3) echo "gate: not done in time; run this step again to continue waiting for the same run" >&2 ;;
    4) echo "gate: access denied; check the secrets" >&2 ;;
    5) echo "gate: the API failed again; run this step again once it responds" >&2 ;;
    6) echo "gate: the API refused the request, see above; another try will not help" >&2 ;;
    7) echo "gate: the outcome could not be determined, see above; check before you run this step again" >&2 ;;
    *) echo "gate: stopped" >&2 ;;
esac
exit "$status"
