/*
 * libcometd with Asio: the events of a client, or of a receiver, by `co_await` or any
 * other completion token.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * With the standalone Asio (1.18 or later); with Boost.Asio (1.74 or later) when
 * COMETD_BOOST_ASIO is defined. A program links libcometd; C++20 for `next`, and C++17
 * for all else.
 *
 *     cometd::event_stream events(executor, client);
 *     client.connect();
 *     while (std::optional<cometd::event> event = co_await events.next()) { … }
 *
 * A stream watches a descriptor of its own. It takes the events of its client, on
 * whichever threads the executor has, and is used by one of them at a time. It must not
 * outlive its client, and the client not be destroyed while a call waits.
 */

#ifndef COMETD_ASIO_HPP
#define COMETD_ASIO_HPP

#include <cometd/cometd.hpp>

#include <fcntl.h>

#ifdef COMETD_BOOST_ASIO
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/version.hpp>
#ifdef BOOST_ASIO_HAS_CO_AWAIT
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#endif
#else
#include <asio/any_io_executor.hpp>
#include <asio/compose.hpp>
#include <asio/error.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/version.hpp>
#ifdef ASIO_HAS_CO_AWAIT
#include <asio/awaitable.hpp>
#include <asio/use_awaitable.hpp>
#endif
#endif

namespace cometd {

namespace detail {

#ifdef COMETD_BOOST_ASIO
namespace net = boost::asio;
using asio_error_code = boost::system::error_code;

/// The category of `status` for Boost, of which older versions do not take that of the standard library.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never destroyed by its base
class boost_category final : public boost::system::error_category {
public:
    [[nodiscard]] const char *name() const noexcept override { return category().name(); }
    [[nodiscard]] std::string message(int code) const override { return category().message(code); }
};

[[nodiscard]] inline asio_error_code for_asio(std::error_code code) noexcept {
    static const boost_category only;
    return code ? asio_error_code(code.value(), only) : asio_error_code();
}
#define COMETD_ASIO_VERSION BOOST_ASIO_VERSION
#ifdef BOOST_ASIO_HAS_CO_AWAIT
#define COMETD_ASIO_HAS_CO_AWAIT
#endif
#else
namespace net = ::asio;
using asio_error_code = ::asio::error_code;

[[nodiscard]] inline asio_error_code for_asio(std::error_code code) noexcept { return code; }
#define COMETD_ASIO_VERSION ASIO_VERSION
#ifdef ASIO_HAS_CO_AWAIT
#define COMETD_ASIO_HAS_CO_AWAIT
#endif
#endif

/// One `async_next`, in the shape that async_compose wants.
template <class Source>
class next_event {
public:
    next_event(Source &source, net::posix::stream_descriptor &watched) noexcept : source_(&source), watched_(&watched) {}

    template <class Self>
    void operator()(Self &self, asio_error_code failed = {}) {
        if (ready_) {
            self.complete(failed_, std::move(event_));
            return;
        }
#if COMETD_ASIO_VERSION >= 102000
        // Nothing is lost by a wait that is given up.
        self.reset_cancellation_state(net::enable_total_cancellation());
#endif
        if (!failed && !watched_->is_open()) {
            failed = net::error::bad_descriptor;
        }
        if (!failed) {
            result<status> polled = source_->try_poll(event_.emplace(), std::chrono::milliseconds(0));
            if (polled && *polled == status::none) {
                event_.reset();
                waited_ = true;
                watched_->async_wait(net::posix::stream_descriptor::wait_read, std::move(self));
                return;
            }
            failed_ = for_asio(polled.code());
            if (!polled || *polled != status::ok) {
                event_.reset();
            }
        } else {
            failed_ = failed;
        }
        if (waited_) {
            self.complete(failed_, std::move(event_));
            return;
        }
        // Never inside the call that has begun it.
        ready_ = true;
        net::post(watched_->get_executor(), std::move(self));
    }

private:
    Source *source_;
    net::posix::stream_descriptor *watched_;
    std::optional<event> event_;
    asio_error_code failed_;
    bool waited_ = false;
    bool ready_ = false;
};

}  // namespace detail

/// The events of a client or of a receiver, one after the other.
template <class Source>
class basic_event_stream {
public:
    using executor_type = detail::net::posix::stream_descriptor::executor_type;

    /// Of `source`, which has neither a callback nor another that polls. Without a descriptor,
    /// when the system has none left, each `async_next` fails.
    basic_event_stream(const executor_type &executor, Source &source) : source_(&source), watched_(executor) {
        // A descriptor of its own, to be closed: two streams may be in one context.
        // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): fcntl has no other form
        const int own = ::fcntl(source.fd(), F_DUPFD_CLOEXEC, 0);
        detail::asio_error_code failed;
        if (own >= 0) {
            watched_.assign(own, failed);
        }
    }
    template <class Context, class = std::enable_if_t<std::is_convertible_v<
                                 decltype(std::declval<Context &>().get_executor()), executor_type>>>
    basic_event_stream(Context &context, Source &source) : basic_event_stream(executor_type(context.get_executor()), source) {}

    [[nodiscard]] executor_type get_executor() noexcept { return watched_.get_executor(); }
    [[nodiscard]] Source &source() noexcept { return *source_; }

    /// Completes with the next event, `void(error_code, std::optional<event>)`; without one when none comes
    /// any more, for event_type::closed was the last one. One at a time. It can be cancelled, by `cancel` and by
    /// a cancellation slot, and no event is lost by that.
    template <class Token>
    auto async_next(Token &&token) {
        return detail::net::async_compose<Token, void(detail::asio_error_code, std::optional<event>)>(
            detail::next_event<Source>(*source_, watched_), token, watched_);
    }
#ifdef COMETD_ASIO_HAS_CO_AWAIT
    [[nodiscard]] detail::net::awaitable<std::optional<event>> next() {
        return async_next(detail::net::use_awaitable);
    }
#endif
    /// Ends the call that waits, with operation_aborted.
    void cancel() {
        detail::asio_error_code ignored;
        watched_.cancel(ignored);
    }

private:
    Source *source_;
    detail::net::posix::stream_descriptor watched_;
};

/// The events of a client.
using event_stream = basic_event_stream<client>;
/// The events of a receiver.
using receiver_stream = basic_event_stream<receiver>;

}  // namespace cometd

#undef COMETD_ASIO_VERSION
#undef COMETD_ASIO_HAS_CO_AWAIT

#endif  // COMETD_ASIO_HPP
