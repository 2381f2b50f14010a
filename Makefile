# SPDX-License-Identifier: MIT
#
# Builds, tests and installs everything of user space; `make help` lists what it can do.
# Not what kbuild reads: for a kernel module that is the file Kbuild beside this one.
# What is generated goes to $(B), build/ by default; sources are found by wildcard, never listed.

B ?= build
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions

CFLAGS ?= -O2 -g
CXXFLAGS ?= $(CFLAGS)
PKG_CONFIG ?= pkg-config
WERROR ?= 1

ifneq ($(if $(strip $(B)),$(filter $(patsubst %/,%,$(abspath $(B)))/%,$(CURDIR)/),empty),)
$(error B=$(B): the build directory must be one of its own, as `make clean` removes it)
endif

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
SHELL := bash
.DELETE_ON_ERROR:
.SUFFIXES:

# --no-builtin-variables takes these away, and the origin of a default is not the user's choice
ifneq ($(filter undefined default,$(origin CC)),)
CC := gcc
endif
ifneq ($(filter undefined default,$(origin CXX)),)
CXX := g++
endif
ifneq ($(filter undefined default,$(origin AR)),)
AR := ar
endif

VERSION := $(strip $(file <VERSION))
MAJOR := $(firstword $(subst ., ,$(VERSION)))

# ---- flags ------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wformat=2 -Wvla \
	$(if $(filter-out 0,$(WERROR)),-Werror)
C_WARNINGS := $(WARNINGS) -Wstrict-prototypes -Wmissing-prototypes

OWN_CPPFLAGS := -Ilibuser/include -Ikmod/include/uapi -D_GNU_SOURCE \
	-DHFTCHAN_VERSION_STRING=\"$(VERSION)\"
OWN_CFLAGS := -std=gnu11 $(C_WARNINGS) -pthread
OWN_CXXFLAGS := -std=c++17 $(WARNINGS) -pthread
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# GCC's shared ones are two libraries of which one ignores log_path (tests/run.sh); clang's are static
SANITIZERS_LINK := $(if $(findstring clang,$(CC)),,-static-libasan -static-libubsan)

TOOL_PACKAGES := libpcap smartcols json-c
TOOL_CPPFLAGS := $(shell $(PKG_CONFIG) --cflags $(TOOL_PACKAGES) 2>/dev/null)
TOOL_LIBS := $(shell $(PKG_CONFIG) --libs $(TOOL_PACKAGES) 2>/dev/null) -lm

# the compilers' part of every command: an object is rebuilt when this text changes
FLAGS := $(CC) $(CXX) $(OWN_CPPFLAGS) $(TOOL_CPPFLAGS) $(CPPFLAGS) $(OWN_CFLAGS) $(CFLAGS) \
	$(OWN_CXXFLAGS) $(CXXFLAGS) $(SANITIZERS)
# the linker's part, and what is linked: a source that went away must leave the programs too
LINKS = $(LDFLAGS) $(SANITIZERS_LINK) $(TOOL_LIBS) $(LIB_SRC) $(TOOL_SRC) $(FEED_SRC) $(TEST_COMMON)

comma := ,

ifeq ($(V),)
Q := @
say = @printf '  %-5s %s\n' $(1) $(2)
endif

# ---- sources and what becomes of them ---------------------------------------------------------

LIB_SRC := $(wildcard libuser/src/*.c)
TOOL_SRC := $(wildcard tools/*.c)
FEED_SRC := $(wildcard tests/feed/*.c)
TEST_COMMON := $(wildcard tests/protocol/common.c)
# each of these is a program of its own; those named test_* are cmocka programs
TEST_SRC := $(filter-out $(TEST_COMMON),$(wildcard tests/protocol/*.c))
CXX_TEST_SRC := $(wildcard tests/protocol/test_*.cpp)
SELFTEST_SRC := $(wildcard tests/selftests/hftchan/*)
BENCH_SRC := $(wildcard tests/bench/*.c)
EXAMPLE_SRC := $(wildcard libuser/examples/*.c)
MAN_SRC := $(wildcard libuser/man/*.scd tools/man/*.scd kmod/man/*.scd)
# lines `alias.3 target.3`: the further names of a page that describes several calls
MAN_ALIASES := $(wildcard libuser/man/aliases)
HEADERS := $(wildcard libuser/include/*.h libuser/include/*.hpp libuser/include/*/*.h)
COMPLETION := $(wildcard tools/completion/hftchan.bash)

REAL_NAME := libhftchan.so.$(VERSION)
SONAME := libhftchan.so.$(MAJOR)
LIBS_BUILT := $(addprefix $(B)/,$(REAL_NAME) $(SONAME) libhftchan.so libhftchan.a libhftchan.pc)
# a part whose sources are absent is no part of the build
TOOLS_BUILT := $(if $(TOOL_SRC),$(B)/hftchan) $(if $(FEED_SRC),$(B)/itchfeed)
EXAMPLES := $(EXAMPLE_SRC:libuser/examples/%.c=$(B)/examples/%)
MAN_PAGES := $(patsubst %.scd,$(B)/man/%,$(notdir $(MAN_SRC)))
MAN_LINKS := $(if $(MAN_ALIASES),$(addprefix $(B)/man/,$(shell awk '{ print $$1 }' $(MAN_ALIASES))))
CXX_TESTS := $(CXX_TEST_SRC:tests/protocol/%.cpp=$(B)/cxx/%)
BENCHES := $(BENCH_SRC:tests/bench/%.c=$(B)/bench/%)
TESTS := $(TEST_SRC:tests/protocol/%.c=$(B)/tests/%)
ASAN_BUILT := $(TESTS:$(B)/%=$(B)/asan/%) $(TOOLS_BUILT:$(B)/%=$(B)/asan/%) \
	$(CXX_TESTS:$(B)/%=$(B)/asan/%)

# ---- goals ------------------------------------------------------------------------------------

.PHONY: all
all: $(LIBS_BUILT) $(TOOLS_BUILT) $(EXAMPLES) $(MAN_PAGES) $(MAN_LINKS) $(B)/version-agrees ## build the library, the tool, the feed and the man pages (the default)

.PHONY: tests
tests: all $(TESTS) $(ASAN_BUILT) $(CXX_TESTS) $(BENCHES) ## build the test programs too, plain and with the sanitizers

# What these need may not be installed before they begin, and the variables above ask pkg-config:
# hence a make of its own for the build, on all cores unless the user said how many.
PARALLEL = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
.PHONY: demo
demo: ## install what is missing, build, show the whole path at work (CAPTURE=FILE: with that capture)
	@tests/install-deps.sh build
	@$(MAKE) --no-print-directory $(PARALLEL) all
	@tests/demo.sh $(B)

.PHONY: check
check: ## install what is missing, build and test everything (CAPTURES=DIR: with all captures there)
	@tests/install-deps.sh
	@$(MAKE) --no-print-directory $(PARALLEL) tests
	@tests/run.sh $(B)

# fetched, built and booted below $(B): nothing of it touches the kernel of this machine
KERNELS ?= 6.1 6.12
.PHONY: check-vm
check-vm: ## test the kernel module in a virtual machine (KERNELS="6.1 6.12": with these kernels)
	@tests/install-deps.sh build test vm
	@$(MAKE) --no-print-directory $(PARALLEL) tests selftests
	@failed=0; for kernel in $(KERNELS); do tests/vm/run.sh $(B) $$kernel || failed=1; done; exit $$failed

.PHONY: debug-kernel
debug-kernel: ## build the kernel for check-vm-debug: KASAN, lockdep, kmemleak and more
	@tests/install-deps.sh vm
	@tests/vm/debug-kernel.sh $(B)

.PHONY: check-vm-debug
check-vm-debug: debug-kernel ## check-vm with that kernel
	@$(MAKE) --no-print-directory check-vm KERNELS=debug

.PHONY: check-dkms
check-dkms: ## build the module as DKMS does on a user's machine, for 6.1 and 6.12 (as root)
	@tests/install-deps.sh build dkms
	@$(MAKE) --no-print-directory $(PARALLEL) all
	@tests/check-dkms.sh $(B)

.PHONY: demo-vm
demo-vm: ## the demo through the kernel module, in a virtual machine of two NUMA nodes
	@tests/install-deps.sh build vm
	@$(MAKE) --no-print-directory $(PARALLEL) tests
	@tests/vm/demo.sh $(B) $(firstword $(KERNELS))

.PHONY: bench
bench: $(LIBS_BUILT) $(TOOLS_BUILT) $(BENCHES) ## build and print the figures of this machine
	@tests/bench/run.sh $(B)

.PHONY: lint
lint: $(B)/lint-flags ## checkpatch, sparse, clang-tidy, cppcheck, codespell, shellcheck, clang-format, licenses
	@tests/lint.sh $(B)

# kbuild writes beside its sources, so it gets a copy of them: one for each kernel
KERNEL_DIR ?= /lib/modules/$(shell uname -r)/build
KERNEL_RELEASE := $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' $(KERNEL_DIR)/include/generated/utsrelease.h 2>/dev/null)
KMOD := $(B)/kmod/$(KERNEL_RELEASE)
KMOD_SRC := Kbuild $(shell find kmod \( -path kmod/man -o -path kmod/udev \) -prune -o -type f -print)
.PHONY: modules
# our CC, CFLAGS and so on aren't the kernel's
modules: MAKEOVERRIDES :=
modules: $(KMOD_SRC:%=$(KMOD)/%) ## build the kernel module for KERNEL_DIR (of the running kernel)
	+$(Q)$(MAKE) --no-print-directory -C $(KERNEL_DIR) M=$(abspath $(KMOD)) W=1 \
		$(if $(filter-out 0,$(WERROR)),KCFLAGS=-Werror) $(if $(C),C=$(C)) $(if $(V),V=$(V)) modules

.PHONY: clean
clean: ## remove what was built
	rm -rf $(B)

.PHONY: help
help: ## print this
	@echo 'goals:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18
	@echo 'variables (make NAME=VALUE):'
	@printf '  %s\n' 'B=build          where everything generated goes' \
		'CC, CXX, CFLAGS, CXXFLAGS, CPPFLAGS, LDFLAGS' \
		'WERROR=0         a warning is no error' \
		'KERNEL_DIR=DIR   a kernel to build modules for, KERNELS="6.1 6.12 debug" those of check-vm' \
		'V=1              print whole commands' \
		'PREFIX=/usr/local, DESTDIR, BINDIR, LIBDIR, INCLUDEDIR, MANDIR, COMPLETIONDIR'

# ---- rules for both flavours: plain in $(B), with the sanitizers in $(B)/asan -------------------

$(B)/asan/%: SANITIZE := $(SANITIZERS)
$(B)/asan/%: SANITIZE_LINK := $(SANITIZERS_LINK)
$(B)/obj/libuser/src/%.o $(B)/asan/obj/libuser/src/%.o: OBJFLAGS := -fPIC -fvisibility=hidden
$(B)/obj/tools/%.o $(B)/asan/obj/tools/%.o: OBJFLAGS := $(TOOL_CPPFLAGS)

define link
@mkdir -p $(@D)
$(call say,LD,$@)
$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(SANITIZE_LINK) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(PROG_LIBS) -lnuma -pthread
endef

define flavour
$(1)/obj/%.o: %.c $(B)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(OWN_CPPFLAGS) $$(CPPFLAGS) $$(OWN_CFLAGS) $$(CFLAGS) $$(SANITIZE) $$(OBJFLAGS) \
		-MMD -MP -c -o $$@ $$<

$(1)/libhftchan.a: $(LIB_SRC:%.c=$(1)/obj/%.o) $(B)/links
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$(filter %.o,$$^)

$(1)/hftchan: PROG_LIBS := $(TOOL_LIBS)
$(1)/hftchan: $(TOOL_SRC:%.c=$(1)/obj/%.o) $(1)/libhftchan.a $(B)/links
	$$(link)

$(1)/itchfeed: PROG_LIBS := -lpcap -lm
$(1)/itchfeed: $(FEED_SRC:%.c=$(1)/obj/%.o) $(B)/links
	$$(link)

$(1)/tests/test_%: PROG_LIBS := -lcmocka
$(TEST_SRC:tests/protocol/%.c=$(1)/tests/%): $(1)/tests/%: $(1)/obj/tests/protocol/%.o \
		$(TEST_COMMON:%.c=$(1)/obj/%.o) $(1)/libhftchan.a $(B)/links
	$$(link)
endef
$(foreach dir,$(B) $(B)/asan,$(eval $(call flavour,$(dir))))

# ---- rules for the plain flavour only ----------------------------------------------------------

# An exported inline function is compiled from the public header, so everything goes by the map
$(B)/$(REAL_NAME): $(LIB_SRC:%.c=$(B)/obj/%.o) libuser/libhftchan.map $(B)/links
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=libuser/libhftchan.map \
		-Wl,-z,defs -Wl,-z,relro -Wl,-z,now $(LDFLAGS) -o $@ $(filter %.o,$^) -lnuma -pthread

$(B)/$(SONAME): $(B)/$(REAL_NAME)
	@ln -sf $(<F) $@
$(B)/libhftchan.so: $(B)/$(SONAME)
	@ln -sf $(<F) $@

$(BENCHES): $(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libhftchan.a $(B)/links
	$(link)

$(EXAMPLES): $(B)/examples/%: $(B)/obj/libuser/examples/%.o $(B)/libhftchan.a $(B)/links
	$(link)

define cxx
@mkdir -p $(@D)
$(call say,CXX,$@)
$(Q)$(CXX) $(OWN_CPPFLAGS) $(CPPFLAGS) $(OWN_CXXFLAGS) $(CXXFLAGS) $(SANITIZE) $(SANITIZE_LINK) \
	$(LDFLAGS) -MMD -MP -o $@ $< $(1) -lcmocka
endef

# C++ programs use the shared library, so that what it exports is used too
$(CXX_TESTS): $(B)/cxx/%: tests/protocol/%.cpp $(B)/libhftchan.so $(B)/flags
	$(call cxx,-L$(B) -lhftchan -Wl$(comma)-rpath$(comma)'$$ORIGIN/..' -Wl$(comma)--as-needed)

# and, with the sanitizers, the static one, all of it: they look for its symbols, too
$(CXX_TESTS:$(B)/%=$(B)/asan/%): $(B)/asan/cxx/%: tests/protocol/%.cpp $(B)/asan/libhftchan.a $(B)/flags
	$(call cxx,-rdynamic -Wl$(comma)--whole-archive $(B)/asan/libhftchan.a \
		-Wl$(comma)--no-whole-archive -lnuma)

# The man pages' date is the day they are made, unless SOURCE_DATE_EPOCH says otherwise
define manpage
@mkdir -p $(@D)
$(call say,MAN,$@)
$(Q)scdoc <$< >$@
endef
$(B)/man/%: libuser/man/%.scd
	$(manpage)
$(B)/man/%: tools/man/%.scd
	$(manpage)
$(B)/man/%: kmod/man/%.scd
	$(manpage)

$(MAN_LINKS): $(B)/man/%: $(MAN_ALIASES) $(MAN_PAGES)
	$(Q)awk -v alias=$* '$$1 == alias { print ".so man" substr($$2, match($$2, /[^.]*$$/)) "/" $$2 }' \
		$(MAN_ALIASES) >$@
	$(Q)test -f $(B)/man/$$(sed 's,.*/,,' $@) || { echo "$(MAN_ALIASES): $*: no such target" >&2; exit 1; }

$(B)/libhftchan.pc: libuser/libhftchan.pc.in FORCE
	@mkdir -p $(@D)
	@sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|' \
		$< >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(B)/version-agrees: tests/check-version.sh VERSION dkms.conf CHANGELOG.md libuser/libhftchan.map \
		libuser/include/hftchan.h kmod/main.c $(B)/libhftchan.pc $(B)/$(REAL_NAME)
	$(Q)tests/check-version.sh $(B)
	@touch $@

# Texts of their own, written only when they differ from what the last build used
$(B)/flags: export TEXT = $(FLAGS)
$(B)/links: export TEXT = $(LINKS)
$(B)/lint-flags: export TEXT = $(subst \",",$(OWN_CPPFLAGS)) $(TOOL_CPPFLAGS) $(C_WARNINGS)
$(B)/flags $(B)/links $(B)/lint-flags: FORCE
	@$(PKG_CONFIG) --exists --print-errors $(TOOL_PACKAGES) numa || { \
		echo "hftchan: libraries are missing; install them with: tests/install-deps.sh build" >&2; exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' "$$TEXT" | cmp -s - $@ || printf '%s\n' "$$TEXT" >$@

# Another set of files: what was built of the old one goes
$(KMOD)/sources: export TEXT = $(KMOD_SRC)
$(KMOD)/sources: FORCE
	@test -n "$(KERNEL_RELEASE)" || { echo "hftchan: KERNEL_DIR=$(KERNEL_DIR): no kernel headers there;" \
		"install linux-headers-$$(uname -r), or name another directory" >&2; exit 1; }
	@printf '%s\n' "$$TEXT" | cmp -s - $@ || \
		{ rm -rf $(@D) && mkdir -p $(@D) && printf '%s\n' "$$TEXT" >$@; }
$(KMOD_SRC:%=$(KMOD)/%): $(KMOD)/%: % $(KMOD)/sources
	@mkdir -p $(@D)
	@cp $< $@

# In a kernel tree and by its rules, as if they were part of it
SELFTEST_TREE := $(B)/vm/source/tools/testing/selftests/hftchan
SELFTEST_MAKE = env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C $(SELFTEST_TREE) \
	OUTPUT=$(abspath $(B)/selftests) KHDR_INCLUDES="-isystem $(CURDIR)/kmod/include/uapi"
.PHONY: selftests
selftests: $(if $(SELFTEST_SRC),$(B)/selftests/install/kselftest-list.txt)
	@:
$(B)/selftests/install/kselftest-list.txt: $(SELFTEST_SRC) kmod/include/uapi/linux/hftchan.h
	$(Q)tests/vm/kernels.sh $(B) source
	@rm -rf $(SELFTEST_TREE) $(B)/selftests && mkdir -p $(@D)
	@cp -r tests/selftests/hftchan $(SELFTEST_TREE)
	$(call say,MAKE,$(B)/selftests)
	$(Q)$(SELFTEST_MAKE) USERCFLAGS="-O2 -g $(if $(filter-out 0,$(WERROR)),-Werror)" \
		INSTALL_PATH=$(abspath $(@D)) install
	$(Q)$(SELFTEST_MAKE) COLLECTION=hftchan emit_tests >$@

.PHONY: FORCE
FORCE:

# of our own objects; a kernel's are kbuild's
-include $(shell find $(B) -path $(B)/vm -prune -o -path $(B)/kmod -prune -o -name '*.d' -print 2>/dev/null)

# ---- install ----------------------------------------------------------------------------------

# SOURCE:DESTINATION:MODE, read by install and uninstall alike
INSTALLED := $(B)/hftchan:$(BINDIR)/hftchan:755 \
	$(B)/$(REAL_NAME):$(LIBDIR)/$(REAL_NAME):644 \
	$(B)/libhftchan.a:$(LIBDIR)/libhftchan.a:644 \
	$(B)/libhftchan.pc:$(LIBDIR)/pkgconfig/libhftchan.pc:644 \
	kmod/include/uapi/linux/hftchan.h:$(INCLUDEDIR)/linux/hftchan.h:644 \
	$(foreach h,$(HEADERS),$(h):$(INCLUDEDIR)/$(h:libuser/include/%=%):644) \
	$(foreach m,$(MAN_PAGES) $(MAN_LINKS),$(m):$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)):644) \
	$(foreach c,$(COMPLETION),$(c):$(COMPLETIONDIR)/hftchan:644)
LINKED := $(addprefix $(LIBDIR)/,$(SONAME) libhftchan.so)

.PHONY: install
install: all ## install below PREFIX (in DESTDIR, if given)
	@set -e; for file in $(INSTALLED); do \
		IFS=: read -r from to mode <<<"$$file"; install -D -m $$mode "$$from" "$(DESTDIR)$$to"; \
	done
	@ln -sf $(REAL_NAME) "$(DESTDIR)$(LIBDIR)/$(SONAME)"
	@ln -sf $(SONAME) "$(DESTDIR)$(LIBDIR)/libhftchan.so"
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi
	@echo "installed hftchan $(VERSION) in $(DESTDIR)$(PREFIX)"

.PHONY: uninstall
uninstall: ## remove what install put there
	@set -e; for file in $(INSTALLED) $(LINKED:%=:%:); do \
		IFS=: read -r from to mode <<<"$$file"; rm -f "$(DESTDIR)$$to"; \
	done
	@rmdir "$(DESTDIR)$(INCLUDEDIR)/hftchan" 2>/dev/null || true
	@echo "removed hftchan $(VERSION) from $(DESTDIR)$(PREFIX)"

# The module's source for DKMS, and the rule that gives /dev/hftchan its group. DKMS does the rest.
DKMS_DIR := /usr/src/hftchan-$(VERSION)
UDEV_RULES := kmod/udev/60-hftchan.rules
UDEVRULESDIR ?= $(PREFIX)/lib/udev/rules.d
.PHONY: dkms
dkms: ## put the module's source in /usr/src for DKMS, and its udev rule below PREFIX (DESTDIR)
	@rm -rf "$(DESTDIR)$(DKMS_DIR)"
	@set -e; for file in dkms.conf $(KMOD_SRC); do \
		install -D -m 644 "$$file" "$(DESTDIR)$(DKMS_DIR)/$$file"; \
	done
	@install -D -m 644 $(UDEV_RULES) "$(DESTDIR)$(UDEVRULESDIR)/$(notdir $(UDEV_RULES))"
	@echo "module source in $(DESTDIR)$(DKMS_DIR); next: dkms install hftchan/$(VERSION)"
