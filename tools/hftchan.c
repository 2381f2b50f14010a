// SPDX-License-Identifier: MIT
/*
 * The command `hftchan`: finds the subcommand, runs it, and sees that its output got out.
 * What a subcommand does is in a file of its own.
 * The contract is hftchan(1).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *about;
} commands[] = {
	{ "create", cmd_create, "make a channel" },
	{ "list", cmd_list, "all channels" },
	{ "show", cmd_show, "everything about one channel" },
	{ "check", cmd_check, "is every slot of its ring legal?" },
	{ "destroy", cmd_destroy, "remove a channel" },
	{ "pub", cmd_pub, "send lines, captures, files or live UDP datagrams" },
	{ "sub", cmd_sub, "receive: print, or verify against a capture" },
	{ "bench", cmd_bench, "measure on this machine" },
};

static bool pipe_was_ignored;

/*
 * At exit, so that --help is covered, too. A reader that went away ends us as it ends cat: by
 * SIGPIPE, without a word. It is ignored until here, so that all is closed and counted before.
 */
static void close_stdout(void)
{
	int err = tool_output_error;

	errno = 0;
	if (!err && !fflush(stdout) && !ferror(stdout) && !fclose(stdout))
		return;
	if (!err)
		err = errno ? errno : EIO;
	if (err == EPIPE && !pipe_was_ignored) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	tool_error("standard output: %s; what was printed is not complete", strerror(err));
	_exit(TOOL_FAILED);
}

/* A channel must never become standard output; if that was closed, writing is still an error. */
static void fill_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
		if (fd == STDIN_FILENO) {
			close(fd);
			fd = open("/dev/null", O_WRONLY);
		}
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void print_usage(FILE *to)
{
	size_t i;

	fputs("usage: hftchan COMMAND [ARGUMENT]...\n"
	      "Channels that carry messages from one sender to many receivers.\n\n", to);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].about);
	fputs("\n  -V, --version   print the versions of this command and of the library\n"
	      "  -h, --help      print this; hftchan COMMAND --help: its options\n", to);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	size_t i;

	fill_standard_descriptors();
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);	/* whole lines, as several of us may share it */
	pipe_was_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;
	signal(SIGXFSZ, SIG_IGN);	/* ulimit -f: an error like any other, with a message */
	atexit(close_stdout);

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(word, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);

	if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
		print_usage(stdout);
		return TOOL_OK;
	}
	if (!strcmp(word, "-V") || !strcmp(word, "--version")) {
		printf("hftchan %s, libhftchan %s\n", HFTCHAN_VERSION_STRING, hftchan_version());
		return TOOL_OK;
	}
	if (!strcmp(word, "--list-commands")) {
		for (i = 0; i < ARRAY_SIZE(commands); i++)
			puts(commands[i].name);
		return TOOL_OK;
	}
	if (!*word)
		print_usage(stderr);
	else
		tool_error("%s: no such command; see: hftchan --help", word);
	return TOOL_USAGE;
}
