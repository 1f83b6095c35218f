# Lines: ROUND:TRANSPORT clients=… us_per_event=… p50=… p99=… a_second=…
{
    read_fields()
    split($1, at, ":")
    row = at[2] " " fields["clients"]
    if (!(row in known)) { known[row]; order[++orders] = row }
    if (!(at[2] in first)) first[at[2]] = fields["clients"]
    if (fields["clients"] == first[at[2]]) one[$1] = fields["us_per_event"]
    keep(row " cost", fields["us_per_event"])
    keep(row " ratio", fields["us_per_event"] / one[$1])
    keep(row " rate", fields["a_second"])
    keep(row " p50", fields["p50"])
    keep(row " p99", fields["p99"])
}
END {
    printf "%-12s %8s %10s %14s %6s %7s %9s %9s\n", "transport", "clients", "events/s", "CPU us/event", "ratio", "spread", "p50, us", "p99, us"
    for (n = 1; n <= orders; n++) {
        row = order[n]
        split(row, of, " ")
        printf "%-12s %8d %10.0f %14.1f %6.2f %6.0f%% %9.0f %9.0f\n", of[1], of[2], median(row " rate"),
            median(row " cost"), median(row " ratio"), spread(row " cost"),
            median(row " p50"), median(row " p99")
        if (of[2] != first[of[1]])
            judge("cost an event with " of[2] " clients by " of[1] ", ratio to " first[of[1]], median(row " ratio"), 1.3)
    }
}
