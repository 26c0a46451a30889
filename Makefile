# Fathom's build. `make` → build/fathom; `make install`, `make test`, `make lint`, `make asan`, `make fuzz`, `make help`.
# CC=clang works; BUILD=dir puts the objects elsewhere; SAN=address,undefined adds sanitizers.

BUILD   ?= build
ifeq ($(origin CC),default)
CC      := gcc
endif
OPT     ?= -O3
DEBUG   ?= -g
# clang: a loop that -O1 does not vectorise is no defect (-Wno-pass-failed).
WARN    := -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wvla -Wstrict-prototypes -Wno-pass-failed -Werror
PKGS    := jansson libpcre2-8 libutf8proc libcurl libedit libsodium libzstd inih libmicrohttpd gnutls sqlite3 libseccomp
CFLAGS  += -std=c11 -D_GNU_SOURCE $(OPT) $(DEBUG) -fno-math-errno -fno-trapping-math -ffp-contract=off $(WARN) \
           -Iinclude -Isrc -MMD -MP \
           $(shell pkg-config --cflags $(PKGS))
# libgomp goes in statically, so that our thread-waiting policy comes first (src/tensor/compute.c).
OMP_LIB := $(if $(findstring clang,$(shell $(CC) --version)),-fopenmp,-l:libgomp.a)
LDLIBS  += $(shell pkg-config --libs $(PKGS)) $(OMP_LIB) -lm -lpthread -ldl
ARCH    := $(shell $(CC) -dumpmachine | cut -d- -f1)
# A slip with memory ends the program instead of serving whoever sent it; sanitizers look by themselves. (clang 14
# clears the stack's way on x86-64 alone; what is fortified needs an optimiser.)
CFLAGS  += -fPIE
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifdef SAN
CFLAGS  += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS += -fsanitize=$(SAN)
else
CFLAGS  += -fstack-protector-strong $(if $(filter x86_64,$(ARCH)),-fstack-clash-protection) \
           $(if $(filter-out -O0,$(OPT)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif

SRC     := $(sort $(wildcard src/*/*.c src/tensor/ref/*.c))
ifeq ($(ARCH),x86_64)
SRC     += $(sort $(wildcard src/tensor/cpu/*.c))
endif
LIB_OBJ := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out src/cli/main.c,$(SRC))) \
           $(BUILD)/obj/gen/catalogue_text.o $(BUILD)/obj/gen/aliases_text.o $(BUILD)/obj/gen/peerscript_text.o \
           $(BUILD)/obj/gen/prices_text.o $(BUILD)/obj/gen/reportstyle_text.o $(BUILD)/obj/gen/webassets_table.o
MAIN_OBJ:= $(BUILD)/obj/cli/main.o
LIB     := $(BUILD)/libfathom.a
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/*/test_*.c tests/*/*/test_*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

# Intrinsics live in src/tensor/cpu alone; the file's suffix names the instructions it may use. (What
# unpack_avx512 makes of bfloat16 is for AMX.)
AVX2    := -mavx2 -mfma -mf16c
AVX512  := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512vbmi -mavx512vbmi2
BF16    := -mavx512bf16
AMX     := -mamx-tile -mamx-bf16 -mamx-int8
%_avx2.o:   CFLAGS += $(AVX2)
%_avx512.o: CFLAGS += $(AVX512)
%_avx512bf16.o: CFLAGS += $(AVX512) $(BF16)
%/unpack_avx512.o: CFLAGS += $(BF16)
%_amx.o:    CFLAGS += $(AVX512) $(BF16) $(AMX)

%_avx2.c.ok:   CFLAGS += $(AVX2)
%_avx512.c.ok: CFLAGS += $(AVX512)
%_avx512bf16.c.ok: CFLAGS += $(AVX512) $(BF16)
%/unpack_avx512.c.ok: CFLAGS += $(BF16)
%_amx.c.ok:    CFLAGS += $(AVX512) $(BF16) $(AMX)

# make install, as root; without: make install PREFIX=~/.local. DESTDIR is for packages.
PREFIX  ?= /usr/local

.PHONY: all tests test check lint asan fuzz clean help install
all: $(BUILD)/fathom

help:
	@sed -n '1,2s/^# //p' Makefile

install: $(BUILD)/fathom
	install -D $< $(DESTDIR)$(PREFIX)/bin/fathom
	install -d $(DESTDIR)$(PREFIX)/share/fathom
	cp -R models $(DESTDIR)$(PREFIX)/share/fathom/

$(BUILD)/fathom: $(MAIN_OBJ) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fopenmp -c -o $@ $<

# Files the program carries inside itself.
$(BUILD)/gen/catalogue_text.c: models/catalogue.txt tools/embed.sh
	@mkdir -p $(@D)
	@tools/embed.sh $< catalogue_text > $@

$(BUILD)/gen/aliases_text.c: models/aliases.txt tools/embed.sh
	@mkdir -p $(@D)
	@tools/embed.sh $< aliases_text > $@

$(BUILD)/gen/prices_text.c: models/prices.txt tools/embed.sh
	@mkdir -p $(@D)
	@tools/embed.sh $< prices_text > $@

$(BUILD)/gen/peerscript_text.c: bench/peer_llamacpp.py tools/embed.sh
	@mkdir -p $(@D)
	@tools/embed.sh $< peerscript_text > $@

$(BUILD)/gen/reportstyle_text.c: web/report.css tools/embed.sh
	@mkdir -p $(@D)
	@tools/embed.sh $< reportstyle_text > $@

# The page of `fathom serve`, a file of the system's among its files perhaps.
$(BUILD)/gen/webassets_table.c: web/assets.list tools/embed_web.sh $(shell tools/embed_web.sh --sources web/assets.list)
	@mkdir -p $(@D)
	@tools/embed_web.sh $< > $@.new && mv $@.new $@

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fopenmp -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests $(LDFLAGS) -o $@ $< $(LIB) $(LDLIBS) -lcmocka

$(BUILD)/bench/%: bench/%.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) $(LDLIBS)

# The levels a machine with AVX-512 may lack, AVX512_BF16 and AMX, with their instructions in software
# (tests/tensor/emulation.h): the library, the program and the tests once more, in $(EMULATED).
EMULATED := $(BUILD)/emulated
EMULATED_OBJ := $(patsubst src/%.c,$(EMULATED)/obj/%.o,src/base/cpuinfo.c src/tensor/cpu/unpack_avx512.c \
                $(wildcard src/tensor/cpu/*_avx512bf16.c src/tensor/cpu/*_amx.c)) $(EMULATED)/obj/emulation_avx512.o
$(EMULATED)/obj/%.o: BF16 :=
$(EMULATED)/obj/%.o: AMX :=
$(EMULATED)/obj/%.o: CFLAGS += -Itests -include tests/tensor/emulation.h
$(EMULATED)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fopenmp -c -o $@ $<

$(EMULATED)/obj/%.o: tests/tensor/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$(EMULATED)/libfathom.a: $(LIB) $(EMULATED_OBJ)
	@cp $(LIB) $@
	@ar rcs $@ $(EMULATED_OBJ)

$(EMULATED)/fathom: $(MAIN_OBJ) $(EMULATED)/libfathom.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(EMULATED)/tests/%: tests/%.c $(EMULATED)/libfathom.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests $(LDFLAGS) -o $@ $< $(EMULATED)/libfathom.a $(LDLIBS) -lcmocka

EMULATED_TESTS := $(TESTS:$(BUILD)/tests/%=$(EMULATED)/tests/%)
.PHONY: emulated
emulated: $(EMULATED)/fathom $(EMULATED_TESTS)
	@tools/run_tests.sh $(EMULATED) $(EMULATED_TESTS)

# Those of the kernels run with the other tests, on a processor that has AVX-512 and lacks AMX.
CPU_FLAGS := $(shell grep -m1 ^flags /proc/cpuinfo)
ifneq ($(filter avx512_vbmi2,$(CPU_FLAGS)),)
ifeq ($(filter amx_bf16,$(CPU_FLAGS)),)
TESTS_MORE := $(filter $(EMULATED)/tests/tensor/cpu/% %/test_learnops,$(EMULATED_TESTS))
endif
endif

# Beside the tests, unless they run under sanitizers: the laws of the tree, and 20 s for each fuzzer.
ifndef SAN
CHECKS := tools/lint.sh tools/run_fuzz.sh
endif
tests: all $(TESTS) $(TESTS_MORE)
test: tests
	@tools/run_tests.sh $(BUILD) $(TESTS) $(TESTS_MORE) $(CHECKS)

lint: all
	@tools/lint.sh $(BUILD)

.PHONY: map
map:
	@tools/map.sh > docs/map.md.new && mv docs/map.md.new docs/map.md

# Every file through the compiler's front end alone, headers by themselves (tools/lint.sh, both compilers).
TEST_SRC := $(sort $(wildcard tests/*/*.c tests/*/*/*.c))
ifneq ($(ARCH),x86_64)
TEST_SRC := $(filter-out %_avx512.c,$(TEST_SRC))
endif
HEADERS  := $(filter-out src/tensor/cpu/%,$(sort $(wildcard src/*/*.h src/*/*/*.h include/*.h)))
.PHONY: syntax
syntax: $(patsubst %,$(BUILD)/%.ok,$(SRC) $(TEST_SRC) $(HEADERS))
$(BUILD)/%.c.ok: %.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -fopenmp -Itests -fsyntax-only -MF $@.d -MT $@ $< && touch $@
$(BUILD)/%.h.ok: %.h
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -fopenmp -fsyntax-only -MF $@.d -MT $@ -include $< -x c /dev/null && touch $@

asan:
	$(MAKE) BUILD=build-asan SAN=address,undefined OPT=-O1 test

fuzz:
	@tools/run_fuzz.sh build-fuzz

# Under sanitizers files take long to compile: what no target reaches is left out, and the kernels, which take clang
# 30 s a file, are watched by AddressSanitizer alone (`make asan` has them with both).
ifneq ($(findstring fuzzer,$(SAN)),)
$(BUILD)/obj/tensor/cpu/%.o: CFLAGS += -fno-sanitize=undefined
endif
FUZZ_OBJ := $(filter-out $(BUILD)/obj/train/% $(BUILD)/obj/cli/cmd_% $(BUILD)/obj/cli/verbs.o $(BUILD)/obj/cli/bench% \
            $(BUILD)/obj/server/page% $(BUILD)/obj/server/sandbox% $(BUILD)/obj/server/service.o \
            $(BUILD)/obj/server/api.o,$(LIB_OBJ))
FUZZ_LIB := $(BUILD)/libfuzzed.a
$(FUZZ_LIB): $(FUZZ_OBJ)
	@rm -f $@
	@ar rcs $@ $^

.PHONY: fuzzers
fuzzers: $(FUZZERS)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -fsanitize=fuzzer $(LDFLAGS) -o $@ $< $(FUZZ_LIB) $(LDLIBS)

clean:
	rm -rf build build-asan build-fuzz

-include $(LIB_OBJ:.o=.d) $(MAIN_OBJ:.o=.d) $(TESTS:=.d) $(FUZZERS:=.d) $(EMULATED_OBJ:.o=.d) \
         $(EMULATED_TESTS:=.d)
