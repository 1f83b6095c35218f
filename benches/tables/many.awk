# Lines: ROUND:many clients=… us_per_event=… p50=… p99=… a_second=…
{
    read_fields()
    split($1, at, ":")
    number = fields["clients"]
    if (!(number in known)) { known[number]; order[++orders] = number }
    if (orders && number == order[1]) one[at[1]] = fields["us_per_event"]
    keep(number " cost", fields["us_per_event"])
    keep(number " ratio", fields["us_per_event"] / one[at[1]])
    keep(number " rate", fields["a_second"])
    keep(number " p50", fields["p50"])
    keep(number " p99", fields["p99"])
}
END {
    printf "%8s %10s %14s %6s %7s %9s %9s\n", "clients", "events/s", "CPU us/event", "ratio", "spread", "p50, us", "p99, us"
    for (n = 1; n <= orders; n++) {
        number = order[n]
        printf "%8d %10.0f %14.1f %6.2f %6.0f%% %9.0f %9.0f\n", number, median(number " rate"),
            median(number " cost"), median(number " ratio"), spread(number " cost"),
            median(number " p50"), median(number " p99")
        if (n > 1) judge("cost an event with " number " clients, ratio to " order[1], median(number " ratio"), 1.3)
    }
}
