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
!code {
    while (match($0, /`[^`]*::[^`]*`/)) {
        span = substr($0, RSTART + 1, RLENGTH - 2)
        gsub(/::/, "\\::", span)
        $0 = substr($0, 1, RSTART - 1) "<code>" span "</code>" substr($0, RSTART + RLENGTH)
    }
}
{ print }
