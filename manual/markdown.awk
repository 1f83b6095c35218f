# What Doxygen reads of Markdown in another way than GitHub: headings have the
# names that links give them, and a "::" in code is no link.
/^```/ { code = !code }
!code && FILENAME ~ /README/ && /^##+ / {
    id = tolower($0)
    sub(/^#+ /, "", id)
    gsub(/[^a-z0-9 -]/, "", id)
    gsub(/ /, "-", id)
    $0 = $0 " {#" id "}"
}
!code && /::/ {
    count = split($0, parts, "`")
    line = parts[1]
    for (i = 2; i <= count; i++) {
        if (i % 2 == 0 && parts[i] ~ /::/) {
            gsub(/::/, "\\::", parts[i])
            line = line "<code>" parts[i] "</code>" parts[++i]
        } else {
            line = line "`" parts[i]
        }
    }
    $0 = line
}
{ print }
