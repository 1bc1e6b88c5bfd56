# Joins bench/goals.txt with the GOAL and SKIP lines of a run. Writes the verdicts to stdout and,
# as JSON lines, to the file JSON. Arguments: goals.txt first, then the logs.

function trim(text) {
    gsub(/^[ \t]+|[ \t]+$/, "", text)
    return text
}

function json(name, status, reason) {
    printf "{\"kind\":\"goal\",\"name\":\"%s\",\"status\":\"%s\"", name, status > JSON
    printf ",\"op\":\"%s\",\"goal\":%s,\"stretch\":%s", op[name], goal[name], stretch[name] > JSON
    printf ",\"what\":\"%s\",\"reason\":\"%s\"", what[name], reason > JSON
    if (name in value)
        printf ",\"ratio\":%s,\"q1\":%s,\"q3\":%s,\"rounds\":%d", value[name], low[name], high[name], rounds[name] > JSON
    print "}" > JSON
}

FNR == 1 { file++ }

file == 1 {
    if ($0 ~ /^#/ || $0 ~ /^[ \t]*$/) next
    split($0, part, "|")
    name = trim(part[1])
    order[++count] = name
    op[name] = trim(part[2])
    goal[name] = trim(part[3])
    stretch[name] = trim(part[4])
    what[name] = trim(part[5])
    next
}

$1 == "GOAL" && NF >= 6 { value[$2] = $3; low[$2] = $4; high[$2] = $5; rounds[$2] = $6 }
$1 == "SKIP" { name = $2; $1 = $2 = ""; gsub(/["\\]/, ""); skip[name] = trim($0) }

END {
    printf "%-32s %10s %10s %21s  %s\n", "goal", "measured", "wanted", "quartiles", "verdict"
    for (i = 1; i <= count; i++) {
        name = order[i]
        wanted = op[name] " " goal[name]
        if (!(name in value)) {
            reason = (name in skip) ? skip[name] : "no bench measured it"
            printf "%-32s %10s %10s %21s  SKIP %s\n", name, "-", wanted, "-", reason
            json(name, "SKIP", reason)
            skipped++
            continue
        }
        met = op[name] == "<=" ? value[name] + 0 <= goal[name] + 0 : value[name] + 0 >= goal[name] + 0
        far = op[name] == "<=" ? value[name] + 0 <= stretch[name] + 0 : value[name] + 0 >= stretch[name] + 0
        # Where the goal lies between the quartiles the run could have said either.
        close_call = rounds[name] > 1 && low[name] + 0 <= goal[name] + 0 && goal[name] + 0 <= high[name] + 0
        reason = what[name] (far ? " (stretch " stretch[name] " met)" : "") \
            (close_call ? " (within the noise)" : "")
        printf "%-32s %10.4g %10s %21s  %s %s\n", name, value[name], wanted, \
            sprintf("%.4g .. %.4g", low[name], high[name]), met ? "PASS" : "SHORT", reason
        json(name, met ? "PASS" : "SHORT", "")
        if (met) passed++
        else fell++
    }
    printf "%d PASS, %d SHORT, %d SKIP\n", passed, fell, skipped
}
