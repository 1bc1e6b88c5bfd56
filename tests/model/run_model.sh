#!/bin/bash
# Runs the model of the coherence protocol: `make model`.
#
#     tests/model/run_model.sh MODEL.pml [full]
#
# The protocol must hold in every configuration and each mutant must fail in its own. Exit status 1
# otherwise, 77 without spin. `full` adds the configurations with more of everything; they take
# minutes and gigabytes.

set -u -o pipefail
[ $# -ge 1 ] || { echo "usage: $0 MODEL.pml [full]" >&2; exit 2; }
model=$(realpath "$1") full=${2:-}
command -v spin >/dev/null || { echo "skipped: no spin (apt-get install spin)"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-model.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
bad=0 total=0

# search DIR OPTIONS...: what the verifier said is in DIR/out.
search() {
    local dir=$1
    shift
    mkdir -p "$dir"
    (cd "$dir" && spin -a "$@" "$model" >spin.out 2>&1 &&
        ${CC:-cc} -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=8000 -o pan pan.c >cc.out 2>&1 &&
        ./pan -m1000000 -n >out 2>&1)
}
states() { sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$1/out"; }
failed() { grep -q 'errors: [1-9]' "$1/out"; }
complete() { grep -q 'states, stored' "$1/out" && ! grep -q 'Search not completed\|max search depth too small' "$1/out"; }

# holds NAME OPTIONS...
holds() {
    local name=$1 dir=$work/$1
    shift
    search "$dir" "$@"
    if failed "$dir"; then
        printf '%-34s VIOLATED: %s\n' "$name" "$(grep -m1 'assertion violated\|invalid end' "$dir/out")"
        bad=1
    elif ! complete "$dir"; then
        printf '%-34s NOT COMPLETED: %s\n' "$name" "$(tail -n 3 "$dir"/*out | tr '\n' ' ')"
        bad=1
    else
        printf '%-34s holds, %d states (%s)\n' "$name" "$(states "$dir")" "$*"
        total=$((total + $(states "$dir")))
    fi
    rm -rf "$dir"
}

# mutant NAME OPTIONS...: the model without one rule must fail.
mutant() {
    local name=$1 dir=$work/$1
    shift
    search "$dir" "-DM_$name" "$@"
    if failed "$dir"; then
        printf '%-34s caught: %s\n' "$name" \
            "$(sed -n 's/.*assertion violated \(.*\) (at depth.*/\1/p' "$dir/out" | head -n 1)"
    else
        printf '%-34s NOT CAUGHT (%s)\n' "$name" "$*"
        bad=1
    fi
    rm -rf "$dir"
}

# case NAME "MUTANTS" OPTIONS...: the protocol holds there, and fails without one of these rules.
case_of() {
    local name=$1 mutants=$2 mutant
    shift 2
    holds "$name" "$@"
    for mutant in $mutants; do
        mutant "$mutant" "$@"
    done
}

case_of reads_and_writes "NO_TICKET ENTRY_BEFORE_PROOF" -DREADS=2 -DWRITES_B=1
case_of cut_link "LAST_BY_FIRST_BEAT RESUME_NOT_OBSERVED" -DREADS=1 -DWRITES_B=1 -DCUTS=1
case_of resume_in_parts "PART_TO_TOP" -DREADS=1 -DWRITES_B=1 -DOTHERS=1 -DCUTS=1 -DPARTS=2
case_of own_write_and_cut "NO_OBSERVE_ON_ACK" -DREADS=2 -DWRITES_A=1 -DWRITES_B=0 -DCUTS=1
case_of dropped_messages "RESUME_BELOW_C0" -DREADS=1 -DWRITES_B=1 -DOTHERS=2 -DDROPS=2
case_of ended_lease "" -DREADS=1 -DWRITES_B=2 -DLEASES=1
case_of promotion "BEAT_WITHOUT_WRITE" -DREADS=1 -DWRITES_B=1 -DPROMOTES=1
case_of flush "NO_EPOCH NO_INCARNATION" -DREADS=1 -DWRITES_B=1 -DFLUSHES=1 -DOTHERS=1
case_of restart_with_a_lost_suffix "NO_RUN_TEST" -DREADS=1 -DWRITES_B=2 -DRESTARTS=1
case_of index_evicted_and_cut "NO_FLOOR_TEST NO_E_TEST" -DREADS=1 -DWRITES_B=1 -DEVICT_W=1 -DCUTS=1
case_of clock_evicted "FORGET_TO_C1" -DREADS=1 -DWRITES_B=1 -DEVICT_S=1 -DOTHERS=1
case_of write_given_up "GIVE_UP_EARLY NO_NOT_AFTER" -DREADS=0 -DWRITES_A=1 -DWRITES_B=1 -DTIMEOUTS=1
case_of replay_on_a_live_link "REPLAY_ON_RECONNECT" -DREADS=0 -DWRITES_A=1 -DWRITES_B=0 -DTIMEOUTS=1
case_of outage_writes "STAMP_WITHOUT_SEEN" -DREADS=0 -DWRITES_A=2 -DWRITES_B=1 -DCUTS=1
case_of own_order "FORGET_NEWER NO_FOLLOW NO_DOUBT" -DREADS=0 -DWRITES_A=1 -DWRITES_B=1 -DHASTY=1 -DTIMEOUTS=1 -DLOST=1
case_of own_read "NO_SUPERSEDE" -DREADS=1 -DWRITES_A=1 -DWRITES_B=0 -DHASTY=1 -DLOST=1
case_of loader "LOADED_BY_WRITE" -DREADS=2 -DWRITES_B=1 -DLOADS=1
if [ "$full" = full ]; then
    holds two_reads_two_writes -DREADS=2 -DWRITES_B=2
    holds two_cuts -DREADS=2 -DWRITES_B=2 -DCUTS=2
    holds cut_and_drop -DREADS=1 -DWRITES_B=2 -DCUTS=1 -DDROPS=1
    holds flush_and_cut -DREADS=1 -DWRITES_B=2 -DFLUSHES=1 -DCUTS=1
    holds promotion_and_drop -DREADS=1 -DWRITES_B=2 -DPROMOTES=1 -DDROPS=1
    holds given_up_in_an_outage -DREADS=1 -DWRITES_A=2 -DWRITES_B=1 -DTIMEOUTS=1 -DCUTS=1
fi
echo "$total states in all in which the protocol holds."
exit "$bad"
