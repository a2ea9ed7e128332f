# Tests of the C core and of the load generator, under the address and undefined-behaviour sanitizers, with every
# compiler of C_CHECKERS. Included by the top Makefile; or: make -f tests/c/tests.mk check-c

C_CHECKERS ?= gcc clang
C_CORE := $(filter-out csrc/_core.c,$(wildcard csrc/*.c))
C_LOAD := $(filter-out %/_load.c,$(wildcard simulators/load/*.c))
C_TESTS := $(patsubst tests/c/%.c,%,$(wildcard tests/c/test_*.c))
C_CHECK_FLAGS := -std=c11 -O1 -g -ffp-contract=off -Wall -Wextra -Wconversion -Werror -Icsrc \
	-Isimulators/load \
	-fsanitize=address,undefined,float-divide-by-zero -fno-sanitize-recover=all -fno-omit-frame-pointer
C_BINARIES := $(foreach compiler,$(C_CHECKERS),$(addprefix build/c/$(compiler)/,$(C_TESTS)))

.PHONY: check-c
check-c: $(C_BINARIES)
	@set -e; for program in $^; do echo "== $$program"; $$program; done

define C_RULE
C_OBJECTS_$(1) := $(patsubst %.c,build/c/$(1)/%.o,$(C_CORE) $(C_LOAD))

build/c/$(1)/%.o: %.c $(wildcard csrc/*.h csrc/kinefuse/*.h simulators/load/*.h)
	@mkdir -p $$(@D)
	$(1) $(C_CHECK_FLAGS) -c -o $$@ $$<

build/c/$(1)/test_%: tests/c/test_%.c $$(C_OBJECTS_$(1)) $(wildcard tests/c/*.h)
	@mkdir -p $$(@D)
	$(1) $(C_CHECK_FLAGS) -o $$@ $$< $$(C_OBJECTS_$(1)) -lm
endef
$(foreach compiler,$(C_CHECKERS),$(eval $(call C_RULE,$(compiler))))
