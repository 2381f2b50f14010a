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

static bool follows(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Bytes of the UTF-8 character at @p, 0 if there is none, or a control character (C0, DEL, C1). */
static size_t printable(const unsigned char *p)
{
	if (*p < 0x80)
		return *p >= ' ' && *p < 127;
	if (*p < 0xc2 || *p > 0xf4 || !follows(p[1]))
		return 0;
	if (*p < 0xe0)
		return *p > 0xc2 || p[1] >= 0xa0 ? 2 : 0;
	/* one byte more than needed is how to smuggle in what is refused above */
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90) || !follows(p[2]))
		return 0;
	if (*p < 0xf0)
		return 3;
	return follows(p[3]) ? 4 : 0;
}

int(hftchan_fail)(int err, const char *fmt, ...)
{
	va_list args;
	unsigned char *p;
	size_t len;

	va_start(args, fmt);
	vsnprintf(last, sizeof(last), fmt, args);
	va_end(args);
	/* paths come from anywhere: none may move the cursor of an administrator's terminal */
	for (p = (unsigned char *)last; *p; p += len) {
		len = printable(p);
		if (!len) {
			*p = '?';
			len = 1;
		}
	}
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
