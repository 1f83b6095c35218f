/*
 * libcometd: a CometD (Bayeux 1.0) client. The C++17 face of cometd.h.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Header-only: a program includes this file and links libcometd, nothing else.
 * Each class owns, or looks at, one object of cometd.h, and each member function
 * is one function of it, whose comment there is its manual: results, limits,
 * threads. Types, states, policies and phases are the constants of cometd.h.
 * What is added here:
 *
 * - Owners: `builder`, `client`, `receiver`, `event` and `message` free what they
 *   own. They are moved, not copied; one that was moved from is empty, and is
 *   only destroyed or assigned to. `get()` gives the C object.
 * - Views: `event_view`, `message_view` and `error_view` own nothing, are copied
 *   freely and end with what they look at. So does every std::string_view that
 *   is returned; its text ends in NUL, as in C.
 * - Errors: what is a negative status in C is thrown as `cometd::error`, which
 *   owns copies of all that is known. "Nothing wrong, nothing to give" is no
 *   error: `poll` and `wait` return COMETD_OK, COMETD_NONE or COMETD_CLOSED.
 *   Destructors, views and the accessors of events throw nothing.
 * - Callbacks are std::function. What one throws never reaches the library: it
 *   goes to the handler that was given with the callback, or is dropped without
 *   one, and the next event comes as usual.
 * - Time is std::chrono::milliseconds; `cometd::forever` waits without limit.
 *   What does not fit into 32 bits (24 days) is cut to what does.
 * - Text in that holds a NUL, which C could not see the rest of, is refused with
 *   COMETD_E_INVALID_ARGUMENT.
 */

#ifndef COMETD_HPP
#define COMETD_HPP

#include <cometd/cometd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/* What pthread_exit unwinds with must be caught by nobody. */
#ifdef __GLIBCXX__
#include <cxxabi.h>
#define COMETD_LET_THREAD_END catch (const abi::__forced_unwind &) { throw; }
#else
#define COMETD_LET_THREAD_END
#endif

namespace cometd {

using milliseconds = std::chrono::milliseconds;

/// Waits without limit; not for `client::disconnect`.
inline constexpr milliseconds forever{-1};

namespace detail {

template <class T, void (*Free)(T *)>
struct deleter {
    void operator()(T *object) const noexcept { Free(object); }
};

template <class T, void (*Free)(T *)>
using owner = std::unique_ptr<T, deleter<T, Free>>;

inline std::optional<std::string_view> view(const char *text) {
    return text == nullptr ? std::nullopt : std::optional<std::string_view>(text);
}

inline std::optional<std::string> copy(const char *text) {
    return text == nullptr ? std::nullopt : std::optional<std::string>(text);
}

/// JSON with its length.
inline std::optional<std::string_view> view(const char *text, std::size_t length) {
    return text == nullptr ? std::nullopt : std::optional<std::string_view>(std::string_view(text, length));
}

inline std::optional<std::string> copy(std::optional<std::string_view> text) {
    return text ? std::optional<std::string>(*text) : std::nullopt;
}

inline std::int32_t to_ms(milliseconds time) {
    using limits = std::numeric_limits<std::int32_t>;
    return static_cast<std::int32_t>(
        std::clamp<milliseconds::rep>(time.count(), limits::min(), limits::max()));
}

}  // namespace detail

/// An error of an event; it lives as long as the event.
class error_view {
public:
    explicit error_view(const cometd_error *error) noexcept : error_(error) {}

    cometd_status status() const noexcept { return cometd_error_status(error_); }
    /// One line, with the whole chain of causes.
    std::string_view message() const noexcept { return cometd_error_message(error_); }
    /// One of COMETD_PHASE_….
    std::int32_t phase() const noexcept { return cometd_error_phase(error_); }
    bool is_fatal() const noexcept { return cometd_error_is_fatal(error_); }
    /// 0 when there was no response.
    std::int32_t http_status() const noexcept { return cometd_error_http_status(error_); }
    /// With which a WebSocket was closed, 1006 without a close frame; 0 when none was.
    std::int32_t websocket_code() const noexcept { return cometd_error_websocket_code(error_); }
    /// "403::Unknown client".
    std::optional<std::string_view> bayeux() const noexcept {
        return detail::view(cometd_error_bayeux(error_, nullptr));
    }
    /// 403; 0 when there is none.
    std::int32_t bayeux_code() const noexcept {
        std::int32_t code = 0;
        cometd_error_bayeux(error_, &code);
        return code;
    }
    std::optional<std::string_view> channel() const noexcept {
        return detail::view(cometd_error_channel(error_));
    }
    /// What the client is called that it is of.
    std::optional<std::string_view> client() const noexcept { return detail::view(cometd_error_client(error_)); }
    /// Of the request that failed, without user, password and query.
    std::optional<std::string_view> url() const noexcept { return detail::view(cometd_error_url(error_)); }
    /// The JSON of the reply's ext.
    std::optional<std::string_view> ext() const noexcept {
        std::size_t length = 0;
        const char *text = cometd_error_ext(error_, &length);
        return detail::view(text, length);
    }
    /// The JSON of the reply's whole error.
    std::optional<std::string_view> bayeux_json() const noexcept {
        std::size_t length = 0;
        const char *text = cometd_error_bayeux_json(error_, &length);
        return detail::view(text, length);
    }
    /// Nothing when there will be no further attempt.
    std::optional<milliseconds> retry_in() const noexcept {
        const std::int32_t time = cometd_error_retry_in_ms(error_);
        return time < 0 ? std::nullopt : std::optional<milliseconds>(milliseconds(time));
    }
    const cometd_error *get() const noexcept { return error_; }

private:
    const cometd_error *error_;
};

/// Owns an error that a function of cometd.h gave by its `err`.
using error_owner = detail::owner<cometd_error, cometd_error_free>;

/// What a call throws. `what()` is the message; all else is as in `error_view`,
/// copied out, so that it lives as long as the exception.
class error : public std::runtime_error {
public:
    explicit error(error_view from)
        : std::runtime_error(std::string(from.message())),
          details_(std::make_shared<const details>(details{from.status(), from.phase(),
              from.is_fatal(), from.http_status(), from.websocket_code(),
              detail::copy(cometd_error_bayeux(from.get(), nullptr)), from.bayeux_code(), detail::copy(cometd_error_channel(from.get())), from.retry_in(),
              detail::copy(from.client()), detail::copy(from.url()), detail::copy(from.ext()),
              detail::copy(from.bayeux_json())})) {}

    /// An error of a call that tells its status only.
    error(cometd_status status, const std::string &what)
        : std::runtime_error(what + ": " + cometd_status_text(status)),
          details_(std::make_shared<const details>(
              details{status, COMETD_PHASE_CALL, false, 0, 0, std::nullopt, 0, std::nullopt, std::nullopt, std::nullopt,
                  std::nullopt, std::nullopt, std::nullopt})) {}

    cometd_status status() const noexcept { return details_->status; }
    std::int32_t phase() const noexcept { return details_->phase; }
    bool is_fatal() const noexcept { return details_->fatal; }
    std::int32_t http_status() const noexcept { return details_->http_status; }
    std::int32_t websocket_code() const noexcept { return details_->websocket_code; }
    const std::optional<std::string> &bayeux() const noexcept { return details_->bayeux; }
    std::int32_t bayeux_code() const noexcept { return details_->bayeux_code; }
    const std::optional<std::string> &channel() const noexcept { return details_->channel; }
    std::optional<milliseconds> retry_in() const noexcept { return details_->retry_in; }
    const std::optional<std::string> &client() const noexcept { return details_->client; }
    const std::optional<std::string> &url() const noexcept { return details_->url; }
    const std::optional<std::string> &ext() const noexcept { return details_->ext; }
    const std::optional<std::string> &bayeux_json() const noexcept { return details_->bayeux_json; }

private:
    struct details {
        cometd_status status;
        std::int32_t phase;
        bool fatal;
        std::int32_t http_status;
        std::int32_t websocket_code;
        std::optional<std::string> bayeux;
        std::int32_t bayeux_code;
        std::optional<std::string> channel;
        std::optional<milliseconds> retry_in;
        std::optional<std::string> client;
        std::optional<std::string> url;
        std::optional<std::string> ext;
        std::optional<std::string> bayeux_json;
    };
    /// Shared, so that copying the exception throws nothing.
    std::shared_ptr<const details> details_;
};

/// Gets what a callback threw. What it throws itself is dropped. It runs on the
/// thread of the callback.
using exception_handler = std::function<void(std::exception_ptr)>;

namespace detail {

/// Throws unless the status is success or "nothing to give".
inline cometd_status check(cometd_status status, const char *what) {
    if (status < 0) {
        throw error(status, what);
    }
    return status;
}

/// Calls a function of C with an `err` of its own, and throws what comes out.
template <class Call>
cometd_status checked(const char *what, Call call) {
    cometd_error *raw = nullptr;
    const cometd_status status = call(&raw);
    const error_owner owned(raw);
    if (status < 0 && owned != nullptr) {
        throw error(error_view(owned.get()));
    }
    return check(status, what);
}

/// A text for C; refused when C would see only a part of it.
inline const char *text(const std::string &text, const char *what) {
    if (text.find('\0') != std::string::npos) {
        throw error(COMETD_E_INVALID_ARGUMENT, std::string(what) + ": the text holds a NUL");
    }
    return text.c_str();
}

template <class Function>
struct callback {
    Function function;
    exception_handler on_exception;

    void report() const noexcept {
        try {
            if (on_exception) {
                on_exception(std::current_exception());
            }
        } catch (...) {
            // There is nobody left to tell.
        }
    }
};

template <class Callback>
void free_callback(void *user) {
    delete static_cast<Callback *>(user);
}

/// Gives a callback to a function of C, which owns it on success only.
template <class Function, class Install>
void install(const char *what, Function function, exception_handler on_exception, Install install) {
    auto owned = std::make_unique<callback<Function>>(
        callback<Function>{std::move(function), std::move(on_exception)});
    check(install(owned.get(), free_callback<callback<Function>>), what);
    owned.release();
}

template <class Self>
class message_accessors {
public:
    std::string_view channel() const noexcept { return part(cometd_message_channel).value_or(""); }
    /// The JSON text as the server sent it.
    std::string_view data() const noexcept { return part(cometd_message_data).value_or(""); }
    std::optional<std::string_view> ext() const noexcept { return part(cometd_message_ext); }
    /// Whether the ext says that the data is bytes, as text.
    bool is_binary() const noexcept { return cometd_message_is_binary(raw()); }
    /// The bytes of a binary message; nothing when they cannot be read.
    std::optional<std::string_view> binary() const noexcept {
        std::size_t length = 0;
        const std::uint8_t *bytes = cometd_message_binary(raw(), &length);
        return detail::view(reinterpret_cast<const char *>(bytes), length);
    }
    /// Whether no other part belongs behind these bytes.
    bool binary_is_last() const noexcept { return cometd_message_binary_is_last(raw()); }
    /// The JSON that says more of the bytes.
    std::optional<std::string_view> binary_meta() const noexcept { return part(cometd_message_binary_meta); }
    /// The JSON text: a string with its quotes, or a number.
    std::optional<std::string_view> id() const noexcept { return part(cometd_message_id); }
    /// The id of the replay extension, a position to start after.
    std::optional<std::int64_t> replay_id() const noexcept {
        std::int64_t id = 0;
        const bool found = cometd_message_replay_id(raw(), &id);
        return found ? std::optional<std::int64_t>(id) : std::nullopt;
    }

private:
    const cometd_message *raw() const noexcept { return static_cast<const Self *>(this)->get(); }
    std::optional<std::string_view> part(const char *(*accessor)(const cometd_message *, std::size_t *)) const noexcept {
        std::size_t length = 0;
        const char *text = accessor(raw(), &length);
        return text == nullptr ? std::nullopt
                               : std::optional<std::string_view>(std::string_view(text, length));
    }
};

}  // namespace detail

/// A message that is kept longer than its event; made by `message_view::retain`.
class message : public detail::message_accessors<message> {
public:
    /// Takes over what cometd_message_retain gave.
    explicit message(cometd_message *adopted) noexcept : message_(adopted) {}
    /// Another owner of the same message.
    message retain() const { return message(cometd_message_retain(message_.get())); }
    const cometd_message *get() const noexcept { return message_.get(); }

private:
    detail::owner<cometd_message, cometd_message_free> message_;
};

/// A message; it lives as long as its event.
class message_view : public detail::message_accessors<message_view> {
public:
    explicit message_view(const cometd_message *message) noexcept : message_(message) {}
    /// Keeps it longer.
    message retain() const { return message(cometd_message_retain(message_)); }
    const cometd_message *get() const noexcept { return message_; }

private:
    const cometd_message *message_;
};

namespace detail {

template <class Self>
class event_accessors {
public:
    /// One of COMETD_EVENT_…; more may come.
    std::int32_t type() const noexcept { return cometd_event_type(raw()); }
    std::optional<message_view> message() const noexcept {
        const cometd_message *message = cometd_event_message(raw());
        return message == nullptr ? std::nullopt : std::optional<message_view>(message_view(message));
    }
    std::optional<error_view> error() const noexcept {
        const cometd_error *error = cometd_event_error(raw());
        return error == nullptr ? std::nullopt : std::optional<error_view>(error_view(error));
    }
    /// The new state of a COMETD_EVENT_STATE.
    cometd_state state() const noexcept { return cometd_event_state(raw(), nullptr); }
    /// The state before.
    cometd_state previous_state() const noexcept {
        cometd_state previous = COMETD_STATE_IDLE;
        cometd_event_state(raw(), &previous);
        return previous;
    }
    /// What `subscribe`, `unsubscribe`, `publish` or `remote_call` returned; 0 when it is about none.
    std::uint64_t id() const noexcept { return cometd_event_id(raw()); }
    std::optional<std::string_view> channel() const noexcept { return view(cometd_event_channel(raw())); }
    /// The JSON of a COMETD_EVENT_ADVICE.
    std::optional<std::string_view> advice() const noexcept {
        std::size_t length = 0;
        const char *text = cometd_event_advice(raw(), &length);
        return text == nullptr ? std::nullopt : std::optional<std::string_view>({text, length});
    }
    /// The JSON of the ext of the reply that the event is of.
    std::optional<std::string_view> ext() const noexcept {
        std::size_t length = 0;
        const char *text = cometd_event_ext(raw(), &length);
        return view(text, length);
    }
    /// Whether a COMETD_EVENT_SUBSCRIBED tells of a subscription made again, in a new session.
    bool is_renewed() const noexcept { return cometd_event_is_renewed(raw()); }
    /// How many messages a COMETD_EVENT_DROPPED stands for.
    std::uint64_t dropped() const noexcept { return cometd_event_dropped(raw()); }

private:
    const cometd_event *raw() const noexcept { return static_cast<const Self *>(this)->get(); }
};

}  // namespace detail

/// An event inside a callback; it ends with the call.
class event_view : public detail::event_accessors<event_view> {
public:
    explicit event_view(const cometd_event *event) noexcept : event_(event) {}
    const cometd_event *get() const noexcept { return event_; }

private:
    const cometd_event *event_;
};

/// An event that was polled. An empty one is of type 0.
class event : public detail::event_accessors<event> {
public:
    event() noexcept = default;
    /// Takes over what a _poll of cometd.h gave.
    explicit event(cometd_event *adopted) noexcept : event_(adopted) {}
    const cometd_event *get() const noexcept { return event_.get(); }
    operator event_view() const noexcept { return event_view(event_.get()); }

private:
    detail::owner<cometd_event, cometd_event_free> event_;
};

using event_callback = std::function<void(event_view)>;

namespace detail {

inline void call_event(void *user, const cometd_event *event) {
    const auto &self = *static_cast<callback<event_callback> *>(user);
    try {
        self.function(event_view(event));
    } COMETD_LET_THREAD_END catch (...) {
        self.report();
    }
}

/// What clients and receivers have in common.
template <class Self, class T, cometd_status (*Poll)(T *, std::int32_t, cometd_event **),
    std::size_t (*PollMany)(T *, std::int32_t, cometd_event **, std::size_t), std::ptrdiff_t (*Fd)(T *),
    cometd_status (*SetCallback)(T *, cometd_event_fn, void *, cometd_free_fn)>
class event_source {
public:
    /// Takes the oldest event. Returns COMETD_OK; or COMETD_NONE, when none came
    /// in time, or COMETD_CLOSED, when none comes any more: then `out` is empty.
    cometd_status poll(event &out, milliseconds timeout = forever) {
        cometd_event *raw = nullptr;
        const cometd_status status = Poll(raw_source(), to_ms(timeout), &raw);
        out = event(raw);
        return check(status, "poll");
    }

    /// Puts up to `most` events into `out`, in place of what it held, waiting for
    /// the first; returns how many. 0 tells as little as in C: `poll` tells why.
    std::size_t poll_many(std::vector<event> &out, std::size_t most, milliseconds timeout = forever) {
        std::vector<cometd_event *> raw(most);
        out.clear();
        out.reserve(most);  // Nothing may throw once the events are here.
        const std::size_t count = PollMany(raw_source(), to_ms(timeout), raw.data(), most);
        for (std::size_t i = 0; i < count; i++) {
            out.emplace_back(raw[i]);
        }
        return count;
    }

    /// Readable exactly while `poll` has something to give; only to be watched.
    std::ptrdiff_t fd() { return Fd(raw_source()); }

    /// Has each event given to `function`, on a thread of the library, one at a
    /// time. What it throws goes to `on_exception`.
    void set_callback(event_callback function, exception_handler on_exception = {}) {
        if (!function) {
            return remove_callback();
        }
        install("set_callback", std::move(function), std::move(on_exception),
            [this](void *user, cometd_free_fn free) { return SetCallback(raw_source(), call_event, user, free); });
    }

    /// Removes the callback; a call that is running is not waited for.
    void remove_callback() { check(SetCallback(raw_source(), nullptr, nullptr, nullptr), "set_callback"); }

private:
    T *raw_source() noexcept { return static_cast<Self *>(this)->get(); }
};

}  // namespace detail

/// One session with one server, and the receiver of its events. Destroying it
/// aborts what still runs; `disconnect` tells the server.
class client : public detail::event_source<client, cometd_client, cometd_client_poll,
                   cometd_client_poll_many, cometd_client_fd, cometd_client_set_callback> {
public:
    /// Takes over what cometd_client_builder_build gave.
    explicit client(cometd_client *adopted) noexcept : client_(adopted) {}

    /// Starts the handshake and returns.
    void connect() {
        detail::checked("connect", [&](cometd_error **err) { return cometd_client_connect(get(), err); });
    }
    /// Returns COMETD_OK: `state` is reached or passed; COMETD_NONE: not in time;
    /// COMETD_CLOSED: it will not be.
    cometd_status wait(cometd_state state, milliseconds timeout) {
        return detail::check(cometd_client_wait(get(), state, detail::to_ms(timeout)), "wait");
    }
    cometd_state state() const noexcept { return cometd_client_state(client_.get()); }
    /// Why it is not connected: the last error of the client itself since it was. It is returned, not thrown.
    std::optional<error> last_error() {
        cometd_error *raw = nullptr;
        detail::check(cometd_client_last_error(get(), &raw), "last_error");
        const error_owner owned(raw);
        return owned == nullptr ? std::nullopt : std::optional<error>(error(error_view(owned.get())));
    }
    /// Over what the last reply came: one of COMETD_TRANSPORT_…; 0 when none has.
    std::int32_t transport() const noexcept { return cometd_client_transport(client_.get()); }
    /// What it is called in errors and log lines.
    std::string_view name() const noexcept { return detail::view(cometd_client_name(client_.get())).value_or(""); }
    /// The id that the server has given the session; nothing when there is none.
    std::optional<std::string> session_id() {
        std::string text;
        const cometd_status status = copied(cometd_client_session_id, "session_id", text);
        return status == COMETD_NONE ? std::nullopt : std::optional<std::string>(std::move(text));
    }

    /// Subscribes to channels; one event follows for each, with the id returned.
    std::uint64_t subscribe(const std::vector<std::string> &channels) {
        return on_channels("subscribe", cometd_client_subscribe, channels.data(), channels.size());
    }
    std::uint64_t subscribe(std::initializer_list<std::string> channels) {
        return on_channels("subscribe", cometd_client_subscribe, channels.begin(), channels.size());
    }
    std::uint64_t subscribe(const std::string &channel) {
        return on_channels("subscribe", cometd_client_subscribe, &channel, 1);
    }
    /// Ends subscriptions; one event follows for each, with the id returned.
    std::uint64_t unsubscribe(const std::vector<std::string> &channels) {
        return on_channels("unsubscribe", cometd_client_unsubscribe, channels.data(), channels.size());
    }
    std::uint64_t unsubscribe(std::initializer_list<std::string> channels) {
        return on_channels("unsubscribe", cometd_client_unsubscribe, channels.begin(), channels.size());
    }
    std::uint64_t unsubscribe(const std::string &channel) {
        return on_channels("unsubscribe", cometd_client_unsubscribe, &channel, 1);
    }
    /// Publishes one JSON value; one event follows, with the id returned.
    std::uint64_t publish(const std::string &channel, std::string_view json) {
        std::uint64_t id = 0;
        const char *name = detail::text(channel, "publish");
        // An empty view may have no address, which C would take for a missing argument.
        const char *data = json.data() == nullptr ? "" : json.data();
        detail::checked("publish", [&](cometd_error **err) {
            return cometd_client_publish(get(), name, data, json.size(), &id, err);
        });
        return id;
    }
    /// Publishes bytes. `last` is false for a part after which others belong; `meta` is a JSON object, or empty for none.
    std::uint64_t publish_binary(const std::string &channel, std::string_view bytes, bool last = true,
                                 std::string_view meta = {}) {
        std::uint64_t id = 0;
        const char *name = detail::text(channel, "publish_binary");
        const char *more = meta.empty() ? nullptr : meta.data();
        detail::checked("publish_binary", [&](cometd_error **err) {
            return cometd_client_publish_binary(get(), name, bytes.data(), bytes.size(), last, more, meta.size(), &id,
                                                err);
        });
        return id;
    }
    /// Publishes, and sends again until the server has answered: at least once.
    /// `attempts` is COMETD_RETRY_FOREVER for no limit, `timeout` -1 ms likewise.
    std::uint64_t publish_with_retries(const std::string &channel, std::string_view json, milliseconds timeout,
                                       std::uint32_t attempts = COMETD_RETRY_FOREVER) {
        std::uint64_t id = 0;
        const char *name = detail::text(channel, "publish_with_retries");
        const char *data = json.data() == nullptr ? "" : json.data();
        detail::checked("publish_with_retries", [&](cometd_error **err) {
            return cometd_client_publish_with_retries(get(), name, data, json.size(), detail::to_ms(timeout), attempts,
                                                      &id, err);
        });
        return id;
    }
    /// Calls a service, "/service/…"; COMETD_EVENT_RESULT or an error follows, with
    /// the id returned.
    std::uint64_t remote_call(const std::string &channel, std::string_view json, milliseconds timeout) {
        std::uint64_t id = 0;
        const char *name = detail::text(channel, "remote_call");
        const char *data = json.data() == nullptr ? "" : json.data();
        detail::checked("remote_call", [&](cometd_error **err) {
            return cometd_client_remote_call(get(), name, data, json.size(), detail::to_ms(timeout), &id, err);
        });
        return id;
    }
    /// Begins a batch: what is called from here on is sent in one request at its
    /// end. `cometd::batch` pairs the two.
    void batch_begin() {
        detail::checked("batch_begin", [&](cometd_error **err) { return cometd_client_batch_begin(get(), err); });
    }
    void batch_end() {
        detail::checked("batch_end", [&](cometd_error **err) { return cometd_client_batch_end(get(), err); });
    }
    /// What the server's clock says, in milliseconds since 1970; nothing when that is not known.
    std::optional<std::int64_t> server_time() {
        std::int64_t time = 0;
        const cometd_status status = detail::check(cometd_client_server_time(get(), &time), "server_time");
        return status == COMETD_OK ? std::optional<std::int64_t>(time) : std::nullopt;
    }
    /// What the client has done so far, as a JSON object.
    std::string statistics() {
        std::string text;
        copied(cometd_client_statistics, "statistics", text);
        return text;
    }
    /// Where the next `subscribe` to this channel starts; with the replay extension.
    void set_replay_position(const std::string &channel, std::int64_t position) {
        const char *name = detail::text(channel, "set_replay_position");
        detail::checked("set_replay_position",
            [&](cometd_error **err) { return cometd_client_set_replay_position(get(), name, position, err); });
    }
    /// The value of the Authorization header from the next request on.
    void set_authorization(const std::string &header_value) {
        detail::check(cometd_client_set_authorization(get(), detail::text(header_value, "set_authorization")),
            "set_authorization");
    }
    /// Ends the session, within `timeout`; 0 returns at once.
    /// Throws COMETD_E_UNDELIVERED when publishes have failed, and no event has told so before.
    void disconnect(milliseconds timeout) {
        detail::checked("disconnect", [&](cometd_error **err) {
            return cometd_client_disconnect(get(), detail::to_ms(timeout), err);
        });
    }
    /// Gives the session to `builder::set_resume`, and ends without a word to the server. It is a secret.
    /// Within `timeout`; where that was not enough, it can be called again.
    std::string export_session(milliseconds timeout) {
        const char *text = nullptr;
        detail::checked("export_session", [&](cometd_error **err) {
            return cometd_client_export(get(), detail::to_ms(timeout), &text, err);
        });
        return text;
    }

    cometd_client *get() noexcept { return client_.get(); }
    /// Gives the C object away; this one is empty then.
    cometd_client *release() noexcept { return client_.release(); }

private:
    using channels_function = cometd_status (*)(
        cometd_client *, const char *const *, std::size_t, std::uint64_t *, cometd_error **);

    using copy_function = cometd_status (*)(cometd_client *, char *, std::size_t, std::size_t *);

    cometd_status copied(copy_function function, const char *what, std::string &text) {
        // It may grow between two calls, so its length is asked with each of them.
        std::size_t needed = 0;
        cometd_status status = function(get(), nullptr, 0, &needed);
        while (status == COMETD_E_OUT_OF_RANGE) {
            text.resize(needed);
            status = function(get(), &text[0], text.size(), &needed);
        }
        detail::check(status, what);
        text.resize(status == COMETD_OK ? needed - 1 : 0);
        return status;
    }

    std::uint64_t on_channels(
        const char *what, channels_function function, const std::string *channels, std::size_t count) {
        std::vector<const char *> names(count + 1);  // Never empty: the address of none is no NULL.
        for (std::size_t i = 0; i < count; i++) {
            names[i] = detail::text(channels[i], what);
        }
        std::uint64_t id = 0;
        detail::checked(what, [&](cometd_error **err) { return function(get(), names.data(), count, &id, err); });
        return id;
    }

    detail::owner<cometd_client, cometd_client_free> client_;
};

/// A batch from its making to its end, which its destructor is the latest moment
/// for. It must not outlive its client.
class batch {
public:
    explicit batch(client &of) : client_(&of) { of.batch_begin(); }
    batch(batch &&other) noexcept : client_(std::exchange(other.client_, nullptr)) {}
    batch &operator=(batch &&other) noexcept {
        std::swap(client_, other.client_);
        return *this;
    }
    ~batch() {
        if (client_ != nullptr) {
            // Without an error to throw: it fails only where there is nothing left to send.
            cometd_client_batch_end(client_->get(), nullptr);
        }
    }
    /// Ends it here, and tells when that fails.
    void end() {
        if (client *of = std::exchange(client_, nullptr)) {
            of->batch_end();
        }
    }

private:
    client *client_;
};

/// A further receiver of a client: it sees every event from its making on, and
/// may outlive the client.
class receiver : public detail::event_source<receiver, cometd_receiver, cometd_receiver_poll,
                     cometd_receiver_poll_many, cometd_receiver_fd, cometd_receiver_set_callback> {
public:
    explicit receiver(client &of) {
        cometd_receiver *raw = nullptr;
        detail::check(cometd_receiver_new(of.get(), &raw), "receiver");
        receiver_.reset(raw);
    }
    /// Takes over what cometd_receiver_new gave.
    explicit receiver(cometd_receiver *adopted) noexcept : receiver_(adopted) {}

    cometd_receiver *get() noexcept { return receiver_.get(); }

private:
    detail::owner<cometd_receiver, cometd_receiver_free> receiver_;
};

/// Gives the value of the Authorization header, "Bearer abc", or nothing; an
/// exception counts as nothing. `reason` is one of COMETD_TOKEN_….
using token_provider = std::function<std::optional<std::string>(std::int32_t reason)>;

namespace detail {

inline cometd_status call_token_provider(void *user, std::int32_t reason, cometd_token *token) {
    const auto &self = *static_cast<callback<token_provider> *>(user);
    try {
        const std::optional<std::string> value = self.function(reason);
        if (!value) {
            return COMETD_E_CREDENTIALS;
        }
        return cometd_token_set_authorization(token, text(*value, "token provider"));
    } COMETD_LET_THREAD_END catch (...) {
        self.report();
        return COMETD_E_CREDENTIALS;
    }
}

}  // namespace detail

/// Gives the position that is stored for a channel, or nothing when none is. What it
/// throws fails the `subscribe` that asks: a `cometd::error` with its own status, all
/// else with COMETD_E_SYSTEM.
using replay_loader = std::function<std::optional<std::int64_t>(std::string_view channel)>;
/// Stores the position of a channel. It has failed when it throws.
using replay_saver = std::function<void(std::string_view channel, std::int64_t position)>;

namespace detail {

struct replay_store {
    replay_loader load;
    replay_saver save;
};

inline cometd_status call_replay_load(void *user, const char *channel, std::int64_t *position) {
    const auto &self = *static_cast<callback<replay_store> *>(user);
    try {
        const std::optional<std::int64_t> stored = self.function.load(channel);
        if (!stored) {
            return COMETD_NONE;
        }
        *position = *stored;
        return COMETD_OK;
    } COMETD_LET_THREAD_END catch (const error &thrown) {
        self.report();
        return thrown.status();
    } catch (...) {
        self.report();
        return COMETD_E_SYSTEM;
    }
}

inline cometd_status call_replay_save(void *user, const char *channel, std::int64_t position) {
    const auto &self = *static_cast<callback<replay_store> *>(user);
    try {
        self.function.save(channel, position);
        return COMETD_OK;
    } COMETD_LET_THREAD_END catch (...) {
        self.report();
        return COMETD_E_SYSTEM;
    }
}

}  // namespace detail

/// A message while an extension has it; it ends with the call.
class extension_message {
public:
    explicit extension_message(cometd_extension_message *message) noexcept : message_(message) {}
    /// The whole message, a JSON object. The text is good until the call ends.
    std::string_view json() const noexcept {
        std::size_t length = 0;
        const char *text = cometd_extension_message_json(message_, &length);
        return text == nullptr ? std::string_view() : std::string_view(text, length);
    }
    /// Puts another JSON object in its place.
    void replace(std::string_view json) {
        const char *data = json.data() == nullptr ? "" : json.data();
        detail::check(cometd_extension_message_replace(message_, data, json.size()), "replace");
    }
    /// It goes no further.
    void drop() { detail::check(cometd_extension_message_drop(message_), "drop"); }
    cometd_extension_message *get() const noexcept { return message_; }

private:
    cometd_extension_message *message_;
};

/// One direction of an extension. When it throws, the message goes on as it was
/// before.
using extension = std::function<void(extension_message)>;

/// A handshake that is about to be made; it ends with the call.
class handshake {
public:
    explicit handshake(cometd_handshake *handshake) noexcept : handshake_(handshake) {}
    /// 1 for the first attempt since the last session that worked.
    std::uint32_t attempt() const noexcept { return cometd_handshake_attempt(handshake_); }
    /// The reply, JSON, that refused the last one; it may hold a challenge.
    std::optional<std::string_view> refusal() const noexcept {
        std::size_t length = 0;
        const char *text = cometd_handshake_refusal(handshake_, &length);
        return text == nullptr ? std::nullopt : std::optional<std::string_view>(std::string_view(text, length));
    }
    /// The fields of this attempt, a JSON object.
    void set_fields(std::string_view json) {
        const char *data = json.data() == nullptr ? "" : json.data();
        detail::check(cometd_handshake_set_fields(handshake_, data, json.size()), "set_fields");
    }
    cometd_handshake *get() const noexcept { return handshake_; }

private:
    cometd_handshake *handshake_;
};

/// Says what a handshake is to say. When it throws, the attempt has failed, and
/// is made again later; the status of a `cometd::error` is what is told.
using handshake_provider = std::function<void(handshake)>;

/// A request that is about to be sent; it ends with the call.
class request {
public:
    explicit request(cometd_request *request) noexcept : request_(request) {}
    /// One of COMETD_PHASE_…; more may come.
    std::int32_t phase() const noexcept { return cometd_request_phase(request_); }
    std::string_view method() const noexcept { return detail::view(cometd_request_method(request_)).value_or(""); }
    /// With its query, without user and password.
    std::string_view url() const noexcept { return part(cometd_request_url); }
    /// The bytes that are sent, a JSON array of messages.
    std::string_view body() const noexcept { return part(cometd_request_body); }
    /// In place of those of the same name that all requests have.
    void set_header(const std::string &name, const std::string &value) {
        const char *const what = "set_header";
        detail::check(cometd_request_set_header(request_, detail::text(name, what), detail::text(value, what)), what);
    }
    cometd_request *get() const noexcept { return request_; }

private:
    std::string_view part(const char *(*accessor)(const cometd_request *, std::size_t *)) const noexcept {
        std::size_t length = 0;
        const char *text = accessor(request_, &length);
        return text == nullptr ? std::string_view() : std::string_view(text, length);
    }

    cometd_request *request_;
};

/// Sets headers of a request. When it throws, the request has failed; the status of a
/// `cometd::error` is what is told.
using header_provider = std::function<void(request)>;

namespace detail {

struct extension_functions {
    extension outgoing, incoming;
};

template <extension extension_functions::*Direction>
cometd_status call_extension(void *user, cometd_extension_message *message) {
    const auto &self = *static_cast<callback<extension_functions> *>(user);
    try {
        (self.function.*Direction)(extension_message(message));
        return COMETD_OK;
    } COMETD_LET_THREAD_END catch (const error &thrown) {
        self.report();
        return thrown.status();
    } catch (...) {
        self.report();
        return COMETD_E_INVALID_STATE;
    }
}

inline cometd_status call_handshake_provider(void *user, cometd_handshake *of) {
    const auto &self = *static_cast<callback<handshake_provider> *>(user);
    try {
        self.function(handshake(of));
        return COMETD_OK;
    } COMETD_LET_THREAD_END catch (const error &thrown) {
        self.report();
        return thrown.status();
    } catch (...) {
        self.report();
        return COMETD_E_CREDENTIALS;
    }
}

inline cometd_status call_header_provider(void *user, cometd_request *of) {
    const auto &self = *static_cast<callback<header_provider> *>(user);
    try {
        self.function(request(of));
        return COMETD_OK;
    } COMETD_LET_THREAD_END catch (const error &thrown) {
        self.report();
        return thrown.status();
    } catch (...) {
        self.report();
        return COMETD_E_CREDENTIALS;
    }
}

}  // namespace detail

/// What a client will be; it can build any number of them. Each setter returns the
/// builder, so that they can be chained, and changes nothing when it throws.
class builder {
public:
    explicit builder(const std::string &url) {
        cometd_client_builder *raw = nullptr;
        const char *address = detail::text(url, "url");
        detail::checked("builder", [&](cometd_error **err) { return cometd_client_builder_new(address, &raw, err); });
        builder_.reset(raw);
    }

    builder &set_handshake_base_path(const std::string &path) {
        return set("set_handshake_base_path", cometd_client_builder_set_handshake_base_path, path);
    }
    builder &set_subscribe_base_path(const std::string &path) {
        return set("set_subscribe_base_path", cometd_client_builder_set_subscribe_base_path, path);
    }
    builder &set_connect_base_path(const std::string &path) {
        return set("set_connect_base_path", cometd_client_builder_set_connect_base_path, path);
    }
    builder &set_disconnect_base_path(const std::string &path) {
        return set("set_disconnect_base_path", cometd_client_builder_set_disconnect_base_path, path);
    }
    /// One of COMETD_APPEND_….
    builder &set_append_message_type(std::int32_t mode) {
        return done("set_append_message_type", cometd_client_builder_set_append_message_type(get(), mode));
    }
    builder &set_bearer_token(const std::string &token) {
        return set("set_bearer_token", cometd_client_builder_set_bearer_token, token);
    }
    builder &set_basic_auth(const std::string &user, const std::optional<std::string> &password = std::nullopt) {
        const char *const what = "set_basic_auth";
        const char *second = password ? detail::text(*password, what) : nullptr;
        return done(what, cometd_client_builder_set_basic_auth(get(), detail::text(user, what), second));
    }
    /// The whole value of the header, for any other scheme.
    builder &set_authorization(const std::string &header_value) {
        return set("set_authorization", cometd_client_builder_set_authorization, header_value);
    }
    /// Asked for new credentials when the server refuses those in use; it may
    /// block. An empty function removes the one before.
    builder &set_token_provider(token_provider function, exception_handler on_exception = {}) {
        const char *const what = "set_token_provider";
        if (!function) {
            return done(what, cometd_client_builder_set_token_provider(get(), nullptr, nullptr, nullptr));
        }
        detail::install(what, std::move(function), std::move(on_exception), [this](void *user, cometd_free_fn free) {
            return cometd_client_builder_set_token_provider(get(), detail::call_token_provider, user, free);
        });
        return *this;
    }
    /// Asked before each handshake for what this one is to say; it may block. An
    /// empty function removes the one before.
    builder &set_handshake_provider(handshake_provider function, exception_handler on_exception = {}) {
        const char *const what = "set_handshake_provider";
        if (!function) {
            return done(what, cometd_client_builder_set_handshake_provider(get(), nullptr, nullptr, nullptr));
        }
        detail::install(what, std::move(function), std::move(on_exception), [this](void *user, cometd_free_fn free) {
            return cometd_client_builder_set_handshake_provider(get(), detail::call_handshake_provider, user, free);
        });
        return *this;
    }
    /// Asked before each request of long polling for headers of it; it may block. An
    /// empty function removes the one before.
    builder &set_header_provider(header_provider function, exception_handler on_exception = {}) {
        const char *const what = "set_header_provider";
        if (!function) {
            return done(what, cometd_client_builder_set_header_provider(get(), nullptr, nullptr, nullptr));
        }
        detail::install(what, std::move(function), std::move(on_exception), [this](void *user, cometd_free_fn free) {
            return cometd_client_builder_set_header_provider(get(), detail::call_header_provider, user, free);
        });
        return *this;
    }
    /// Sees, changes and drops messages on their way out and in; either may be
    /// empty. They may block.
    builder &add_extension(extension outgoing, extension incoming, exception_handler on_exception = {}) {
        using functions = detail::extension_functions;
        const cometd_extension_fn out = outgoing ? detail::call_extension<&functions::outgoing> : nullptr;
        const cometd_extension_fn in = incoming ? detail::call_extension<&functions::incoming> : nullptr;
        detail::install("add_extension", functions{std::move(outgoing), std::move(incoming)}, std::move(on_exception),
            [&](void *user, cometd_free_fn free) {
                return cometd_client_builder_add_extension(get(), out, in, user, free);
            });
        return *this;
    }
    builder &add_cookie(const std::string &name, const std::string &value) {
        return set("add_cookie", cometd_client_builder_add_cookie, name, value);
    }
    builder &add_header(const std::string &name, const std::string &value) {
        return set("add_header", cometd_client_builder_add_header, name, value);
    }
    builder &set_handshake_ext(std::string_view json) {
        const char *data = json.data() == nullptr ? "" : json.data();
        return done("set_handshake_ext", cometd_client_builder_set_handshake_ext(get(), data, json.size()));
    }
    builder &set_timeout(milliseconds time) {
        return done("set_timeout", cometd_client_builder_set_timeout_ms(get(), detail::to_ms(time)));
    }
    builder &set_interval(milliseconds time) {
        return done("set_interval", cometd_client_builder_set_interval_ms(get(), detail::to_ms(time)));
    }
    builder &set_request_timeout(milliseconds time) {
        return done("set_request_timeout", cometd_client_builder_set_request_timeout_ms(get(), detail::to_ms(time)));
    }
    builder &set_number_of_retries(std::uint32_t retries) {
        return done("set_number_of_retries", cometd_client_builder_set_number_of_retries(get(), retries));
    }
    builder &set_backoff(milliseconds increment, milliseconds max) {
        return done("set_backoff",
            cometd_client_builder_set_backoff_ms(get(), detail::to_ms(increment), detail::to_ms(max)));
    }
    builder &set_events_capacity(std::size_t events, std::size_t bytes) {
        return done("set_events_capacity", cometd_client_builder_set_events_capacity(get(), events, bytes));
    }
    builder &set_commands_capacity(std::size_t commands) {
        return done("set_commands_capacity", cometd_client_builder_set_commands_capacity(get(), commands));
    }
    /// One of COMETD_OVERFLOW_….
    builder &set_overflow(std::int32_t policy) {
        return done("set_overflow", cometd_client_builder_set_overflow(get(), policy));
    }
    builder &set_response_capacity(std::size_t bytes) {
        return done("set_response_capacity", cometd_client_builder_set_response_capacity(get(), bytes));
    }
    /// What the clients are called in errors and log lines.
    builder &set_name(const std::string &name) {
        return set("set_name", cometd_client_builder_set_name, name);
    }
    /// The first client that is built goes on with this session, of `client::export_session`; "" takes it back.
    builder &set_resume(const std::string &text) {
        return set("set_resume", cometd_client_builder_set_resume, text);
    }
    /// true: a client ends before its first session when what fails does not pass by itself.
    builder &set_fail_fast(bool enabled) {
        return done("set_fail_fast", cometd_client_builder_set_fail_fast(get(), enabled));
    }
    builder &set_own_receiver(bool enabled) {
        return done("set_own_receiver", cometd_client_builder_set_own_receiver(get(), enabled));
    }
    builder &add_url(const std::string &url) {
        return done("add_url", cometd_client_builder_add_url(get(), detail::text(url, "add_url")));
    }
    /// "http://user:password@host:port"; "" is no proxy at all. Without a call the
    /// environment decides, as it does for curl.
    builder &set_proxy(const std::string &url) {
        return set("set_proxy", cometd_client_builder_set_proxy, url);
    }
    /// PEM; trusted beside what the system trusts, or alone.
    builder &set_certificate_authorities(std::string_view pem, bool with_system) {
        const char *data = pem.data() == nullptr ? "" : pem.data();
        return done("set_certificate_authorities",
            cometd_client_builder_set_certificate_authorities(get(), data, pem.size(), with_system));
    }
    /// PEM; the key in PKCS #8, without a password.
    builder &set_client_certificate(std::string_view pem_chain, std::string_view pem_key) {
        const char *chain = pem_chain.data() == nullptr ? "" : pem_chain.data();
        const char *key = pem_key.data() == nullptr ? "" : pem_key.data();
        return done("set_client_certificate",
            cometd_client_builder_set_client_certificate(get(), chain, pem_chain.size(), key, pem_key.size()));
    }
    builder &set_follow_hosts(bool enabled) {
        return done("set_follow_hosts", cometd_client_builder_set_follow_hosts(get(), enabled));
    }
    /// COMETD_TRANSPORT_…, in order of preference, each once.
    builder &set_transports(const std::vector<std::int32_t> &transports) {
        return set_transports(transports.data(), transports.size());
    }
    builder &set_transports(std::initializer_list<std::int32_t> transports) {
        return set_transports(transports.begin(), transports.size());
    }
    /// Where WebSockets are opened; "": at the URL itself.
    builder &set_websocket_path(const std::string &path) {
        return set("set_websocket_path", cometd_client_builder_set_websocket_path, path);
    }
    /// "": none.
    builder &set_websocket_protocol(const std::string &protocol) {
        return set("set_websocket_protocol", cometd_client_builder_set_websocket_protocol, protocol);
    }
    /// 0: no pings.
    builder &set_ping_interval(milliseconds time) {
        return done("set_ping_interval", cometd_client_builder_set_ping_interval_ms(get(), detail::to_ms(time)));
    }
    builder &set_timesync(bool enabled) {
        return done("set_timesync", cometd_client_builder_set_timesync(get(), enabled));
    }
    builder &set_timestamp(std::int32_t format) {
        return done("set_timestamp", cometd_client_builder_set_timestamp(get(), format));
    }
    builder &set_restart(bool enabled) {
        return done("set_restart", cometd_client_builder_set_restart(get(), enabled));
    }
    builder &set_request_capacity(std::size_t bytes) {
        return done("set_request_capacity", cometd_client_builder_set_request_capacity(get(), bytes));
    }
    builder &set_acknowledgement(bool enabled) {
        return done("set_acknowledgement", cometd_client_builder_set_acknowledgement(get(), enabled));
    }

    /// Turns the replay extension on; channels without a position of their own start here.
    builder &set_replay(std::int64_t start) {
        return done("set_replay", cometd_client_builder_set_replay(get(), start));
    }
    builder &set_replay_position(const std::string &channel, std::int64_t position) {
        const char *const what = "set_replay_position";
        return done(what, cometd_client_builder_set_replay_position(get(), detail::text(channel, what), position));
    }
    /// COMETD_REPLAY_ALL, COMETD_REPLAY_NEW or COMETD_REPLAY_FAIL.
    builder &set_replay_fallback(std::int64_t position) {
        return done("set_replay_fallback", cometd_client_builder_set_replay_fallback(get(), position));
    }
    /// Where positions outlive the process. Either function may be empty.
    builder &set_replay_store(replay_loader load, replay_saver save, exception_handler on_exception = {}) {
        const cometd_replay_load_fn load_fn = load ? detail::call_replay_load : nullptr;
        const cometd_replay_save_fn save_fn = save ? detail::call_replay_save : nullptr;
        detail::install("set_replay_store", detail::replay_store{std::move(load), std::move(save)},
            std::move(on_exception), [&](void *user, cometd_free_fn free) {
                return cometd_client_builder_set_replay_store(get(), load_fn, save_fn, user, free);
            });
        return *this;
    }

    /// Builds a client; nothing is sent before its `connect`.
    client build() const {
        cometd_client *raw = nullptr;
        detail::checked(
            "build", [&](cometd_error **err) { return cometd_client_builder_build(builder_.get(), &raw, err); });
        return client(raw);
    }

    cometd_client_builder *get() noexcept { return builder_.get(); }

private:
    builder &set_transports(const std::int32_t *transports, std::size_t count) {
        // The address of an empty list may be none.
        const std::int32_t none = 0;
        return done("set_transports",
            cometd_client_builder_set_transports(get(), transports == nullptr ? &none : transports, count));
    }
    builder &done(const char *what, cometd_status status) {
        detail::check(status, what);
        return *this;
    }
    builder &set(
        const char *what, cometd_status (*setter)(cometd_client_builder *, const char *), const std::string &text) {
        return done(what, setter(get(), detail::text(text, what)));
    }
    builder &set(const char *what,
        cometd_status (*setter)(cometd_client_builder *, const char *, const char *),
        const std::string &name, const std::string &value) {
        return done(what, setter(get(), detail::text(name, what), detail::text(value, what)));
    }

    detail::owner<cometd_client_builder, cometd_client_builder_free> builder_;
};

/// The version of the library that is loaded: major << 16 | minor << 8 | patch.
inline std::uint32_t version() noexcept { return cometd_version(); }
inline std::string_view version_string() noexcept { return cometd_version_string(); }
/// "COMETD_E_TLS".
inline std::string_view status_name(cometd_status status) noexcept { return cometd_status_name(status); }
/// "CONNECTED".
inline std::string_view state_name(cometd_state state) noexcept { return cometd_state_name(state); }
inline std::string_view status_text(cometd_status status) noexcept { return cometd_status_text(status); }

/// Whether a subscription to `pattern` gets the messages of `channel`.
inline bool channel_matches(const std::string &pattern, const std::string &channel) {
    return cometd_channel_matches(detail::text(pattern, "pattern"), detail::text(channel, "channel"));
}

/// Gets each log line: its level, one of COMETD_LOG_…, the part of the library,
/// and the text. It runs on whichever thread has something to say, several at once.
using log_sink = std::function<void(std::int32_t level, std::string_view target, std::string_view text)>;

namespace detail {

inline void call_log(void *user, std::int32_t level, const char *target, const char *text) {
    const auto &self = *static_cast<callback<log_sink> *>(user);
    try {
        self.function(level, target, text);
    } COMETD_LET_THREAD_END catch (...) {
        self.report();
    }
}

}  // namespace detail

/// Removes the log sink of the process.
inline void remove_log() { detail::check(cometd_log_set(COMETD_LOG_OFF, nullptr, nullptr, nullptr), "log_set"); }

/// Installs the log sink of the process, in place of the one before.
inline void set_log(std::int32_t max_level, log_sink sink, exception_handler on_exception = {}) {
    if (!sink) {
        return remove_log();
    }
    detail::install("log_set", std::move(sink), std::move(on_exception), [max_level](void *user, cometd_free_fn free) {
        return cometd_log_set(max_level, detail::call_log, user, free);
    });
}

/// How many threads do the I/O of all clients; in force when the runtime next starts.
inline void set_runtime_threads(std::uint32_t threads) {
    detail::check(cometd_runtime_set_threads(threads), "runtime_set_threads");
}

}  // namespace cometd

#undef COMETD_LET_THREAD_END

#endif  // COMETD_HPP
