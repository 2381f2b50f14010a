// SPDX-License-Identifier: MIT
/*
 * The same as hello.c in C++17: the type is checked by the compiler and when the channel is opened,
 * handles close themselves, what can't be opened throws.
 * It is no pattern for two processes: that is market_data.c.
 * The classes are in <hftchan.hpp>.
 * Build: c++ -std=c++17 typed.cpp $(pkg-config --cflags --libs libhftchan) -pthread
 */
#include <cstdio>
#include <thread>

#include <hftchan.hpp>

struct trade {
	std::uint64_t price;
	std::uint32_t size;
	char side;
};

int main()
try {
	const auto channel = hft::channel::create<trade>("local:", 64);
	hft::receiver<trade> receiver(channel);

	std::thread thread([&receiver] {
		hftchan_msg msg;

		/* ends when the sender has gone and everything was read */
		while (const auto t = receiver.next(&msg))
			std::printf("seq %llu: %u at %llu, %c\n",
				    static_cast<unsigned long long>(msg.seq), t->size,
				    static_cast<unsigned long long>(t->price), t->side);
	});
	{
		hft::sender<trade> sender(channel);

		sender.send({ 10050, 100, 'B' });
		/* or in place, without a copy */
		*sender.reserve() = { 10051, 50, 'S' };
		sender.commit();
	}
	thread.join();
	return 0;
} catch (const std::system_error &err) {
	std::fprintf(stderr, "%s\n", err.what());
	return 1;
}
