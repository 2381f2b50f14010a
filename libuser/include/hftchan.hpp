/* SPDX-License-Identifier: MIT */
/*
 * hftchan in C++17: channel, sender<T> and receiver<T> own their handles and know their type.
 * It adds no behaviour to <hftchan.h> and can be mixed with it: handle() gives what is inside.
 * The contract of each call is that of the C call it names. What opens or makes something throws
 * std::system_error with the text of hftchan_strerror_last(); what runs per message throws nothing
 * and returns the C call's codes.
 */
#ifndef HFTCHAN_HPP
#define HFTCHAN_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <hftchan.h>

namespace hft
{

namespace detail
{

inline void check(int err)
{
	if (err < 0)
		throw std::system_error(-err, std::generic_category(), hftchan_strerror_last());
}

template <auto Free>
struct deleter {
	template <typename H>
	void operator()(H *handle) const noexcept
	{
		Free(handle);
	}
};

} // namespace detail

/* A struct hftchan. Senders and receivers made from it live on when it is gone. */
class channel
{
public:
	/* hftchan_create() */
	static channel create(const char *name, const ::hftchan_attr &attr)
	{
		::hftchan *ch = nullptr;

		detail::check(hftchan_create(name, &attr, &ch));
		return channel(ch);
	}

	/* hftchan_create() for messages of type T */
	template <typename T>
	static channel create(const char *name, std::uint64_t nr_slots, std::uint64_t type_tag = 0)
	{
		::hftchan_attr attr = HFTCHAN_ATTR_INIT;

		attr.payload_size = sizeof(T);
		attr.nr_slots = nr_slots;
		attr.type_tag = type_tag;
		return create(name, attr);
	}

	/* hftchan_open() */
	static channel open(const char *name, const ::hftchan_expect &expect = HFTCHAN_EXPECT_INIT)
	{
		::hftchan *ch = nullptr;

		detail::check(hftchan_open(name, &expect, &ch));
		return channel(ch);
	}

	/* hftchan_open() that insists on messages of type T, and on a type_tag if one is given */
	template <typename T>
	static channel open(const char *name, std::optional<std::uint64_t> type_tag = std::nullopt)
	{
		::hftchan_expect expect = HFTCHAN_EXPECT_INIT;

		expect.payload_size = sizeof(T);
		expect.check_type = type_tag.has_value();
		expect.type_tag = type_tag.value_or(0);
		return open(name, expect);
	}

	/* hftchan_get_info() */
	::hftchan_info info() const
	{
		::hftchan_info info{};

		info.size = sizeof(info);
		detail::check(hftchan_get_info(handle(), &info));
		return info;
	}

	const char *name() const noexcept
	{
		return hftchan_name(handle());
	}

	::hftchan *handle() const noexcept
	{
		return ch_.get();
	}

private:
	explicit channel(::hftchan *ch) noexcept : ch_(ch)
	{
	}

	std::unique_ptr<::hftchan, detail::deleter<hftchan_close>> ch_;
};

namespace detail
{

/* Messages go through shared memory as they are: T must survive that, and fit exactly. */
template <typename T>
void check_type(const channel &ch)
{
	static_assert(std::is_trivially_copyable_v<T>, "messages are copied byte by byte");
	static_assert(alignof(T) <= 8, "payloads are aligned to 8 bytes");
	const ::hftchan_info info = ch.info();

	if (info.payload_size != sizeof(T) || (info.flags & HFTCHAN_F_VARLEN))
		throw std::system_error(EPROTOTYPE, std::generic_category(),
					std::string(ch.name()) + ": messages of " +
						(info.flags & HFTCHAN_F_VARLEN ? "up to " : "") +
						std::to_string(info.payload_size) +
						" bytes, the C++ type has " +
						std::to_string(sizeof(T)));
}

} // namespace detail

/* A hftchan_tx for messages of type T */
template <typename T>
class sender
{
public:
	/* hftchan_attach() */
	explicit sender(const channel &ch, unsigned int flags = 0)
	{
		::hftchan_tx *tx = nullptr;

		detail::check_type<T>(ch);
		detail::check(hftchan_attach(ch.handle(), flags, &tx));
		tx_.reset(tx);
	}

	/* hftchan_send() */
	void send(const T &message) noexcept
	{
		hftchan_send(tx_.get(), &message, sizeof(T)); /* the size is right: it can't fail */
	}

	/* hftchan_reserve(): an old message, to be overwritten; then commit() */
	T *reserve() noexcept
	{
		return static_cast<T *>(hftchan_reserve(tx_.get()));
	}

	void commit() noexcept
	{
		hftchan_commit(tx_.get());
	}

	/* hftchan_tx_seq() */
	std::uint64_t seq() const noexcept
	{
		return hftchan_tx_seq(tx_.get());
	}

	/* hftchan_heartbeat() */
	int heartbeat() noexcept
	{
		return hftchan_heartbeat(tx_.get());
	}

	::hftchan_tx *handle() const noexcept
	{
		return tx_.get();
	}

private:
	std::unique_ptr<::hftchan_tx, detail::deleter<hftchan_detach>> tx_;
};

/* A hftchan_rx for messages of type T */
template <typename T>
class receiver
{
public:
	/* hftchan_join() */
	explicit receiver(const channel &ch, ::hftchan_join_at at = HFTCHAN_JOIN_NEXT,
			  std::uint64_t seq = 0)
	{
		::hftchan_rx *rx = nullptr;

		detail::check_type<T>(ch);
		detail::check(hftchan_join(ch.handle(), at, seq, &rx));
		rx_.reset(rx);
	}

	/* hftchan_clone() */
	receiver clone() const
	{
		::hftchan_rx *rx = nullptr;

		detail::check(hftchan_clone(rx_.get(), &rx));
		return receiver(rx);
	}

	/* hftchan_rx_set_wait() */
	void set_wait(::hftchan_wait_mode mode, std::uint64_t timeout_ns = 0)
	{
		detail::check(hftchan_rx_set_wait(rx_.get(), mode, timeout_ns));
	}

	/* hftchan_try_recv(): 0, or -EAGAIN and the other codes; @msg: seq and lost, if wanted */
	int try_recv(T &message, ::hftchan_msg *msg = nullptr) noexcept
	{
		const ssize_t n = hftchan_try_recv(rx_.get(), &message, sizeof(T), msg);

		return n < 0 ? static_cast<int>(n) : 0;
	}

	/* hftchan_recv(): 0, or -ETIMEDOUT, -EPIPE, -ENODEV, -EBADMSG */
	int recv(T &message, ::hftchan_msg *msg = nullptr) noexcept
	{
		const ssize_t n = hftchan_recv(rx_.get(), &message, sizeof(T), msg);

		return n < 0 ? static_cast<int>(n) : 0;
	}

	/* hftchan_recv() for loops that end with the stream; error() tells why there is no value */
	std::optional<T> next(::hftchan_msg *msg = nullptr) noexcept
	{
		alignas(T) unsigned char bytes[sizeof(T)];
		const ssize_t n = hftchan_recv(rx_.get(), bytes, sizeof(T), msg);

		error_ = n < 0 ? static_cast<int>(n) : 0;
		if (n < 0)
			return std::nullopt;
		return *std::launder(reinterpret_cast<const T *>(bytes));
	}

	int error() const noexcept
	{
		return error_;
	}

	/*
	 * hftchan_try_peek(): the message in place, or nullptr. What is read there is a guess until
	 * advance() returns 0.
	 */
	const T *try_peek(::hftchan_msg *msg = nullptr) noexcept
	{
		::hftchan_msg own;

		if (!msg)
			msg = &own;
		const ssize_t n = hftchan_try_peek(rx_.get(), msg);

		error_ = n < 0 ? static_cast<int>(n) : 0;
		return n < 0 ? nullptr : static_cast<const T *>(msg->data);
	}

	/* hftchan_advance() */
	int advance() noexcept
	{
		return hftchan_advance(rx_.get());
	}

	/* hftchan_wait() */
	int wait() noexcept
	{
		return hftchan_wait(rx_.get());
	}

	/* hftchan_rx_seq(), hftchan_rx_lost() */
	std::uint64_t seq() const noexcept
	{
		return hftchan_rx_seq(rx_.get());
	}

	std::uint64_t lost() const noexcept
	{
		return hftchan_rx_lost(rx_.get());
	}

	::hftchan_rx *handle() const noexcept
	{
		return rx_.get();
	}

private:
	explicit receiver(::hftchan_rx *rx) noexcept : rx_(rx)
	{
	}

	std::unique_ptr<::hftchan_rx, detail::deleter<hftchan_leave>> rx_;
	int error_ = 0;
};

} // namespace hft

#endif /* HFTCHAN_HPP */
