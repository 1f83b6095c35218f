# Lines: ROUND:MODE:SHAPE program=… us_per_event=…, where MODE is flood, pushed or, by
# long polling, polled. Ratios are medians of the rounds' ratios, as those of cost.
{
    read_fields()
    split($1, at, ":")
    row = at[2] " " at[3]
    keep(row " " fields["program"], fields["us_per_event"])
    in_round[at[1], row, fields["program"]] = fields["us_per_event"]
    rounds = at[1] > rounds ? at[1] : rounds
}
function ratio_to_yardstick(row, program,   round, key) {
    key = row " " program " ratio"
    for (round = 1; round <= rounds; round++)
        if (in_round[round, row, "yardstick"] > 0)
            keep(key, in_round[round, row, program] / in_round[round, row, "yardstick"])
    return key
}
END {
    shape_count = split(shapes, shape, " ")
    split("flood pushed", mode, " ")
    split("poll_many callback", program, " ")
    printf "%-6s %-6s %7s %10s %7s", "mode", "events", "payload", "yardstick", "spread"
    for (p = 1; p <= 2; p++) printf " | %9s %5s %7s", program[p], "ratio", "spread"
    printf " | %12s\n", "long polling"
    for (m = 1; m <= 2; m++) for (s = 1; s <= shape_count; s++) {
        split(shape[s], part, "/")
        row = mode[m] " " shape[s]
        base = row " yardstick"
        printf "%-6s %-6s %7s %10.3f %6.0f%%", mode[m], part[1], bytes(part[2]), median(base), spread(base)
        for (p = 1; p <= 2; p++) {
            key = ratio_to_yardstick(row, program[p])
            printf " | %9.3f %5.2f %6.0f%%", median(row " " program[p]), median(key), spread(key)
            judge(part[1] " x " bytes(part[2]) " over WebSocket, " mode[m] ", by " program[p] \
                ", ratio to the yardstick", median(key), 1.15)
        }
        printf " | %12.3f\n", median("polled " shape[s] " poll_many")
    }
}
