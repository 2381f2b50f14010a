// SPDX-License-Identifier: MIT
/*
 * The examples in C do what their comments say: compiled into this program, run in children, their
 * output compared.
 * It is no test of the library; the example in C++ is run by test_cpp.cpp.
 * The contract is the comment at the top of each example.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

int hello_main(void);
int market_data_main(int argc, char **argv);

#define main hello_main
#define fail hello_fail
#include "../../libuser/examples/hello.c"
#undef main
#undef fail

#define main market_data_main
#define fail market_data_fail
#include "../../libuser/examples/market_data.c"
#undef main
#undef fail

/* after them, since it defines fail() */
#include <cmocka.h>

struct run {
	char *argv[4];
	char command[8], name[64], count[8];
	int out;
};

static int run_hello(void *arg)
{
	struct run *r = arg;

	CHECK(dup2(r->out, STDOUT_FILENO) >= 0);
	CHECK_EQ(hello_main(), 0);
	fflush(stdout);
	return 0;
}

static int run_market_data(void *arg)
{
	struct run *r = arg;
	int status;

	r->argv[0] = (char[]){ "market_data" };
	r->argv[1] = r->command;
	r->argv[2] = r->name;
	r->argv[3] = r->count;
	CHECK(dup2(r->out, STDOUT_FILENO) >= 0);
	status = market_data_main(4, r->argv);
	fflush(stdout);
	return status;
}

static struct run market_data(const char *command, const char *name, int count)
{
	struct run r = { .out = -1 };

	snprintf(r.command, sizeof(r.command), "%s", command);
	snprintf(r.name, sizeof(r.name), "%s", name);
	snprintf(r.count, sizeof(r.count), "%d", count);
	return r;
}

static void assert_prints(int (*fn)(void *), struct run *r, const char *expected)
{
	char text[4096] = "";
	FILE *f = tmpfile();
	size_t len;

	assert_non_null(f);
	r->out = fileno(f);
	assert_int_equal(in_child(fn, r), 0);
	rewind(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = 0;
	fclose(f);
	assert_string_equal(text, expected);
}

static void test_hello(void **state)
{
	struct run r = { .out = -1 };

	(void)state;
	assert_prints(run_hello, &r, "seq 1: hello 1\nseq 2: hello 2\nseq 3: hello 3\n");
}

static void test_market_data(void **state)
{
	const char *name = new_name(SHARED);
	struct run r = market_data("pub", name, 3);

	(void)state;
	assert_prints(run_market_data, &r, "first seq of this run: 1\n");
	r = market_data("pub", name, 2);
	assert_prints(run_market_data, &r, "first seq of this run: 4\n");
	r = market_data("sub", name, 5);
	assert_prints(run_market_data, &r,
		      "seq 1 instrument 4711 bid 1000001 ask 1000101\n"
		      "seq 2 instrument 4711 bid 1000002 ask 1000102\n"
		      "seq 3 instrument 4711 bid 1000003 ask 1000103\n"
		      "seq 4 instrument 4711 bid 1000004 ask 1000104\n"
		      "seq 5 instrument 4711 bid 1000005 ask 1000105\n");
}

/* one publisher after the other, and a subscriber beside all of them */
static void test_market_data_resumes(void **state)
{
	const char *name = new_name(SHARED);
	struct run r = market_data("pub", name, 1), sub = market_data("sub", name, 5);
	char text[4096] = "";
	struct hftchan_tx *tx;
	struct hftchan *ch;
	FILE *f = tmpfile();
	pid_t pid;

	(void)state;
	assert_non_null(f);
	assert_prints(run_market_data, &r, "first seq of this run: 1\n");
	sub.out = fileno(f);
	pid = start_child(run_market_data, &sub);
	r = market_data("pub", name, 2);
	assert_prints(run_market_data, &r, "first seq of this run: 2\n");
	/* reserved, half written, never committed: nobody sees it */
	ch = open_channel(name);
	tx = attach(ch);
	memset(hftchan_reserve(tx), 0x55, 16);
	hftchan_detach(tx);
	hftchan_close(ch);
	r = market_data("pub", name, 2);
	assert_prints(run_market_data, &r, "first seq of this run: 4\n");
	assert_int_equal(reap(pid), 0);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	assert_string_equal(text, "seq 1 instrument 4711 bid 1000001 ask 1000101\n"
				  "seq 2 instrument 4711 bid 1000002 ask 1000102\n"
				  "seq 3 instrument 4711 bid 1000003 ask 1000103\n"
				  "seq 4 instrument 4711 bid 1000004 ask 1000104\n"
				  "seq 5 instrument 4711 bid 1000005 ask 1000105\n");
}

static void test_market_data_refuses_another_struct(void **state)
{
	struct hftchan_attr attr = attr_of(sizeof(struct quote), 8);
	const char *name = new_name(SHARED);
	struct run r = market_data("sub", name, 1);

	(void)state;
	r.out = STDOUT_FILENO;
	attr.type_tag = QUOTE_V1 + 1;
	assert_int_equal(hftchan_create(name, &attr, NULL), 0);
	assert_int_equal(in_child(run_market_data, &r), 1 << 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test_teardown(test_market_data, clean_up),
		cmocka_unit_test_teardown(test_market_data_resumes, clean_up),
		cmocka_unit_test_teardown(test_market_data_refuses_another_struct, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
