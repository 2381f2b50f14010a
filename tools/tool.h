/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands of `hftchan` share: options, strict values, messages, signals, JSON.
 * It is not part of the library: nothing here is installed.
 * The contract with the user is hftchan(1); exit statuses are enum tool_status.
 */
#ifndef HFTCHAN_TOOL_H
#define HFTCHAN_TOOL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include <hftchan.h>

#define NSEC_PER_SEC	1000000000ULL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* how often whatever waits looks for signals and says "alive" */
#define TOOL_TICK_NS	(NSEC_PER_SEC / 10)

/* enum tool_status - exit status of every subcommand */
enum tool_status {
	TOOL_OK = 0,
	TOOL_FAILED = 1,	/* said why on stderr */
	TOOL_USAGE = 2,		/* the command line was not understood; nothing was done */
};

/**
 * struct tool_option - an option of a subcommand; a table of them ends with a zero entry
 * @name: long name
 * @key: what tool_getopt() returns; a printable character is the short option, too
 * @arg: what its value is called, NULL: it takes none
 * @help: one line
 *
 * The table is the only place that lists options: usage text and completion are made from it.
 * -h and --help are added to each.
 */
struct tool_option {
	const char *name;
	int key;
	const char *arg;
	const char *help;
};

#define TOOL_KEY	256	/* first key of options without a short form */

/**
 * struct tool_command - how a subcommand is called
 * @name: the word after `hftchan`
 * @operands: e.g. "NAME", "" for none
 * @nr_operands: exactly so many
 * @about: one line
 * @options: table
 */
struct tool_command {
	const char *name;
	const char *operands;
	int nr_operands;
	const char *about;
	const struct tool_option *options;
};

int cmd_bench(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_destroy(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_pub(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_sub(int argc, char **argv);

/**
 * tool_getopt() - the next option's key, -1 when there are no more
 *
 * Its value is in optarg. Then argv[optind] is the first operand, and there are @nr_operands of
 * them. Prints the usage text for -h and ends the process with TOOL_OK; says what is wrong with
 * the command line and ends it with TOOL_USAGE.
 */
int tool_getopt(const struct tool_command *cmd, int argc, char **argv);

/* tool_usage() - says "hftchan: COMMAND: ..." and ends the process with TOOL_USAGE */
void tool_usage(const struct tool_command *cmd, const char *format, ...)
	__attribute__((__format__(__printf__, 2, 3), __noreturn__));

/*
 * Values of options: the whole text must be one, or the process ends with TOOL_USAGE. @option is
 * what to call it in the message.
 */
uint64_t tool_number(const char *option, const char *text, uint64_t min, uint64_t max);
uint64_t tool_hex(const char *option, const char *text);
uint64_t tool_seconds(const char *option, const char *text);	/* in ns; "1.5" is fine */
uid_t tool_user(const char *option, const char *text);		/* a name or a number */
gid_t tool_group(const char *option, const char *text);

/* tool_bad_value() - "hftchan: --option: 'text' ..." and the end with TOOL_USAGE */
void tool_bad_value(const char *option, const char *text, const char *format, ...)
	__attribute__((__format__(__printf__, 3, 4), __noreturn__));

/* tool_error() - one line on stderr, "hftchan: object: cause; remedy" */
void tool_error(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* tool_library_error() - tool_error() with the library's text of its last error */
void tool_library_error(void);

/* tool_note() - one line on stderr that is no error, without prefix */
void tool_note(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* tool_open() - hftchan_open() that says what is wrong; NULL then */
struct hftchan *tool_open(const char *name, const struct hftchan_expect *expect);

/*
 * tool_output_error - errno of a failed write to stdout; who writes much sets it when fwrite() or
 * fflush() fail, and ends. It is said, and the exit status made to fit, when the process exits.
 */
extern int tool_output_error;

/* tool_print_json() - print @object on stdout, and put it */
void tool_print_json(struct json_object *object);

/* tool_json_number() - a json number from an unsigned one */
struct json_object *tool_json_number(uint64_t value);

/* tool_alloc() - calloc() that ends the process when there is no memory */
void *tool_alloc(size_t nr, size_t size);

/* tool_now() - CLOCK_MONOTONIC in ns */
uint64_t tool_now(void);

/* tool_now_and_then() - true at most once a second; *@next begins as 0 */
bool tool_now_and_then(uint64_t *next);

/*
 * tool_catch_signals() - from now on SIGINT, SIGTERM and SIGHUP only set tool_stopped: to 1, and
 * from the second on to 2, when also what should still be finished is given up
 */
void tool_catch_signals(void);
extern volatile sig_atomic_t tool_stopped;

#endif /* HFTCHAN_TOOL_H */
