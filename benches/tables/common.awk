# What the tables have in common. Each line of the results is a key without spaces
# and then NAME=VALUE pairs.

# Sets fields[NAME] of a line, from its second word on.
function read_fields(   n, pair) {
    split("", fields)
    for (n = 2; n <= NF; n++) { split($n, pair, "="); fields[pair[1]] = pair[2] }
}

function keep(key, number) { value[key, ++count[key]] = number + 0 }

# Sorts the values of a key; 0 when there are none.
function median(key,   n, m, held) {
    for (n = 2; n <= count[key]; n++) {
        held = value[key, n]
        for (m = n - 1; m >= 1 && value[key, m] > held; m--) value[key, m + 1] = value[key, m]
        value[key, m + 1] = held
    }
    n = count[key]
    if (n == 0) return 0
    return n % 2 ? value[key, (n + 1) / 2] : (value[key, n / 2] + value[key, n / 2 + 1]) / 2
}

# Largest less smallest in percent of the median. After median() only.
function spread(key,   middle) {
    middle = median(key)
    return middle ? (value[key, count[key]] - value[key, 1]) / middle * 100 : 0
}

function bytes(number) { return number >= 1000 ? number / 1000 " KB" : number " B" }

# Counts a cell of a target, and keeps it for the end when it is missed; `missed`
# is the file for that, `cells` the one for the number.
function judge(name, number, limit, strictly) {
    judged++
    if (number > limit || (strictly && number >= limit))
        printf "%s: %.2f, target %s %s\n", name, number, strictly ? "<" : "<=", limit >missed
}
END { if (cells != "") print judged + 0 >>cells }
