# Writes a C program from include/cometd/cometd.h that calls each function with
# NULL for each of its pointer arguments. It fails for a function whose shape it
# does not know, so that a new function cannot be forgotten.

function fail(why) {
    print "null_arguments.awk: " why > "/dev/stderr"
    failed = 1
    exit 1
}

# A good argument of this type and name.
function good(type, name) {
    if (type == "const char *") {
        if (name == "url") return "\"http://127.0.0.1:1/\""
        if (name == "path") return "\"a/\""
        if (name == "json" || name == "meta") return "\"{}\""
        if (name == "channel" || name == "pattern") return "\"/service/a\""
        if (name == "text") return "\"\""
        if (name == "name" && fn ~ /_builder_set$|_option_find$/) return "\"name\""
        if (name ~ /^(token|user|password|why|header_value|name|protocol|value|pem|pem_chain|pem_key)$/) return "\"x\""
    }
    if (type == "const cometd_option *") return "cometd_option_at(0)"
    if (type == "const void *" && name == "bytes") return "\"x\""
    if (type == "const char *const *" && name == "channels") return "f.channels"
    if (type == "const int32_t *" && name == "transports") return "f.transports"
    if (type ~ /^(const )?cometd_(client|client_builder|receiver|event|error|message) \*$/)
        return "f." name
    if (type == "const char **" && name == "text") return "(const char **)&f.out"
    if (type == "char *" && name == "buf") return "f.buffer"
    if (type == "size_t *" && name == "needed") return "&f.len"
    if (type ~ /^(const )?cometd_(token|handshake|request|extension_message) \*$/)
        return "NULL" # there is one inside a call of the host's code only
    if (type ~ /^cometd_(client|client_builder|receiver|event|error) \*\*$/ && name == "out")
        return "(" type ")&f.out"
    if (type == "cometd_error **" && name == "err") return "&f.err"
    if (type == "uint64_t *" && name == "id") return "&f.id"
    if (type == "size_t *" && name == "len") return "&f.len"
    if (type == "int64_t *") return "&f.number"
    if (type == "int32_t *" && name == "code") return "&f.code"
    if (type == "int64_t *" && name == "id") return "&f.replay_id"
    if (type == "int64_t") return "-1"
    if (type == "cometd_state *" && name == "previous") return "&f.previous"
    if (type ~ /^cometd_(event|events|wake|free|token|log|replay_load|replay_save|extension|handshake|request)_fn$/ || type == "void *") return "NULL"
    if (type == "size_t" && name ~ /^(meta_)?len$/) return "2"
    if (type == "size_t" && name == "cap" && types[i - 1] == "char *") return "sizeof f.buffer"
    if (type == "cometd_event_view *") return "&f.view"
    if (type == "cometd_error_view *") return "&f.error_view"
    if (type == "cometd_event **" && name == "events") return "(cometd_event **)&f.out"
    if (type == "const cometd_event *const *" && name == "events") return "f.events"
    if (type == "size_t *" && name == "count") return "&f.len"
    if (type == "size_t" && name == "size") return fn ~ /^cometd_error/ ? "sizeof f.error_view" : "sizeof f.view"
    if (type == "size_t" && name == "bytes") return "1024"
    if (type == "size_t") return "1"
    if (type == "int32_t" && (name == "request_timeout_ms" || fn ~ /remote_call|with_retries/)) return "1"
    if (type ~ /^(int32_t|uint32_t|cometd_state|cometd_status)$/)
        return type == "uint32_t" ? "1" : "0"
    if (type == "bool") return "true"
    fail("unknown parameter '" type " " name "' of " fn)
}

function is_pointer(type) {
    return type ~ /\*$/ || type ~ /_fn$/
}

# Whether the header lets this one be NULL.
function is_optional(type, name) {
    return name ~ /^(err|id|len|needed|code|previous|password|why|meta|fn|load|save|outgoing|incoming|user|free_user|opaque)$/ && \
           !(name == "user" && type == "const char *")
}

# What comes back for NULL.
function neutral(type) {
    if (fn == "cometd_error_message") return "string"
    if (fn == "cometd_error_retry_in_ms") return "-1"
    if (fn == "cometd_error_status") return "COMETD_OK"
    if (type == "cometd_status") return "COMETD_E_INVALID_ARGUMENT"
    if (type == "cometd_fd") return "-1"
    if (type ~ /\*$/) return "NULL"
    if (type ~ /^(size_t|bool|int32_t|uint32_t|uint64_t|cometd_state)$/) return "0"
    if (type == "void") return "nothing"
    fail("unknown type '" type "' of " fn)
}

# Splits "const char *name" into ptype and pname.
function split_parameter(text,   at) {
    gsub(/^ +| +$/, "", text)
    at = match(text, /[a-z_0-9]+$/)
    if (!at) fail("cannot read '" text "' of " fn)
    pname = substr(text, at)
    ptype = substr(text, 1, at - 1)
    gsub(/ +$/, "", ptype)
}

function call(which,   i, text) {
    text = fn "("
    for (i = 1; i <= count; i++)
        text = text (i > 1 ? ", " : "") (i == which ? "NULL" : values[i])
    return text ")"
}

# Frees what a good call has given.
function release(   k, type) {
    for (k = 1; k <= count; k++)
        if (names[k] == "out") {
            type = types[k]
            sub(/ \*\*$/, "", type)
            printf "    %s_free((%s *)f.out);\n", type, type
        }
}

function emit(returns, expected, i) {
    printf "\nTEST(%s)\n{\n    fixture f = start(%d);\n", fn, needs
    if (returns == "cometd_status")
        print "    cometd_status status = COMETD_OK;\n    (void)status;"
    for (i = 1; i <= count; i++) {
        if (!is_pointer(types[i]))
            continue
        if (is_optional(types[i], names[i])) {
            if (fn ~ /^cometd_token_|_fail$/)
                continue
            printf "    /* %s may be NULL */\n    renew(&f);\n", names[i]
            if (returns == "cometd_status") {
                printf "    status = %s;\n", call(0)
                print "    CHECK_INT(status, !=, COMETD_E_INVALID_ARGUMENT);"
                release()
                printf "    renew(&f);\n    CHECK_STATUS(%s, status);\n", call(i)
                release()
            } else {
                printf "    (void)%s;\n", call(i)
            }
            continue
        }
        printf "    /* %s is NULL */\n    renew(&f);\n", names[i]
        if (expected == "nothing")
            printf "    %s;\n", call(i)
        else if (expected == "NULL")
            printf "    CHECK(%s == NULL);\n", call(i)
        else if (expected == "string")
            printf "    CHECK_STR(%s, \"\");\n", call(i)
        else if (returns == "cometd_status")
            printf "    CHECK_STATUS(%s, %s);\n", call(i), expected
        else
            printf "    CHECK_INT(%s, ==, %s);\n", call(i), expected
        for (k = 1; k <= count; k++) {
            if (k == i)
                continue
            if (names[k] == "err")
                printf "    CHECK_HAS(cometd_error_message(f.err), \"%s\");\n", names[i]
            if (names[k] == "id" || names[k] == "len" && types[k] == "size_t *" ||
                names[k] == "code" || names[k] == "previous")
                printf "    CHECK_INT(%s, ==, 0);\n", substr(values[k], 2)
            if (names[k] == "out")
                printf "    CHECK(f.out == NULL);\n"
        }
    }
    print "    end(&f);\n}"
}

BEGIN {
    print "/* Generated by tests/generate/null_arguments.awk from include/cometd/cometd.h. */"
    print "#include \"null_arguments.h\""
}

/^[a-z].*cometd_[a-z_0-9]+\(/ && !/^typedef/ { declared++ }

/^(\/\/|#|\/\*| \*|typedef|$|extern|})/ && !open { next }

{
    text = text " " $0
    open = !/;/
    if (open)
        next
    line = text
    text = ""
    if (line !~ /\(/)
        next
    # returns, name, parameters
    at = match(line, /cometd_[a-z_0-9]+\(/)
    if (!at)
        fail("cannot read '" line "'")
    fn = substr(line, at, RLENGTH - 1)
    returns = substr(line, 1, at - 1)
    gsub(/^ +| +$/, "", returns)
    parameters = substr(line, at + RLENGTH)
    sub(/\);.*$/, "", parameters)
    gsub(/ +/, " ", parameters)
    functions++
    count = needs = pointers = 0
    if (parameters != "void") {
        count = split(parameters, parts, ",")
        for (i = 1; i <= count; i++) {
            split_parameter(parts[i])
            types[i] = ptype
            names[i] = pname
            pointers += is_pointer(ptype)
            values[i] = good(ptype, pname)
            if (values[i] ~ /^f\.(event|message)$/)
                needs = 1
        }
    }
    expected = pointers ? neutral(returns) : ""
    if (pointers) {
        # Freeing something real would take it from the fixture.
        if (fn ~ /_free$/ && count == 1) {
            printf "\nTEST(%s)\n{\n    %s(NULL);\n}\n", fn, fn
        } else {
            emit(returns, expected)
        }
    }
}

END {
    if (!failed && (!functions || functions != declared))
        fail("found " functions + 0 " functions of " declared + 0)
}
