# Stages, their outcome, and the closing summary. Sourced by scripts/test.
#
# A stage is one command. What cargo's test runner says about its tests is read from the output:
# `test result:` lines are summed, lines `SKIPPED name: reason` are tests that could not run here.
# So is what node's runner says in TAP: `# pass N` and `# fail N` are summed, and `not ok` and
# `# SKIP reason` name tests.
# shellcheck shell=bash

readonly STAGE_LIMIT=900 # seconds, after which a stage is taken for stuck

passed=0
failed=0
skips=()
stages=()
failures=()
stage_log=$(mktemp)

# stage NAME COMMAND...: runs a command; a failure is noted and the next stage runs all the same.
stage() {
    local name=$1 start=$SECONDS outcome=ok status=0
    shift
    printf '\n==> %s: %s\n' "$name" "$*"
    timeout --kill-after=10 "$STAGE_LIMIT" "$@" 2>&1 </dev/null | tee "$stage_log" || status=$?
    count_tests "$name" "$status"
    if ((status == 124 || status == 137)); then
        outcome="stuck, ended after ${STAGE_LIMIT} s"
    elif ((status != 0)); then
        outcome="failed, exit code $status"
    fi
    stages+=("$(printf '%-34s %5d s  %s' "$name" $((SECONDS - start)) "$outcome")")
}

background_pid=
background_log=
background_status=

# in_background COMMAND...: starts a command that goes on beside the stages and takes less of the machine
# than they do.
in_background() {
    printf '\n==> in the background: %s\n' "$*"
    background_log=$(mktemp)
    background_status=$(mktemp)
    # shellcheck disable=SC2016 # the inner shell's
    setsid nice -n 5 bash -c '"${@:2}"; echo "$?" >"$1"' bash "$background_status" "$@" \
        >"$background_log" 2>&1 </dev/null &
    background_pid=$!
    trap stop_others EXIT
}

# stage_of_background NAME: waits for that command and reports it as a stage. A lane may do that too.
stage_of_background() {
    local status
    stage "$1" tail --pid="$background_pid" --follow --lines=+1 "$background_log"
    # It still runs only if the stage has taken it for stuck.
    kill -- "-$background_pid" 2>/dev/null || true
    status=$(<"$background_status")
    rm -f "$background_log" "$background_status"
    if [[ $status != 0 ]]; then
        failed=$((failed + 1))
        failures+=("$1")
    fi
}

lane_pid=
lane_output=
lane_sums=

# in_lane FUNCTION...: runs functions, which have stages of their own, beside the stages that follow. What they
# print is kept and comes in one piece.
in_lane() {
    printf '\n==> beside the next stages, shown after them: %s\n' "${*//_/ }"
    lane_output=$(mktemp)
    lane_sums=$(mktemp)
    # A process group of its own, to be stopped as one.
    set -m
    lane "$@" >"$lane_output" 2>&1 </dev/null &
    lane_pid=$!
    set +m
    trap stop_others EXIT
}

# lane FUNCTION...: runs them, and leaves what is to be added to the sums as commands.
lane() {
    local function
    stage_log=$(mktemp)
    passed=0 failed=0 skips=() stages=() failures=()
    for function in "$@"; do
        "$function"
    done
    rm -f "$stage_log"
    {
        printf 'passed=$((passed + %d)) failed=$((failed + %d))\n' "$passed" "$failed"
        printf 'skips+=(%s)\n' "${skips[*]@Q}"
        printf 'stages+=(%s)\n' "${stages[*]@Q}"
        printf 'failures+=(%s)\n' "${failures[*]@Q}"
    } >"$lane_sums"
}

# join_lane: waits for the lane, shows what it printed, and adds up what it found.
join_lane() {
    wait "$lane_pid" || true
    cat "$lane_output"
    if [[ -s $lane_sums ]]; then
        # shellcheck source=/dev/null
        source "$lane_sums"
    else
        failed=$((failed + 1))
        failures+=("the stages beside the others: they ended early")
    fi
    rm -f "$lane_output" "$lane_sums"
    trap - EXIT
}

# Ends what goes on beside the stages, when they end early.
stop_others() {
    local group
    for group in $background_pid $lane_pid; do
        kill -- "-$group" 2>/dev/null || true
    done
}

# count_tests STAGE STATUS: adds up what the runner reported.
count_tests() {
    local ok bad line skipped=0
    read -r ok bad < <(
        sed -nE -e 's/^test result: [^ ]+ ([0-9]+) passed; ([0-9]+) failed;.*/\1 \2/p' \
            -e 's/^# pass ([0-9]+)$/\1 0/p' -e 's/^# (fail|cancelled) ([0-9]+)$/0 \2/p' "$stage_log" |
            awk '{ ok += $1; bad += $2 } END { print ok + 0, bad + 0 }'
    )
    # A test that finds it cannot run here says so and returns, so the runner counts it as passed.
    while IFS= read -r line; do
        skip "$1: ${line#SKIPPED }"
        skipped=$((skipped + 1))
    done < <(grep -oE 'SKIPPED [^ ]+: .*' "$stage_log" || true)
    while IFS= read -r line; do
        skip "$1: $line"
    done < <(sed -nE -e 's/^test (.*) \.\.\. (ignored.*)/\1: \2/p' \
        -e 's/^ok [0-9]+ - (.*) # SKIP ?(.*)/\1: \2/p' "$stage_log")
    while IFS= read -r line; do
        failures+=("$1: $line")
    done < <(sed -nE -e 's/^test (.*) \.\.\. FAILED$/\1/p' \
        -e 's/^not ok [0-9]+ - (.*)/\1/p' "$stage_log")
    # A stage that failed without a failing test counts as one failure: the last line must not
    # say "0 failed" then.
    if (($2 != 0 && bad == 0)); then
        bad=1
        failures+=("$1")
    fi
    passed=$((passed + ok - skipped))
    failed=$((failed + bad))
}

# skip WHAT: notes something that was left out, with its reason.
skip() {
    skips+=("$1")
}

# summary: prints everything again that matters and returns 1 if anything failed.
summary() {
    rm -f "$stage_log"
    printf '\n==> stages\n'
    printf '  %s\n' "${stages[@]}"
    printf '  %-34s %5d s\n' "all, some beside others" "$SECONDS"
    if ((${#skips[@]} > 0)); then
        printf '\n==> skipped\n'
        printf '  %s\n' "${skips[@]}"
    fi
    if ((${#failures[@]} > 0)); then
        printf '\n==> failed\n'
        printf '  %s\n' "${failures[@]}"
    fi
    printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "${#skips[@]}"
    ((failed == 0))
}
