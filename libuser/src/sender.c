// SPDX-License-Identifier: MIT
/*
 * The sender's cold path: attach, detach, fork, who sends, batches.
 * It doesn't keep the role exclusive: the backends do.
 * The contract is in <hftchan.h>; of the fields it writes in <linux/hftchan.h>.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* ---------------------------------------------------------------- fork */

/*
 * All senders of this process: a forked child closes its copies of their role descriptors, or the
 * role would outlive the sender in it. The mutex is held, and so fork kept out, from before a role
 * is taken until its sender is listed, and from before it is dropped until it is off the list.
 */
static pthread_mutex_t senders_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct tx *senders;

static void before_fork(void)
{
	pthread_mutex_lock(&senders_mutex);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&senders_mutex);
}

static void after_fork_child(void)
{
	struct tx *t;

	for (t = senders; t; t = t->next)
		if (t->role_fd >= 0) {
			close(t->role_fd);
			t->role_fd = -1;
		}
	senders = NULL;
	pthread_mutex_unlock(&senders_mutex);
}

static void install_fork_handlers(void)
{
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static int take_role(struct tx *t)
{
	int err;

	pthread_mutex_lock(&senders_mutex);
	err = t->ch->backend->take_role(t);
	if (!err) {
		t->next = senders;
		senders = t;
	}
	pthread_mutex_unlock(&senders_mutex);
	return err;
}

static void drop_role(struct tx *t)
{
	struct tx **p;

	pthread_mutex_lock(&senders_mutex);
	for (p = &senders; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	t->ch->backend->drop_role(t);
	pthread_mutex_unlock(&senders_mutex);
}

/* ---------------------------------------------------------------- who sends */

static uint64_t namespace_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

/* 0 when /proc is not there or that of another pid namespace: pids can't be looked up then. */
static uint64_t own_pidns(void)
{
	char self[16] = "";

	if (readlink("/proc/self", self, sizeof(self) - 1) <= 0 || atoi(self) != getpid())
		return 0;
	return namespace_of("/proc/self/ns/pid");
}

/* Start times count from a moment that each time namespace sets for itself. */
static uint64_t own_timens(void)
{
	return namespace_of("/proc/self/ns/time");
}

/*
 * State, start time (field 22) and number of threads (20) of a process; the command name before
 * them is in parentheses and may hold anything. False when the process can't be looked at.
 */
static bool read_stat(int32_t pid, char *state, uint64_t *start, long *threads)
{
	char path[32], buf[1024], *p;
	ssize_t n;
	int fd;

	/* not stdio: a waiting receiver comes here, and allocates nothing */
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	p = strrchr(buf, ')');
	return p && sscanf(p + 1,
			   " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
			   " %ld %*s %" SCNu64,
			   state, threads, start) == 3;
}

/* A consistent set; -EAGAIN while somebody attaches. Pairs with hftchan_begin_epoch(). */
int hftchan_snapshot(const struct hftchan *ch, struct sender_snapshot *s)
{
	const struct hftchan_control *c = ch->view.control;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		s->ended_epoch = HFTCHAN_LOAD_ACQUIRE(&c->ended_epoch);
		s->state = HFTCHAN_LOAD_ACQUIRE(&c->sender_state);
		s->epoch = HFTCHAN_LOAD_ACQUIRE(&c->epoch);
		s->epoch_seq = HFTCHAN_LOAD(&c->epoch_seq);
		s->pid = HFTCHAN_LOAD(&c->sender_pid);
		s->start = HFTCHAN_LOAD(&c->sender_start);
		s->pidns = HFTCHAN_LOAD(&c->sender_pidns);
		s->timens = HFTCHAN_LOAD(&c->sender_timens);
		HFTCHAN_FENCE_ACQUIRE();
		/* acquire: who finds ATTACHED again, of the next sender, finds its epoch, too */
		if (HFTCHAN_LOAD_ACQUIRE(&c->sender_state) == s->state &&
		    HFTCHAN_LOAD(&c->epoch) == s->epoch)
			return 0;
	}
	return hftchan_fail(EAGAIN, "%s: a sender is attaching; try again", ch->name);
}

/* Can this process tell whether the sender lives? Not from another pid namespace. */
bool hftchan_sender_visible(const struct sender_snapshot *s)
{
	return s->pid > 0 && s->pidns && s->pidns == own_pidns();
}

/*
 * Did the sender of this epoch die without a word? A pid that belongs to another process by now,
 * or to a process that has exited but was not waited for, is a death; a process that may not be
 * looked at (hidepid) counts as alive.
 */
bool hftchan_sender_dead(const struct sender_snapshot *s)
{
	uint64_t start;
	long threads;
	char state;

	if (s->ended_epoch == s->epoch || !hftchan_sender_visible(s))
		return false;
	if (kill(s->pid, 0) && errno == ESRCH)
		return true;
	if (!read_stat(s->pid, &state, &start, &threads))
		return false;
	/* a main thread that has left is a zombie, too, while the other threads go on */
	return (s->start && start != s->start && s->timens == own_timens()) || state == 'X' ||
	       (state == 'Z' && threads <= 1);
}

/* The end as its owner wrote it down, without looking up who lives. */
bool hftchan_sender_ended(const struct sender_snapshot *s)
{
	return s->epoch && s->ended_epoch == s->epoch;
}

/* What the control page says of the sender's pid, for backends whose senders write it there. */
void hftchan_ask_page(const struct hftchan *ch, const struct sender_snapshot *s,
		      struct hftchan_info *info)
{
	(void)ch;
	info->sender_pid = hftchan_sender_visible(s) ? s->pid : 0;
}

int hftchan_role_taken(const char *full, int32_t pid)
{
	if (pid)
		return hftchan_fail(EBUSY, "%s: a sender is attached: pid %d; stop it first", full,
				    pid);
	return hftchan_fail(EBUSY, "%s: another sender holds the role; stop it first", full);
}

int hftchan_gone(const char *full)
{
	return hftchan_fail(ENODEV, "%s: was destroyed; open it again", full);
}

/* ---------------------------------------------------------------- epochs in the control page */

/* For backends whose control page the sender writes. */
int hftchan_begin_epoch(struct tx *tx, uint64_t seq)
{
	struct hftchan_control *c = tx->view.control;
	uint64_t epoch, pidns, timens, start = 0;
	long threads;
	char state;

	/* looked up before: what is between two epochs in the page is there for a moment only */
	read_stat(tx->pid, &state, &start, &threads);
	pidns = own_pidns();
	timens = own_timens();

	/* NONE before, ATTACHED after: a reader of the fields between can tell that they change */
	epoch = HFTCHAN_LOAD(&c->epoch);
	if (HFTCHAN_LOAD(&c->ended_epoch) != epoch) {
		HFTCHAN_STORE(&c->nr_deaths, HFTCHAN_LOAD(&c->nr_deaths) + 1);
		HFTCHAN_STORE(&c->ended_epoch, epoch);
	}
	HFTCHAN_STORE(&c->sender_state, HFTCHAN_SENDER_NONE);
	HFTCHAN_FENCE_RELEASE();	/* pairs with the fence in hftchan_snapshot() */
	HFTCHAN_STORE(&c->sender_pid, tx->pid);
	HFTCHAN_STORE(&c->sender_start, start);
	HFTCHAN_STORE(&c->sender_pidns, pidns);
	HFTCHAN_STORE(&c->sender_timens, timens);
	HFTCHAN_STORE(&c->attached_ns, hftchan_now_ns(CLOCK_REALTIME));
	HFTCHAN_STORE(&c->epoch_seq, seq);
	HFTCHAN_STORE(&tx->view.sender->heartbeat_ns, 0);
	HFTCHAN_FENCE_RELEASE();	/* pairs with the acquire loads in hftchan_snapshot() */
	HFTCHAN_STORE(&c->epoch, epoch + 1);
	HFTCHAN_FENCE_RELEASE();
	HFTCHAN_STORE(&c->sender_state, HFTCHAN_SENDER_ATTACHED);
	return 0;
}

void hftchan_end_epoch(struct tx *tx)
{
	struct hftchan_control *c = tx->view.control;

	HFTCHAN_FENCE_RELEASE();	/* commits before; pairs with hftchan_snapshot() */
	HFTCHAN_STORE(&c->ended_epoch, HFTCHAN_LOAD(&c->epoch));
	HFTCHAN_STORE(&c->sender_state, HFTCHAN_SENDER_NONE);
}

/* ---------------------------------------------------------------- attach, detach */

int hftchan_attach(struct hftchan *ch, unsigned int flags, struct hftchan_tx **txp)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t seq, bad;
	struct tx *t;
	int err;

	if (flags & ~HFTCHAN_ATTACH_VERIFY)
		return hftchan_fail(EOPNOTSUPP, "%s: unknown attach flags 0x%x", ch->name,
				    flags & ~HFTCHAN_ATTACH_VERIFY);
	t = hftchan_zalloc(sizeof(*t));
	if (!t)
		return hftchan_fail(ENOMEM, "%s: out of memory", ch->name);
	pthread_once(&once, install_fork_handlers);
	t->ch = ch;
	t->role_fd = -1;
	t->pid = getpid();
	err = take_role(t);
	if (err)
		goto err_free;
	if (HFTCHAN_LOAD(&t->view.control->destroyed)) {
		err = hftchan_fail(ENODEV, "%s: was destroyed", ch->name);
		goto err_role;
	}
	hftchan_ring_setup(&t->pub.ring, &ch->geometry, t->view.ring);
	err = hftchan_ring_attach(&t->pub.ring, flags & HFTCHAN_ATTACH_VERIFY, &seq, &bad);
	if (err) {
		hftchan_fail(-err,
			     "%s: corrupted at slot %" PRIu64 ": nothing can be sent; "
			     "hftchan check tells more, or destroy it and make it again",
			     ch->name, bad);
		goto err_role;
	}
	t->pub.seq = seq;
	err = ch->backend->begin_epoch(t, seq);
	if (err)
		goto err_role;
	hftchan_get(ch);
	*txp = &t->pub;
	return 0;

err_role:
	drop_role(t);
err_free:
	free(t);
	return err;
}

void hftchan_detach(struct hftchan_tx *tx)
{
	struct tx *t = (struct tx *)tx;

	if (!tx)
		return;
	if (t->pid == getpid()) {
		if (t->ch->backend->end_epoch)
			t->ch->backend->end_epoch(t);
		drop_role(t);
	}
	hftchan_close(t->ch);
	free(t);
}

int hftchan_heartbeat(struct hftchan_tx *tx)
{
	struct tx *t = (struct tx *)tx;

	HFTCHAN_STORE(&t->view.sender->heartbeat_ns, hftchan_now_ns(CLOCK_MONOTONIC));
	if (HFTCHAN_LOAD(&t->view.control->destroyed))
		return hftchan_fail(ENODEV,
				    "%s: was destroyed; its receivers are leaving", t->ch->name);
	return 0;
}

/* ---------------------------------------------------------------- batches */

int hftchan_send_batch(struct hftchan_tx *tx, const struct hftchan_msg *msgs, unsigned int nr)
{
	const struct hftchan_ring *r = &tx->ring;
	const uint64_t quarter = (r->slot_mask + 1) / 4;
	uint64_t done, k, i;
	int err;

	for (i = 0; i < nr; i++) {
		err = hftchan_tx_fits(tx, msgs[i].len, msgs[i].type);
		if (err)
			return err;
	}
	for (done = 0; done < nr; done += k) {
		k = nr - done < quarter ? nr - done : quarter;
		hftchan_ring_mark(r, tx->seq, k);
		for (i = 0; i < k; i++) {
			const struct hftchan_msg *m = &msgs[done + i];

			hftchan_ring_copy_in(hftchan_tx_head(tx, tx->seq + i, m->len, m->type),
					     m->data, m->len);
		}
		hftchan_ring_commit(r, tx->seq, k);
		tx->seq += k;
	}
	return 0;
}
