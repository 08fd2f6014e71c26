#!/bin/sh
# Hold a pipeline until image jobs have ended, and let it go on only if all of them have completed.
#
#     gate.sh image-version/9002 image-diff/5003@1763769600
#
# The keys are read from the environment, like GATE_TIMEOUT, the time to wait: 90m unless it is set. The exit status is
# that of `clanforge watch`, and image-jobs.html shows how each job went.
set -eu

watch() {
    status=0
    clanforge watch --timeout "${GATE_TIMEOUT:-90m}" --fail-fast --report image-jobs.html "$@" || status=$?
}

watch "$@"
if [ "$status" -eq 5 ]; then
    # Minutes of it have been waited out already. Watching only reads, so it can begin again; once is enough.
    echo "gate: the API failed; watching once more" >&2
    watch "$@"
fi

case $status in
    0) echo "gate: all jobs have completed" ;;
    1) echo "gate: a job has failed, see above; nothing is rolled out" >&2 ;;
    2) echo "gate: this step is set up wrongly, see above" >&2 ;;
    3) echo "gate: not done in time; run this step again to go on waiting for the same run" >&2 ;;
    4) echo "gate: access denied; check the secrets" >&2 ;;
    5) echo "gate: the API failed again; run this step again once it answers" >&2 ;;
    *) echo "gate: stopped" >&2 ;;
esac
exit "$status"
