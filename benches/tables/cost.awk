# Lines: ROUND:SHAPE program=… us_per_event=…
# The ratio is the median of the rounds' ratios: what a round's noise does, it does
# to all programs of the round.
{
    read_fields()
    split($1, at, ":")
    keep(at[2] " " fields["program"], fields["us_per_event"])
    in_round[$1, fields["program"]] = fields["us_per_event"]
    rounds = at[1] > rounds ? at[1] : rounds
}
function ratio_to(yardstick, shape, program,   round, key) {
    key = shape " " program " to " yardstick
    for (round = 1; round <= rounds; round++)
        if (in_round[round ":" shape, yardstick] > 0 && (round ":" shape, program) in in_round)
            keep(key, in_round[round ":" shape, program] / in_round[round ":" shape, yardstick])
    return key
}
END {
    shape_count = split(shapes, shape, " ")
    program_count = split(programs, program, " ")
    printf "%-6s %7s %10s %7s", "events", "payload", "yardstick", "spread"
    for (p = 1; p <= program_count; p++) printf " | %9s %5s %7s", program[p], "ratio", "spread"
    print ""
    for (s = 1; s <= shape_count; s++) {
        split(shape[s], part, "/")
        base = shape[s] " yardstick"
        printf "%-6s %7s %10.3f %6.0f%%", part[1], bytes(part[2]), median(base), spread(base)
        for (p = 1; p <= program_count; p++) {
            if (!count[shape[s] " " program[p]]) { printf " | %9s %5s %7s", "-", "-", "-"; continue }
            key = ratio_to("yardstick", shape[s], program[p])
            printf " | %9.3f %5.2f %6.0f%%", median(shape[s] " " program[p]), median(key), spread(key)
            if (program[p] !~ /^(poll_many|poll|callback)$/) continue
            name = part[1] " x " bytes(part[2]) " by " program[p]
            judge(name ", ratio to the yardstick", median(key), part[1] >= 10 ? 1.15 : 1.25)
            if (count[shape[s] " curl"])
                judge(name ", ratio to libcurl + cJSON", median(ratio_to("curl", shape[s], program[p])), 1, 1)
        }
        print ""
    }
}
