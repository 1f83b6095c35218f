# A fresh Debian 12 with Debian's own Rust, for tests that begin where README does.
# Sourced behind helpers.bash. Packages come from where this machine's apt gets
# them, and crates from where its cargo does.
command -v debootstrap >/dev/null || fail "missing: debootstrap; Debian and Ubuntu: apt install debootstrap"

# Mounts of its own, which end with it.
if [[ -z ${COMETD_OWN_MOUNTS:-} ]]; then
    if [[ $(id -u) != 0 ]] || ! unshare --mount --propagation private true 2>/dev/null ||
        ! mknod "$WORK/null" c 1 3 2>/dev/null || ! chroot / true 2>/dev/null; then
        echo "not run: $TEST, because root, chroot, mknod and mounts are needed, and this system does not allow them"
        exit 0
    fi
    status=0
    COMETD_OWN_MOUNTS=1 unshare --mount --propagation private bash "$0" || status=$?
    exit "$status"
fi

ROOT=$WORK/root
end_root() {
    local status=$?
    umount "$ROOT/proc" 2>/dev/null
    # Never what another file system holds, should something still be mounted.
    rm -rf --one-file-system "$ROOT"
    (exit "$status")
    helper_end
}
step() { echo "$TEST: $* ($SECONDS s)"; }

# in_root COMMAND: runs it in the folder of the clone; what it says is in root.out.
in_root() {
    chroot "$ROOT" env -i "${ENVIRONMENT[@]}" bash -euc "cd /src; $1" >"$WORK/root.out" 2>&1 || fail "in the root: $1"
}

# in_root_line BEGINNING: the first line of README that begins so, without sudo.
# Of packages those that it names, and none that they only recommend.
in_root_line() {
    local line
    line=$(sed -n "s/^\(sudo \)*\($1.*\)/\2/p" README.md | head -n 1)
    [[ -n $line ]] || fail "README.md has no line that begins with '$1'"
    line=${line//sudo /}
    step "$line"
    in_root "${line//apt install/apt-get install -y -q --no-install-recommends}"
}

# make_root: the root, with README's packages and a clone in /src.
make_root() {
    local mirror file variable authorities
    trap end_root EXIT
    step "a root"
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^bookworm \(.*\)/\1/p' | head -n 1)
    debootstrap --variant=minbase bookworm "$ROOT" ${mirror:+"$mirror"} >"$WORK/debootstrap.out" 2>&1 || fail "debootstrap"
    mount -t proc proc "$ROOT/proc"
    cp /etc/resolv.conf /etc/hosts "$ROOT/etc/"
    echo force-unsafe-io >"$ROOT/etc/dpkg/dpkg.cfg.d/quick"
    if [[ -n $mirror ]]; then
        # Security and other updates with it.
        rm -f "$ROOT/etc/apt/sources.list"
        for file in sources.list sources.list.d/debian.sources apt.conf auth.conf; do
            [[ ! -e /etc/apt/$file ]] || cp "/etc/apt/$file" "$ROOT/etc/apt/$file"
        done
        grep -lsE '^ *Acquire::' /etc/apt/apt.conf.d/* | xargs -r cp -t "$ROOT/etc/apt/apt.conf.d"
    fi
    ENVIRONMENT=(HOME=/home LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        DEBIAN_FRONTEND=noninteractive no_proxy="$no_proxy")
    for variable in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do
        [[ -z ${!variable:-} ]] || ENVIRONMENT+=("$variable=${!variable}")
    done
    while IFS= read -r variable; do
        ENVIRONMENT+=("$variable=${!variable}")
    done < <(compgen -e | grep -E '^CARGO_(NET|HTTP|SOURCE|REGISTRIES|REGISTRY)_' || true)
    mkdir -p "$ROOT/home/.cargo"
    cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$ROOT/home/.cargo/" 2>/dev/null || true
    # Whom this machine trusts.
    authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    if [[ -e $authorities ]]; then
        cp "$authorities" "$ROOT/home/authorities.crt"
        ENVIRONMENT+=(CARGO_HTTP_CAINFO=/home/authorities.crt)
    fi
    mkdir "$ROOT/src"
    git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$ROOT/src"
    in_root 'apt-get update -q'
    in_root_line 'apt install '
    in_root '! command -v rustup && cargo --version && rustc --version'
    step "$(grep '^cargo' "$WORK/root.out")"
}
