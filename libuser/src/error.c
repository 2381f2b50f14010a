// SPDX-License-Identifier: MIT
/*
 * The last error's text, per thread, and the version.
 * It decides no error codes: every caller of hftchan_fail() does.
 * The contract is in <hftchan.h>: "Conventions".
 */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static _Thread_local char last[768] = "no error";

int(hftchan_fail)(int err, const char *fmt, ...)
{
	va_list args;
	char *p;

	va_start(args, fmt);
	vsnprintf(last, sizeof(last), fmt, args);
	va_end(args);
	/* paths come from anywhere: none may move the cursor of an administrator's terminal */
	for (p = last; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return -err;
}

const char *hftchan_strerror_last(void)
{
	return last;
}

#define STR(x)	#x
#define DOTTED(a, b, c)	STR(a) "." STR(b) "." STR(c)

const char *hftchan_version(void)
{
	return DOTTED(HFTCHAN_VERSION_MAJOR, HFTCHAN_VERSION_MINOR, HFTCHAN_VERSION_PATCH);
}
