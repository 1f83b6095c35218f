# Lines: ROUND:RATE program=… a_second=… p50=… p99=…
{
    read_fields()
    split($1, at, ":")
    if (!(at[2] in known)) { known[at[2]]; order[++orders] = at[2] }
    keep(at[2] " " fields["program"] " p50", fields["p50"])
    keep(at[2] " " fields["program"] " p99", fields["p99"])
    keep(at[2] " " fields["program"] " rate", fields["a_second"])
}
END {
    program_count = split(programs, program, " ")
    printf "%10s", "events/s"
    for (p = 1; p <= program_count; p++) printf " | %12s %7s %7s", program[p] ", p50", "spread", "p99"
    print ""
    for (n = 1; n <= orders; n++) {
        printf "%10s", order[n]
        for (p = 1; p <= program_count; p++) {
            key = order[n] " " program[p]
            printf " | %12.0f %6.0f%% %7.0f", median(key " p50"), spread(key " p50"), median(key " p99")
            reached = median(key " rate")
            if (reached < 0.8 * order[n]) slower = slower sprintf("at %s a second %s got %.0f\n", order[n], program[p], reached)
        }
        print ""
    }
    printf "%s", slower
}
