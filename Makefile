# libcometd: build, try, test, install.
#
#   make            the library, in build/lib, and the tools, in build/bin
#   make demo       live events in a C program, from the bundled demo server
#   make check      a developer's loop: format, lint, unit tests; a minute after a build
#   make test       all tests that need no other server
#   make mutants    what no unit test notices: a sample, or FILE=src/bayeux/body.rs, or SHARD=1/8
#   make bench      what it costs, beside what it could cost at best
#   make man        the man pages, in build/man
#   make html       the manual as HTML, in build/html; needs doxygen
#   make install    PREFIX=/usr/local DESTDIR=
#   make uninstall

PREFIX ?= /usr/local
DESTDIR ?=
includedir ?= $(PREFIX)/include
libdir ?= $(PREFIX)/lib

CC ?= cc
CXX ?= c++
CARGO ?= cargo
CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wpedantic -Werror

BUILD = build
TARGET = $(or $(CARGO_TARGET_DIR),target)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SONAME = libcometd.so.0

.PHONY: all lib tools demo check test mutants bench soak install uninstall clean prerequisites

all: lib tools

# One clear line for each tool that is missing.
prerequisites:
	@command -v $(CARGO) >/dev/null || { echo "missing: cargo, from https://rustup.rs" >&2; exit 1; }
	@command -v $(CC) >/dev/null || { echo "missing: a C compiler; Debian and Ubuntu: apt install build-essential" >&2; exit 1; }
	@command -v pkg-config >/dev/null || { echo "missing: pkg-config; Debian and Ubuntu: apt install pkg-config libssl-dev" >&2; exit 1; }
	@pkg-config --exists openssl || { echo "missing: OpenSSL's headers; Debian and Ubuntu: apt install libssl-dev" >&2; exit 1; }

lib: prerequisites
	@$(CARGO) build --release --locked -p cometd -p cometd-demo-server
	@mkdir -p $(BUILD)/lib $(BUILD)/bin
	@install -m 755 $(TARGET)/release/libcometd.so $(BUILD)/lib/$(SONAME)
	@ln -sf $(SONAME) $(BUILD)/lib/libcometd.so
	@install -m 644 $(TARGET)/release/libcometd.a $(BUILD)/lib/libcometd.a
	@install -m 755 $(TARGET)/release/cometd_demo_server $(BUILD)/bin/cometd_demo_server

# Examples are programs of the library's users: built from the tree as from
# anywhere else, with the headers and the library and nothing more.
EXAMPLES_C = $(patsubst examples-c/%.c,$(BUILD)/bin/%,$(wildcard examples-c/*.c))
EXAMPLES_CPP = $(patsubst examples-c/%.cpp,$(BUILD)/bin/%_cpp,$(wildcard examples-c/*.cpp))
LINK = -L$(BUILD)/lib -lcometd -Wl,-rpath,'$$ORIGIN/../lib'

.PHONY: examples
examples: lib
	@$(MAKE) --no-print-directory $(EXAMPLES_C) $(EXAMPLES_CPP)

$(BUILD)/bin/%: examples-c/%.c include/cometd/cometd.h $(BUILD)/lib/$(SONAME)
	@$(CC) -std=c99 -D_POSIX_C_SOURCE=200809L $(WARNINGS) $(CFLAGS) -Iinclude $< -o $@ $(LINK)

$(BUILD)/bin/%_cpp: examples-c/%.cpp include/cometd/cometd.h include/cometd/cometd.hpp $(BUILD)/lib/$(SONAME)
	@$(CXX) -std=c++17 $(WARNINGS) $(CXXFLAGS) -Iinclude $< -o $@ $(LINK)

# The commands, programs of the library's users as well; what they share is in files
# without a main.
TOOLS = cometd_sub cometd_pub cometd_rpc cometd_bench
TOOLS_SHARED = $(patsubst tools/%.c,$(BUILD)/tools/%.o,$(filter-out tools/cometd_%,$(wildcard tools/*.c)))

tools: lib
	@$(MAKE) --no-print-directory $(TOOLS:%=$(BUILD)/bin/%)

$(BUILD)/tools/%.o: tools/%.c $(wildcard tools/*.h) include/cometd/cometd.h
	@mkdir -p $(BUILD)/tools
	@$(CC) -std=c99 -D_POSIX_C_SOURCE=200809L $(WARNINGS) $(CFLAGS) -Iinclude -c $< -o $@

$(TOOLS:%=$(BUILD)/bin/%): $(BUILD)/bin/%: $(BUILD)/tools/%.o $(TOOLS_SHARED) $(BUILD)/lib/$(SONAME)
	@$(CC) $(CFLAGS) $< $(TOOLS_SHARED) -o $@ -pthread $(LINK)

demo: examples
	@sh examples-c/demo.sh $(BUILD)

# Of the session's random lives a few; COMETD_SEEDS=1000 for more.
check: prerequisites
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@COMETD_SEEDS=$${COMETD_SEEDS:-50} $(CARGO) test -p cometd --lib --locked --quiet

test: examples tools
	@bash tests/run

# Changes one place of the sources at a time, and runs the unit tests: each line
# that says MISSED is a change that none of them has seen. Without FILE a sample of
# all of src, some twenty minutes long; SHARD=7/64 is another one.
FILE ?=
SHARD ?= $(if $(FILE),,0/64)
mutants: prerequisites
	@command -v cargo-mutants >/dev/null || { echo "missing: cargo-mutants; cargo install cargo-mutants --locked" >&2; exit 1; }
	@mkdir -p $(BUILD)/mutants
	@COMETD_SEEDS=$${COMETD_SEEDS:-30} $(CARGO) mutants --package cometd --output $(BUILD)/mutants \
	    $(FILE:%=--file '%') $(if $(SHARD),--sharding round-robin --shard $(SHARD)) \
	    --minimum-test-timeout 60 --cargo-test-arg=--lib

bench: lib
	@bash benches/run

# As long as SOAK_SECONDS says.
SOAK_SECONDS ?= 600
soak: lib
	@bash tests/soak $(SOAK_SECONDS)

# What the pages say of their date is the same for the same sources.
MAN_DATE ?= $(shell git log -1 --format=%cs 2>/dev/null || date -r CHANGELOG.md +%F)
.PHONY: man html
man: prerequisites
	@$(CARGO) run --release --locked --quiet -p cometd-manual -- . "$(MAN_DATE)" $(BUILD)/man

html:
	@command -v doxygen >/dev/null || { echo "missing: doxygen; Debian and Ubuntu: apt install doxygen" >&2; exit 1; }
	@mkdir -p $(BUILD)/html
	@(cat manual/Doxyfile; echo "PROJECT_NUMBER = $(VERSION)"; echo "HTML_OUTPUT = $(BUILD)/html") | doxygen -

# Installs what `make` has built, and needs nothing but install and sed: `sudo
# make install` does not run cargo.
INSTALL ?= install
HEADERS = cometd.h cometd.hpp
PC_DIR = $(libdir)/pkgconfig

install:
	@for file in $(SONAME) libcometd.a; do \
	    [ -e "$(BUILD)/lib/$$file" ] || { echo "missing: $(BUILD)/lib/$$file; run make first" >&2; exit 1; }; \
	done
	$(INSTALL) -d "$(DESTDIR)$(libdir)" "$(DESTDIR)$(PC_DIR)" "$(DESTDIR)$(includedir)/cometd"
	$(INSTALL) -m 755 $(BUILD)/lib/$(SONAME) "$(DESTDIR)$(libdir)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(libdir)/libcometd.so"
	$(INSTALL) -m 644 $(BUILD)/lib/libcometd.a "$(DESTDIR)$(libdir)/libcometd.a"
	for header in $(HEADERS); do \
	    $(INSTALL) -m 644 include/cometd/$$header "$(DESTDIR)$(includedir)/cometd/$$header" || exit 1; \
	done
	sed -e 's|@prefix@|$(PREFIX)|' -e 's|@version@|$(VERSION)|' \
	    -e 's|@includedir@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(includedir))|' \
	    -e 's|@libdir@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(libdir))|' \
	    cometd.pc.in >"$(DESTDIR)$(PC_DIR)/cometd.pc"
	chmod 644 "$(DESTDIR)$(PC_DIR)/cometd.pc"

uninstall:
	rm -f "$(DESTDIR)$(libdir)/$(SONAME)" "$(DESTDIR)$(libdir)/libcometd.so" "$(DESTDIR)$(libdir)/libcometd.a"
	rm -f "$(DESTDIR)$(PC_DIR)/cometd.pc" $(HEADERS:%="$(DESTDIR)$(includedir)/cometd/%")
	-[ ! -d "$(DESTDIR)$(includedir)/cometd" ] || rmdir "$(DESTDIR)$(includedir)/cometd"

clean:
	rm -rf $(BUILD)
	$(CARGO) clean
