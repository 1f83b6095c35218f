# Lines: SHAPE program=… events=… received=… instructions=…, two for each shape and
# program, whose difference is without what the start costs.
{
    read_fields()
    key = $1 " " fields["program"]
    split($1, part, "/")
    if (key in received) {
        responses = (fields["received"] - received[key]) / part[1]
        if (responses != 0) a_response[key] = (fields["instructions"] - instructions[key]) / responses
    }
    received[key] = fields["received"]
    instructions[key] = fields["instructions"]
}
END {
    shape_count = split(shapes, shape, " ")
    program_count = split(programs, program, " ")
    printf "%-6s %7s %10s", "events", "payload", "yardstick"
    for (p = 1; p <= program_count; p++) printf " | %9s %5s", program[p], "ratio"
    print ""
    for (s = 1; s <= shape_count; s++) {
        split(shape[s], part, "/")
        base = a_response[shape[s] " yardstick"]
        printf "%-6s %7s", part[1], bytes(part[2])
        if (base) printf " %10.0f", base
        else printf " %10s", "-"
        for (p = 1; p <= program_count; p++) {
            it = a_response[shape[s] " " program[p]]
            if (it && base) printf " | %9.0f %5.2f", it, it / base
            else printf " | %9s %5s", "-", "-"
        }
        print ""
    }
}
