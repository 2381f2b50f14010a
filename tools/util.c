// SPDX-License-Identifier: MIT
/*
 * Option tables, strict values, messages, signals: what the subcommands share.
 * It knows nothing of channels but their errors.
 * The contract is tools/tool.h.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

#define MAX_OPTIONS	32

volatile sig_atomic_t tool_stopped;
int tool_output_error;

void tool_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("hftchan: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void tool_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void tool_library_error(void)
{
	tool_error("%s", hftchan_strerror_last());
}

void tool_usage(const struct tool_command *cmd, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "hftchan: %s: ", cmd->name);
	vfprintf(stderr, format, args);
	fprintf(stderr, "; see: hftchan %s --help\n", cmd->name);
	va_end(args);
	exit(TOOL_USAGE);
}

/* ---------------------------------------------------------------- options */

enum { KEY_HELP = 'h', KEY_LIST = TOOL_KEY - 1 };

static void print_help(const struct tool_command *cmd)
{
	const struct tool_option *o;

	printf("usage: hftchan %s%s%s [OPTION]...\n%s.\n\n", cmd->name, *cmd->operands ? " " : "",
	       cmd->operands, cmd->about);
	for (o = cmd->options; o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->key < TOOL_KEY ? '-' : ' ',
			 o->key < TOOL_KEY ? o->key : ' ', o->key < TOOL_KEY ? "," : " ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-28s %s\n", left, o->help);
	}
	printf("  %-28s %s\n", "-h, --help", "print this");
}

/* for the completion: one option per line, those that take a value with a "=" */
static void print_list(const struct tool_command *cmd)
{
	const struct tool_option *o;

	for (o = cmd->options; o->name; o++)
		printf("--%s%s\n", o->name, o->arg ? "=" : "");
	puts("--help");
}

int tool_getopt(const struct tool_command *cmd, int argc, char **argv)
{
	struct option longs[MAX_OPTIONS + 3] = { { NULL, 0, NULL, 0 } };
	char shorts[2 * MAX_OPTIONS + 4] = ":h";
	size_t nr = 0, len = strlen(shorts);
	const struct tool_option *o;
	int key;

	for (o = cmd->options; o->name && nr < MAX_OPTIONS; o++, nr++) {
		longs[nr].name = o->name;
		longs[nr].has_arg = o->arg ? required_argument : no_argument;
		longs[nr].val = o->key;
		if (o->key < TOOL_KEY) {
			shorts[len++] = (char)o->key;
			if (o->arg)
				shorts[len++] = ':';
		}
	}
	longs[nr++] = (struct option){ "help", no_argument, NULL, KEY_HELP };
	longs[nr] = (struct option){ "list-options", no_argument, NULL, KEY_LIST };

	key = getopt_long(argc, argv, shorts, longs, NULL);
	switch (key) {
	case KEY_HELP:
		print_help(cmd);
		exit(TOOL_OK);
	case KEY_LIST:
		print_list(cmd);
		exit(TOOL_OK);
	case '?':
		if (strncmp(argv[optind - 1], "--", 2) != 0)	/* may be one of several letters */
			tool_usage(cmd, "-%c: no such option", optopt);
		tool_usage(cmd, "%s: no such option, or more than one, or one that takes no value",
			   argv[optind - 1]);
	case ':':
		tool_usage(cmd, "%s: the value is missing", argv[optind - 1]);
	case -1:
		if (argc - optind < cmd->nr_operands)
			tool_usage(cmd, "%s is missing", cmd->operands);
		if (argc - optind > cmd->nr_operands)
			tool_usage(cmd, "%s: one word too many", argv[optind + cmd->nr_operands]);
		break;
	}
	return key;
}

/* ---------------------------------------------------------------- values */

void tool_bad_value(const char *option, const char *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "hftchan: --%s: '%s' ", option, text);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(TOOL_USAGE);
}

/* Digits of @base only: no sign, space, prefix or suffix. Return: it is a number that fits. */
static bool parse(const char *text, int base, uint64_t *value)
{
	const char *p;
	char *end;

	for (p = text; *p; p++)
		if (base == 16 ? !isxdigit((unsigned char)*p) : *p < '0' || *p >= '0' + base)
			return false;
	errno = 0;
	*value = strtoull(text, &end, base);
	return end != text && !errno;
}

uint64_t tool_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	uint64_t value;

	if (!parse(text, 10, &value) || value < min || value > max)
		tool_bad_value(option, text, "is not a whole number from %" PRIu64
			       " to %" PRIu64, min,
			       max);
	return value;
}

uint64_t tool_hex(const char *option, const char *text)
{
	uint64_t value;

	if (!parse(strncmp(text, "0x", 2) ? text : text + 2, 16, &value))
		tool_bad_value(option, text, "is not a hexadecimal number of at most 64 bits");
	return value;
}

uint64_t tool_seconds(const char *option, const char *text)
{
	uint64_t whole, fraction = 0;
	const char *dot = strchrnul(text, '.');
	char digits[21] = "", decimals[10] = "000000000";
	size_t nr = *dot ? strlen(dot + 1) : 0;

	if (*dot && (!nr || nr >= sizeof(decimals)))
		goto bad;
	if ((size_t)(dot - text) >= sizeof(digits))
		goto bad;
	memcpy(digits, text, (size_t)(dot - text));
	memcpy(decimals, *dot ? dot + 1 : "", nr);
	if (!parse(digits, 10, &whole) || !parse(decimals, 10, &fraction) || whole > 1000000000 ||
	    (!whole && !fraction))
		goto bad;
	return whole * NSEC_PER_SEC + fraction;
bad:
	tool_bad_value(option, text, "is not a time in seconds, as 2 or 0.5");
}

uid_t tool_user(const char *option, const char *text)
{
	struct passwd *pw;
	uint64_t id;

	/* (uid_t)-1 means "the caller's" to the library */
	if (parse(text, 10, &id) && id < UINT32_MAX)
		return (uid_t)id;
	pw = getpwnam(text);
	if (!pw)
		tool_bad_value(option, text,
			       "is no user; give a name from `getent passwd`, or a uid");
	return pw->pw_uid;
}

gid_t tool_group(const char *option, const char *text)
{
	struct group *gr;
	uint64_t id;

	if (parse(text, 10, &id) && id < UINT32_MAX)
		return (gid_t)id;
	gr = getgrnam(text);
	if (!gr)
		tool_bad_value(option, text,
			       "is no group; give a name from `getent group`, or a gid");
	return gr->gr_gid;
}

/* ---------------------------------------------------------------- the rest */

struct hftchan *tool_open(const char *name, const struct hftchan_expect *expect)
{
	struct hftchan *ch;

	if (hftchan_open(name, expect, &ch)) {
		tool_library_error();
		return NULL;
	}
	return ch;
}

void tool_print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_SPACED |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

struct json_object *tool_json_number(uint64_t value)
{
	return json_object_new_uint64(value);
}

void *tool_alloc(size_t nr, size_t size)
{
	void *p = calloc(nr, size);

	if (!p) {
		tool_error("%zu times %zu bytes: no memory", nr, size);
		exit(TOOL_FAILED);
	}
	return p;
}

uint64_t tool_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

bool tool_now_and_then(uint64_t *next)
{
	uint64_t now = tool_now();

	if (now < *next)
		return false;
	*next = now + NSEC_PER_SEC;
	return true;
}

static void on_signal(int signo)
{
	(void)signo;
	if (tool_stopped < 2)
		tool_stopped++;
}

void tool_catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };	/* no SA_RESTART: end every wait */

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}
