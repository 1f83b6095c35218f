# libcometd: build, try, test, install.
#
#   make            the library, in build/lib, and the tools, in build/bin
#   make demo       live events in a C program, from the bundled demo server
#   make check      a developer's loop: format, lint, unit tests; a minute after a build
#   make test       all tests that need no other server
#   make mutants    what no unit test notices: a sample, or FILE=src/bayeux/body.rs, or SHARD=1/8
#   make sanitizers what they find in C programs, in the library and in its unit tests; takes long
#   make platforms  what runs of it on other platforms; installs compilers and emulators
#   make bench      what it costs, beside what it could cost at best
#   make man        the man pages, in build/man
#   make html       the manual as HTML, in build/html; needs doxygen
#   make install    PREFIX=/usr/local DESTDIR=
#   make uninstall
#   make deb        libcometd0, libcometd-dev, cometd-tools, in build/deb
#   make tarball    library, headers, manual and examples for machines without Rust, in build
#
# CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu builds for another machine, in
# build/aarch64-unknown-linux-gnu.

PREFIX ?= /usr/local
DESTDIR ?=
includedir ?= $(PREFIX)/include
libdir ?= $(PREFIX)/lib
bindir ?= $(PREFIX)/bin
datadir ?= $(PREFIX)/share
mandir ?= $(datadir)/man

# With a target, the tools that Debian and others have for it.
export CARGO_BUILD_TARGET ?=
ifneq ($(CARGO_BUILD_TARGET),)
CROSS := $(subst -unknown,,$(CARGO_BUILD_TARGET))
ifeq ($(origin CC),default)
CC = $(CROSS)-gcc
endif
ifeq ($(origin CXX),default)
CXX = $(CROSS)-g++
endif
STRIP ?= $(CROSS)-strip
OBJCOPY ?= $(CROSS)-objcopy
CROSS_LINKER := CARGO_TARGET_$(shell echo $(CARGO_BUILD_TARGET) | tr a-z- A-Z_)_LINKER
export $(CROSS_LINKER) ?= $(CC)
export PKG_CONFIG_ALLOW_CROSS ?= 1
export PKG_CONFIG_LIBDIR ?= /usr/lib/$(CROSS)/pkgconfig:/usr/share/pkgconfig
else
unexport CARGO_BUILD_TARGET
endif

CC ?= cc
CXX ?= c++
STRIP ?= strip
OBJCOPY ?= objcopy
CARGO ?= cargo
CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wpedantic -Werror

BUILD = build$(CARGO_BUILD_TARGET:%=/%)
TARGET = $(or $(CARGO_TARGET_DIR),target)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RELEASE = $(TARGET)/$(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)release
SONAME = libcometd.so.0
SHARED = libcometd.so.$(VERSION)

.PHONY: all lib tools demo check test mutants sanitizers platforms bench soak install uninstall deb tarball symbols clean prerequisites

all: lib tools

# One clear line for each tool that is missing.
prerequisites:
	@command -v $(CARGO) >/dev/null || { echo "missing: cargo, from https://rustup.rs" >&2; exit 1; }
	@command -v $(CC) >/dev/null || { echo "missing: a C compiler; Debian and Ubuntu: apt install build-essential" >&2; exit 1; }
	@command -v pkg-config >/dev/null || { echo "missing: pkg-config; Debian and Ubuntu: apt install pkg-config libssl-dev" >&2; exit 1; }
	@pkg-config --exists openssl || { echo "missing: OpenSSL's headers; Debian and Ubuntu: apt install libssl-dev" >&2; exit 1; }

lib: prerequisites
	@CARGO=$(CARGO) sh packaging/build.sh -p cometd -p cometd-demo-server
	@mkdir -p $(BUILD)/lib $(BUILD)/bin
	@install -m 755 $(RELEASE)/libcometd.so $(BUILD)/lib/$(SHARED)
	@ln -sf $(SHARED) $(BUILD)/lib/$(SONAME)
	@ln -sf $(SONAME) $(BUILD)/lib/libcometd.so
	@install -m 644 $(RELEASE)/libcometd.a $(BUILD)/lib/libcometd.a
	@install -m 755 $(RELEASE)/cometd_demo_server $(BUILD)/bin/cometd_demo_server

# Examples are programs of the library's users: built from the tree as from
# anywhere else, with the headers and the library and nothing more.
EXAMPLES_C = $(patsubst examples-c/%.c,$(BUILD)/bin/%,$(wildcard examples-c/*.c))
EXAMPLES_CPP = $(patsubst examples-c/%.cpp,$(BUILD)/bin/%_cpp,$(wildcard examples-c/*.cpp))
LINK = -L$(BUILD)/lib -lcometd -Wl,-rpath,'$$ORIGIN/../lib'

.PHONY: examples
examples: lib
	@$(MAKE) --no-print-directory $(EXAMPLES_C) $(EXAMPLES_CPP)
	@CC="$(CC)" CXX="$(CXX)" CFLAGS="$(CFLAGS)" CXXFLAGS="$(CXXFLAGS)" sh examples-c/loops/build.sh $(BUILD)

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

sanitizers: lib
	@bash tests/sanitizers/check

platforms: lib
	@bash tests/platforms/check

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
	@env -u CARGO_BUILD_TARGET $(if $(CARGO_BUILD_TARGET),-u PKG_CONFIG_LIBDIR -u PKG_CONFIG_ALLOW_CROSS) \
	    CARGO=$(CARGO) sh packaging/build.sh --quiet -p cometd -p cometd-demo-server -p cometd-manual
	@$(TARGET)/release/cometd_manual . "$(MAN_DATE)" $(BUILD)/man

html:
	@command -v doxygen >/dev/null || { echo "missing: doxygen; Debian and Ubuntu: apt install doxygen" >&2; exit 1; }
	@mkdir -p $(BUILD)/html
	@(cat manual/Doxyfile; echo "PROJECT_NUMBER = $(VERSION)"; echo "HTML_OUTPUT = $(BUILD)/html") | doxygen -

# Installs what `make` has built, and the manual and the tools when they are built,
# and runs no cargo: `sudo make install` needs none. Debug information goes into a
# file of its own, which debuggers find; DEBUGINFO= leaves it out, STRIP= in place.
INSTALL ?= install
DEBUGINFO ?= 1
HEADERS = $(patsubst include/%,%,$(wildcard include/cometd/*.h include/cometd/*.hpp))
CMAKE_FILES = cometdConfig.cmake cometdConfigVersion.cmake CMakeLists.txt
MANUAL = $(foreach section,1 3 7,$(patsubst $(BUILD)/man/%,%,$(wildcard $(BUILD)/man/man$(section)/*.$(section))))
COMMANDS = $(notdir $(wildcard $(foreach name,sub pub rpc bench,$(BUILD)/bin/cometd_$(name))))
COMPLETIONS = $(notdir $(wildcard tools/completions/cometd_*))
PC_DIR = $(libdir)/pkgconfig
CMAKE_DIR = $(libdir)/cmake/cometd
COMPLETION_DIR = $(datadir)/bash-completion/completions
PC_PREFIX = $(PREFIX)
# Where gdb looks, by the build id of the library.
BUILD_ID_OF = sed -n 's/.*Build ID: \(..\)\(.*\)/\1\/\2/p'
BUILD_ID = readelf -n $(BUILD)/lib/$(SHARED) | $(BUILD_ID_OF)
DEBUG_DIR = $(PREFIX)/lib/debug/.build-id
# That of the library which is installed now.
FORGET_DEBUG = id=$$(readelf -n "$(DESTDIR)$(libdir)/$(SHARED)" 2>/dev/null | $(BUILD_ID_OF)); [ -z "$$id" ] || \
	    { rm -f "$(DESTDIR)$(DEBUG_DIR)/$$id.debug"; rmdir "$(DESTDIR)$(DEBUG_DIR)/$${id%/*}" 2>/dev/null || :; }

install:
	@for file in $(SHARED) libcometd.a; do \
	    [ -e "$(BUILD)/lib/$$file" ] || { echo "missing: $(BUILD)/lib/$$file; run make first" >&2; exit 1; }; \
	done
	$(INSTALL) -d "$(DESTDIR)$(libdir)" "$(DESTDIR)$(PC_DIR)" "$(DESTDIR)$(CMAKE_DIR)" "$(DESTDIR)$(includedir)/cometd"
	$(FORGET_DEBUG)
	$(INSTALL) -m 755 $(BUILD)/lib/$(SHARED) "$(DESTDIR)$(libdir)/$(SHARED)"
	$(INSTALL) -m 644 $(BUILD)/lib/libcometd.a "$(DESTDIR)$(libdir)/libcometd.a"
ifneq ($(STRIP),)
ifneq ($(DEBUGINFO),)
	id=$$($(BUILD_ID)) && $(INSTALL) -d "$(DESTDIR)$(DEBUG_DIR)/$${id%/*}" && \
	    $(OBJCOPY) --only-keep-debug $(BUILD)/lib/$(SHARED) "$(DESTDIR)$(DEBUG_DIR)/$$id.debug" && \
	    chmod 644 "$(DESTDIR)$(DEBUG_DIR)/$$id.debug"
endif
	$(STRIP) --strip-unneeded "$(DESTDIR)$(libdir)/$(SHARED)"
	$(STRIP) --strip-debug --enable-deterministic-archives "$(DESTDIR)$(libdir)/libcometd.a"
endif
	ln -sf $(SHARED) "$(DESTDIR)$(libdir)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(libdir)/libcometd.so"
	for header in $(HEADERS); do \
	    $(INSTALL) -m 644 include/$$header "$(DESTDIR)$(includedir)/$$header" || exit 1; \
	done
	sed -e 's|@prefix@|$(PC_PREFIX)|' -e 's|@version@|$(VERSION)|' \
	    -e 's|@includedir@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(includedir))|' \
	    -e 's|@libdir@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(libdir))|' \
	    packaging/cometd.pc.in >"$(DESTDIR)$(PC_DIR)/cometd.pc"
	chmod 644 "$(DESTDIR)$(PC_DIR)/cometd.pc"
	for file in $(CMAKE_FILES); do \
	    $(INSTALL) -m 644 packaging/cmake/$$file "$(DESTDIR)$(CMAKE_DIR)/$$file" || exit 1; \
	done
	sed -i 's|^set(_cometd_includedir .*|set(_cometd_includedir "'"$$(realpath -m --relative-to='$(CMAKE_DIR)' '$(includedir)')"'")|' \
	    "$(DESTDIR)$(CMAKE_DIR)/cometdConfig.cmake"
	for page in $(MANUAL); do \
	    $(INSTALL) -D -m 644 $(BUILD)/man/$$page "$(DESTDIR)$(mandir)/$$page" || exit 1; \
	done
	for command in $(COMMANDS); do \
	    $(INSTALL) -D -m 755 $(BUILD)/bin/$$command "$(DESTDIR)$(bindir)/$$command" || exit 1; \
	    $(if $(STRIP),$(STRIP) "$(DESTDIR)$(bindir)/$$command" || exit 1;) \
	done
	for completion in $(COMPLETIONS); do \
	    $(INSTALL) -D -m 644 tools/completions/$$completion "$(DESTDIR)$(COMPLETION_DIR)/$$completion" || exit 1; \
	done

# What is somebody else's stays; folders that are empty and our own go. It asks for no
# build: what has a name of ours is ours.
uninstall:
	$(FORGET_DEBUG)
	rmdir "$(DESTDIR)$(DEBUG_DIR)" "$(DESTDIR)$(PREFIX)/lib/debug" 2>/dev/null || :
	rm -f "$(DESTDIR)$(libdir)/$(SHARED)" "$(DESTDIR)$(libdir)/$(SONAME)" "$(DESTDIR)$(libdir)/libcometd.so" \
	    "$(DESTDIR)$(libdir)/libcometd.a"
	rm -f "$(DESTDIR)$(PC_DIR)/cometd.pc" $(HEADERS:%="$(DESTDIR)$(includedir)/%") \
	    $(CMAKE_FILES:%="$(DESTDIR)$(CMAKE_DIR)/%") $(TOOLS:%="$(DESTDIR)$(mandir)/man1/%.1") \
	    "$(DESTDIR)$(mandir)"/man3/cometd.3 "$(DESTDIR)$(mandir)"/man3/cometd_*.3 "$(DESTDIR)$(mandir)"/man7/cometd-*.7 \
	    $(TOOLS:%="$(DESTDIR)$(bindir)/%") $(COMPLETIONS:%="$(DESTDIR)$(COMPLETION_DIR)/%")
	for folder in "$(DESTDIR)$(includedir)/cometd" "$(DESTDIR)$(CMAKE_DIR)"; do \
	    [ ! -d "$$folder" ] || rmdir "$$folder" || :; \
	done

# From what `make` has built, and the manual: they have the same bytes whenever they
# are made.
deb: man
	@BUILD=$(BUILD) sh packaging/debian/build.sh

tarball: man
	@BUILD=$(BUILD) sh packaging/tarball.sh

# Writes symbols.txt anew, when functions have come.
symbols:
	@sh packaging/symbols.sh include/cometd/cometd.h >symbols.txt

clean:
	rm -rf $(BUILD)
	$(CARGO) clean
