// SPDX-License-Identifier: MIT
/*
 * <hftchan.hpp> and the shared library from C++17: the typed classes, their errors, and every
 * function of <hftchan.h> as a symbol that other languages can call. Prints TAP.
 * It is no test of the protocol. The example typed.cpp is run, too.
 * The contract is in <hftchan.hpp>, and in <hftchan.h> for what it wraps.
 */
#include <hftchan.h>
#include <hftchan.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

int typed_main();

#define main typed_main
#include "../../libuser/examples/typed.cpp"
#undef main

namespace
{

struct tick {
	std::uint64_t n;
	double price;
	char side;

	tick() = delete;	// not even a default constructor is needed
	tick(std::uint64_t n_, double price_, char side_) : n(n_), price(price_), side(side_)
	{
	}
};

struct other {
	char bytes[7];
};

int nr_tests, nr_failed;

void ok(bool good, const char *what, int line)
{
	std::printf("%s %d - %s\n", good ? "ok" : "not ok", ++nr_tests, what);
	if (!good) {
		nr_failed++;
		std::printf("# line %d; last error: %s\n", line, hftchan_strerror_last());
	}
}

#define OK(cond, what)	ok((cond), (what), __LINE__)

/* the code of the std::system_error that @f throws, 0 for none; @text must be in its message */
template <typename F>
int thrown(F f, const std::string &text)
{
	try {
		f();
	} catch (const std::system_error &err) {
		if (std::string(err.what()).find(text) == std::string::npos) {
			std::printf("# not in the message: %s: %s\n", text.c_str(), err.what());
			return -1;
		}
		return err.code().value();
	}
	return 0;
}

std::string channel_name(const char *what)
{
	return "shm:t-" + std::to_string(getpid()) + "-" + what;
}

void test_send_and_receive(const std::string &name)
{
	const bool local = name == "local:";
	const auto ch = hft::channel::create<tick>(name.c_str(), 8, 42);
	hft::sender<tick> tx(ch);
	hft::receiver<tick> rx(ch);
	tick in(0, 0, ' ');
	hftchan_msg msg{};
	bool good = true;

	OK(ch.name() == name, "the channel's name");
	OK(ch.info().payload_size == sizeof(tick) && ch.info().type_tag == 42, "its size and tag");
	OK(rx.try_recv(in) == -EAGAIN && !rx.try_peek() && rx.error() == -EAGAIN,
	   "nothing there yet");
	for (std::uint64_t s = 1; s <= 100; s++) {
		if (s % 2) {
			tx.send(tick(s, 1.5 * static_cast<double>(s), 'B'));
		} else {
			*tx.reserve() = tick(s, 1.5 * static_cast<double>(s), 'B');
			tx.commit();
		}
		switch (s % 4) {
		case 0:
			good = good && rx.try_recv(in, &msg) == 0;
			break;
		case 1:
			good = good && rx.recv(in, &msg) == 0;
			break;
		case 2:
			if (const auto t = rx.next(&msg))
				in = *t;
			break;
		default:
			if (const tick *t = rx.try_peek(&msg))
				in = *t;
			good = good && rx.advance() == 0;
		}
		good = good && in.n == s && in.price == 1.5 * static_cast<double>(s) &&
		       in.side == 'B' && msg.seq == s && msg.lost == 0 && rx.seq() == s + 1 &&
		       tx.seq() == s + 1;
	}
	OK(good, "100 messages, sent in both and received in all ways");

	auto second = rx.clone();

	for (std::uint64_t s = 101; s <= 120; s++)
		tx.send(tick(s, 0, 'S'));
	OK(rx.recv(in, &msg) == 0 && msg.seq == 116 && msg.lost == 15 && in.n == 116 &&
		   rx.lost() == 15,
	   "overtaken: the loss is exact");
	OK(second.seq() == 101 && second.lost() == 0 && second.next()->n == 116,
	   "a clone is on its own");
	OK(rx.try_peek() != nullptr, "peek");
	for (std::uint64_t s = 121; s <= 140; s++)
		tx.send(tick(s, 0, 'S'));
	OK(rx.advance() == -ESTALE, "overwritten since: stale");

	OK(tx.heartbeat() == 0, "heartbeat");
	OK(thrown([&] { hft::sender<tick> again(ch); }, name) == EBUSY,
	   "a second sender throws EBUSY");
	rx.set_wait(HFTCHAN_WAIT_YIELD, 1000000);
	while (rx.next())
		;
	OK(rx.error() == -ETIMEDOUT, "next() ends with -ETIMEDOUT, error() says so");
	rx.set_wait(HFTCHAN_WAIT_YIELD);
	{
		hft::sender<tick> moved(std::move(tx));

		moved.send(tick(141, 0, 'S'));
		OK(rx.recv(in) == 0 && in.n == 141, "a moved sender sends");
	}
	OK(!rx.next() && rx.error() == -EPIPE, "its end detaches: -EPIPE");
	hft::sender<tick> resumed(ch);
	OK(resumed.seq() == 142 && ch.info().epoch == 2, "the next one resumes");
	OK(thrown([&] { hft::receiver<tick> bad(ch, HFTCHAN_JOIN_SEQ, 0); }, name) == EINVAL,
	   "a wrong join throws EINVAL");
	OK(hft::receiver<tick>(ch, HFTCHAN_JOIN_SEQ, 1000).seq() == 1000, "join at a seq");
	OK(hft::receiver<tick>(ch, HFTCHAN_JOIN_LAST).next()->n == 141, "join at the last");
	const std::string size = std::to_string(sizeof(tick));
	OK(thrown([&] { hft::sender<other> wrong(ch); }, size) == EPROTOTYPE,
	   "a sender of another type throws EPROTOTYPE");
	OK(thrown([&] { hft::receiver<other> wrong(ch); }, "7") == EPROTOTYPE,
	   "a receiver of another type, too");
	if (local)
		return;

	const char *n = name.c_str();

	OK(hft::channel::open<tick>(n).info().epoch == 2, "opened by type");
	OK(hft::channel::open<tick>(n, 42).info().epoch == 2, "opened by type and tag");
	OK(hft::channel::open(n).info().epoch == 2, "opened as whatever it is");
	OK(thrown([&] { hft::channel::open<tick>(n, 43); }, "2b") == EPROTOTYPE,
	   "another tag throws");
	OK(thrown([&] { hft::channel::open<other>(n); }, name) == EPROTOTYPE,
	   "another size throws");
	OK(thrown([&] { hft::channel::create<tick>(n, 8); }, name) == EEXIST,
	   "a taken name throws");
	OK(hftchan_destroy(n, HFTCHAN_DESTROY_FORCE) == 0, "destroyed");
	OK(thrown([&] { hft::channel::open<tick>(n); }, name) == ENOENT, "nothing to open: ENOENT");
	OK(resumed.heartbeat() == -ENODEV, "the sender is told");
}

void test_varlen()
{
	hftchan_attr attr = HFTCHAN_ATTR_INIT;

	attr.payload_size = sizeof(tick);
	attr.nr_slots = 8;
	attr.flags = HFTCHAN_F_VARLEN;
	const auto ch = hft::channel::create("local:", attr);
	OK(thrown([&] { hft::sender<tick> wrong(ch); }, "local:") == EPROTOTYPE,
	   "typed messages don't fit a channel of variable length");
	attr.nr_slots = 5;
	OK(thrown([&] { hft::channel::create("local:", attr); }, "5 slots") == EINVAL,
	   "a wrong attribute throws EINVAL");
}

void test_threads()
{
	constexpr std::uint64_t count = 100000;
	const auto ch = hft::channel::create<tick>("local:", 1024);
	std::vector<std::thread> threads;
	bool good[3] = {};

	{
		hft::sender<tick> tx(ch);

		for (auto &result : good)
			threads.emplace_back([&result, rx = hft::receiver<tick>(ch)]() mutable {
				std::uint64_t received = 0, last = 0;
				hftchan_msg msg{};

				rx.set_wait(HFTCHAN_WAIT_YIELD);
				while (const auto t = rx.next(&msg)) {
					if (t->n != msg.seq || t->n != last + 1 + msg.lost)
						return;
					last = t->n;
					received++;
				}
				result = rx.error() == -EPIPE && received &&
					 received + rx.lost() == count;
			});
		for (std::uint64_t s = 1; s <= count; s++)
			tx.send(tick(s, 0, 'B'));
	}
	for (auto &thread : threads)
		thread.join();
	OK(good[0] && good[1] && good[2], "threads: each message received or counted");
}

/* what a language without C's inline functions finds in the library */
void test_symbols()
{
	static const char *const names[] = {
		"hftchan_version",
		"hftchan_strerror_last",
		"hftchan_create",
		"hftchan_open",
		"hftchan_close",
		"hftchan_destroy",
		"hftchan_list",
		"hftchan_name",
		"hftchan_get_info",
		"hftchan_placement",
		"hftchan_check",
		"hftchan_attach",
		"hftchan_detach",
		"hftchan_heartbeat",
		"hftchan_tx_seq",
		"hftchan_reserve",
		"hftchan_commit_len",
		"hftchan_commit",
		"hftchan_send_type",
		"hftchan_send",
		"hftchan_send_batch",
		"hftchan_join",
		"hftchan_clone",
		"hftchan_leave",
		"hftchan_rx_set_wait",
		"hftchan_rx_sender",
		"hftchan_rx_idle",
		"hftchan_rx_lap",
		"hftchan_rx_seq",
		"hftchan_rx_lost",
		"hftchan_wait",
		"hftchan_try_peek",
		"hftchan_advance",
		"hftchan_peek",
		"hftchan_try_recv",
		"hftchan_recv",
		"hftchan_try_recv_batch",
		"hftchan_recv_batch",
	};
	static const char *const internal[] = { "hftchan_fail", "hftchan_snapshot", "hftchan_shm",
						"hftchan_geometry_check", "hftchan_ring_setup" };
	bool all = true, hidden = true;

	for (const char *name : names)
		if (!dlsym(RTLD_DEFAULT, name)) {
			std::printf("# missing: %s\n", name);
			all = false;
		}
	for (const char *name : internal)
		if (dlsym(RTLD_DEFAULT, name)) {
			std::printf("# visible: %s\n", name);
			hidden = false;
		}
	OK(all, "every function is a symbol of the shared library");
	OK(hidden, "and nothing internal is");

	using send_fn = int (*)(hftchan_tx *, const void *, std::size_t);
	using recv_fn = ssize_t (*)(hftchan_rx *, void *, std::size_t, hftchan_msg *);
	const auto send = reinterpret_cast<send_fn>(dlsym(RTLD_DEFAULT, "hftchan_send"));
	const auto try_recv = reinterpret_cast<recv_fn>(dlsym(RTLD_DEFAULT, "hftchan_try_recv"));
	const auto ch = hft::channel::create<tick>("local:", 8);
	hft::sender<tick> tx(ch);
	hft::receiver<tick> rx(ch);
	const tick out(7, 1, 'x');
	tick in(0, 0, ' ');

	OK(send && try_recv && send(tx.handle(), &out, sizeof(out)) == 0 &&
		   try_recv(rx.handle(), &in, sizeof(in), nullptr) == sizeof(in) && in.n == 7,
	   "and they work as the inline ones do");
	OK(std::string(hftchan_version()) == HFTCHAN_VERSION_STRING, "the library's version");
}

/* the example in C++ prints what it should */
void test_example()
{
	std::FILE *out = std::tmpfile();
	char text[256] = "";
	int status = -1;

	std::fflush(stdout);
	const pid_t pid = fork();
	if (!pid) {
		dup2(fileno(out), STDOUT_FILENO);
		const int code = typed_main();
		std::fflush(stdout);
		_exit(code);
	}
	waitpid(pid, &status, 0);
	std::rewind(out);
	text[std::fread(text, 1, sizeof(text) - 1, out)] = 0;
	std::fclose(out);
	OK(status == 0 && !std::strcmp(text, "seq 1: 100 at 10050, B\nseq 2: 50 at 10051, S\n"),
	   "the example typed.cpp");
}

} // namespace

int main()
{
	const std::string name = channel_name("cpp");

	try {
		test_send_and_receive("local:");
		test_send_and_receive(name);
		test_varlen();
		test_threads();
		test_symbols();
		test_example();
	} catch (const std::exception &err) {
		ok(false, err.what(), __LINE__);
	}
	hftchan_destroy(name.c_str(), HFTCHAN_DESTROY_FORCE);
	std::printf("1..%d\n", nr_tests);
	return nr_failed ? 1 : 0;
}
