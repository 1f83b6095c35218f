/*
 * libcometd: a CometD (Bayeux 1.0) client. The C++ face of cometd.h, from C++17 on.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Header-only: a program includes this file and links libcometd, nothing else.
 * Each class owns, or looks at, one object of cometd.h, and each member function
 * is one function of it, whose comment there is its manual: results, limits,
 * threads. What is added here:
 *
 * - Owners: `builder`, `client`, `receiver`, `event`, `event_list` and `message`
 *   free what they own. They are moved, not copied; one that was moved from is
 *   empty, which `operator bool` tells. `get()` gives the C object.
 * - Views: `event_view`, `message_view`, `error_view` and the arguments of
 *   callbacks own nothing, are copied freely and end with what they look at. So
 *   does every std::string_view that is returned; its text ends in NUL, as in C.
 *   What would look into a temporary owner does not compile.
 * - Enumerations are the constants of cometd.h. Numbers that this header does not
 *   know pass through unchanged, in both directions.
 * - Errors: each call that can fail is there twice. `client.connect()` throws
 *   `cometd::error`; `client.try_connect()` returns a `result`, which holds the
 *   value or that error. Without exceptions (-fno-exceptions) those that throw are
 *   absent, and the others are all there. `cometd::status` is an error code of
 *   <system_error>. "Nothing wrong, nothing to give" is no error.
 *   Destructors, views and accessors throw nothing.
 * - Callbacks may be functions that are only moved. What one throws never reaches
 *   the library: it goes to the handler that was given with the callback, or is
 *   dropped without one, and the next event comes as usual.
 * - Times are any std::chrono durations, rounded up to milliseconds; what does not
 *   fit into 32 bits of them (24 days) is cut to what does. `cometd::forever` waits
 *   without limit.
 * - Text in that holds a NUL, which C could not see the rest of, is refused with
 *   `status::invalid_argument`.
 */

#ifndef COMETD_HPP
#define COMETD_HPP

#include <cometd/cometd.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#ifdef __cpp_exceptions
#define COMETD_EXCEPTIONS 1
#else
#define COMETD_EXCEPTIONS 0
#endif

/* What pthread_exit unwinds with must be caught by nobody. */
#if COMETD_EXCEPTIONS && defined(__GLIBCXX__)
#include <cxxabi.h>
#define COMETD_LET_THREAD_END              \
    catch (const abi::__forced_unwind &) { \
        throw;                             \
    }
#else
#define COMETD_LET_THREAD_END
#endif

namespace cometd {

/// What a call returned: success, "nothing to give", or an error.
enum class status : std::int32_t {
    ok = COMETD_OK,
    none = COMETD_NONE,
    closed = COMETD_CLOSED,
    invalid_argument = COMETD_E_INVALID_ARGUMENT,
    invalid_utf8 = COMETD_E_INVALID_UTF8,
    invalid_url = COMETD_E_INVALID_URL,
    invalid_channel = COMETD_E_INVALID_CHANNEL,
    invalid_json = COMETD_E_INVALID_JSON,
    invalid_header = COMETD_E_INVALID_HEADER,
    out_of_range = COMETD_E_OUT_OF_RANGE,
    invalid_state = COMETD_E_INVALID_STATE,
    is_closed = COMETD_E_CLOSED,  ///< A call came too late; `closed` is no error.
    full = COMETD_E_FULL,
    would_deadlock = COMETD_E_WOULD_DEADLOCK,
    forked = COMETD_E_FORKED,
    panic = COMETD_E_PANIC,
    system = COMETD_E_SYSTEM,
    timeout = COMETD_E_TIMEOUT,
    dns = COMETD_E_DNS,
    tcp = COMETD_E_TCP,
    tls = COMETD_E_TLS,
    connection_lost = COMETD_E_CONNECTION_LOST,
    malformed_http = COMETD_E_MALFORMED_HTTP,
    http_status = COMETD_E_HTTP_STATUS,
    unauthorized = COMETD_E_UNAUTHORIZED,
    redirect = COMETD_E_REDIRECT,
    html = COMETD_E_HTML,
    not_json = COMETD_E_NOT_JSON,
    too_large = COMETD_E_TOO_LARGE,
    protocol = COMETD_E_PROTOCOL,
    refused = COMETD_E_REFUSED,
    negotiation = COMETD_E_NEGOTIATION,
    server_disconnected = COMETD_E_SERVER_DISCONNECTED,
    aborted = COMETD_E_ABORTED,
    credentials = COMETD_E_CREDENTIALS,
    message_deleted = COMETD_E_MESSAGE_DELETED,
    proxy = COMETD_E_PROXY,
    undelivered = COMETD_E_UNDELIVERED,
};

/// What the client was doing when an error happened.
enum class phase : std::int32_t {
    handshake = COMETD_PHASE_HANDSHAKE,
    connect = COMETD_PHASE_CONNECT,
    subscribe = COMETD_PHASE_SUBSCRIBE,
    unsubscribe = COMETD_PHASE_UNSUBSCRIBE,
    publish = COMETD_PHASE_PUBLISH,
    disconnect = COMETD_PHASE_DISCONNECT,
    call = COMETD_PHASE_CALL,
};

/// When "handshake", "connect" or "disconnect" is appended to the URL.
enum class append : std::int32_t {
    automatic = COMETD_APPEND_AUTO,
    always = COMETD_APPEND_ALWAYS,
    never = COMETD_APPEND_NEVER,
};

/// Why a token provider is called.
enum class token_reason : std::int32_t {
    refused = COMETD_TOKEN_REFUSED,
};

/// What happens when a queue is full.
enum class overflow : std::int32_t {
    block = COMETD_OVERFLOW_BLOCK,
    drop_oldest = COMETD_OVERFLOW_DROP_OLDEST,
    drop_newest = COMETD_OVERFLOW_DROP_NEWEST,
};

/// How messages say when they are sent.
enum class timestamp : std::int32_t {
    none = COMETD_TIMESTAMP_NONE,
    http = COMETD_TIMESTAMP_HTTP,
    iso = COMETD_TIMESTAMP_ISO,
};

/// Versions of TLS.
enum class tls_version : std::int32_t {
    v1_0 = COMETD_TLS_1_0,
    v1_1 = COMETD_TLS_1_1,
    v1_2 = COMETD_TLS_1_2,
    v1_3 = COMETD_TLS_1_3,
};

/// Where a client stands.
enum class state : std::int32_t {
    idle = COMETD_STATE_IDLE,
    handshaking = COMETD_STATE_HANDSHAKING,
    connecting = COMETD_STATE_CONNECTING,
    connected = COMETD_STATE_CONNECTED,
    unconnected = COMETD_STATE_UNCONNECTED,
    rehandshaking = COMETD_STATE_REHANDSHAKING,
    disconnecting = COMETD_STATE_DISCONNECTING,
    closed = COMETD_STATE_CLOSED,
};

/// Over what messages go.
enum class transport : std::int32_t {
    long_polling = COMETD_TRANSPORT_LONG_POLLING,
    websocket = COMETD_TRANSPORT_WEBSOCKET,
};

/// What kind of event it is.
enum class event_type : std::int32_t {
    message = COMETD_EVENT_MESSAGE,
    state = COMETD_EVENT_STATE,
    subscribed = COMETD_EVENT_SUBSCRIBED,
    unsubscribed = COMETD_EVENT_UNSUBSCRIBED,
    published = COMETD_EVENT_PUBLISHED,
    error = COMETD_EVENT_ERROR,
    dropped = COMETD_EVENT_DROPPED,
    closed = COMETD_EVENT_CLOSED,
    result = COMETD_EVENT_RESULT,
    advice = COMETD_EVENT_ADVICE,
    room = COMETD_EVENT_ROOM,
};

/// How important a log line is.
enum class log_level : std::int32_t {
    off = COMETD_LOG_OFF,
    error = COMETD_LOG_ERROR,
    warn = COMETD_LOG_WARN,
    info = COMETD_LOG_INFO,
    debug = COMETD_LOG_DEBUG,
    trace = COMETD_LOG_TRACE,
    bodies = COMETD_LOG_BODIES,
};

static_assert(std::is_same_v<std::underlying_type_t<status>, cometd_status>);
static_assert(std::is_same_v<std::underlying_type_t<state>, cometd_state>);

/// As a number of retries: no limit.
inline constexpr std::uint32_t retry_forever = COMETD_RETRY_FOREVER;
/// As a replay position: new events only.
inline constexpr std::int64_t replay_new = COMETD_REPLAY_NEW;
/// As a replay position: all events that the server still has.
inline constexpr std::int64_t replay_all = COMETD_REPLAY_ALL;
/// As a fallback: none, a subscribe whose position is refused fails.
inline constexpr std::int64_t replay_fail = COMETD_REPLAY_FAIL;

/// Waits without limit; not for `client::disconnect`.
inline constexpr std::chrono::milliseconds forever{-1};

/// "COMETD_E_TLS".
[[nodiscard]] inline std::string_view name(status of) noexcept {
    return cometd_status_name(static_cast<cometd_status>(of));
}
/// What it means, in a few words.
[[nodiscard]] inline std::string_view text(status of) noexcept {
    return cometd_status_text(static_cast<cometd_status>(of));
}
/// "CONNECTED".
[[nodiscard]] inline std::string_view name(state of) noexcept {
    return cometd_state_name(static_cast<cometd_state>(of));
}

namespace detail {

class status_category final : public std::error_category {
public:
    [[nodiscard]] const char *name() const noexcept override { return "cometd"; }
    [[nodiscard]] std::string message(int code) const override { return cometd_status_text(code); }
    /// So that a program can ask for std::errc::timed_out without knowing whose error it is.
    [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
        switch (static_cast<status>(code)) {
            case status::invalid_argument: return std::errc::invalid_argument;
            case status::out_of_range: return std::errc::result_out_of_range;
            case status::would_deadlock: return std::errc::resource_deadlock_would_occur;
            case status::full: return std::errc::no_buffer_space;
            case status::timeout: return std::errc::timed_out;
            case status::connection_lost: return std::errc::connection_reset;
            case status::unauthorized: return std::errc::permission_denied;
            case status::aborted: return std::errc::operation_canceled;
            default: return {code, *this};
        }
    }
};

}  // namespace detail

/// The category of `status` as an error code.
[[nodiscard]] inline const std::error_category &category() noexcept {
    static const detail::status_category only;
    return only;
}

[[nodiscard]] inline std::error_code make_error_code(status of) noexcept { return {static_cast<int>(of), category()}; }

}  // namespace cometd

template <>
struct std::is_error_code_enum<cometd::status> : std::true_type {};

namespace cometd {

/// A time for C: any duration, rounded up to milliseconds and cut to 32 bits of them.
class duration {
public:
    template <class Number, class Period>
    // NOLINTNEXTLINE(google-explicit-constructor): an argument
    constexpr duration(std::chrono::duration<Number, Period> time) noexcept
        : milliseconds_(cut(std::chrono::duration<long double, std::milli>(time).count())) {}

    [[nodiscard]] constexpr std::int32_t count() const noexcept { return milliseconds_; }

private:
    static constexpr std::int32_t cut(long double time) noexcept {
        constexpr auto least = std::numeric_limits<std::int32_t>::min();
        constexpr auto most = std::numeric_limits<std::int32_t>::max();
        if (!(time > static_cast<long double>(least))) {  // What is not a number, too.
            return least;
        }
        if (time >= static_cast<long double>(most)) {
            return most;
        }
        const auto down = static_cast<std::int32_t>(time);
        return static_cast<long double>(down) < time ? down + 1 : down;
    }

    std::int32_t milliseconds_;
};

/// A text for C. Of a literal and of a std::string it copies nothing.
class argument {
public:
    argument(const char *text) noexcept : text_(text) {}
    argument(const std::string &text) noexcept : text_(text.c_str()), whole_(text.find('\0') == std::string::npos) {}
    argument(std::string_view text)
        : copy_(text), text_(copy_.c_str()), whole_(text.find('\0') == std::string_view::npos) {}
    argument(const argument &) = delete;
    argument(argument &&) = delete;
    argument &operator=(const argument &) = delete;
    argument &operator=(argument &&) = delete;
    ~argument() = default;

    [[nodiscard]] const char *c_str() const noexcept { return text_; }
    /// Whether C sees all of it: it holds no NUL.
    [[nodiscard]] bool is_whole() const noexcept { return whole_; }

private:
    std::string copy_;
    const char *text_;
    bool whole_ = true;
};

template <class Signature>
class move_only_function;

namespace detail {

template <class Function>
inline constexpr bool may_be_empty = std::is_pointer_v<Function> || std::is_member_pointer_v<Function>;
template <class Signature>
inline constexpr bool may_be_empty<std::function<Signature>> = true;
template <class Signature>
inline constexpr bool may_be_empty<move_only_function<Signature>> = true;
#ifdef __cpp_lib_move_only_function
template <class Signature>
inline constexpr bool may_be_empty<std::move_only_function<Signature>> = true;
#endif

template <class Result, class Given>
inline constexpr bool gives = std::is_void_v<Result> || std::is_void_v<Given> || std::is_convertible_v<Given, Result>;

}  // namespace detail

/// A function that need not be copyable, as std::move_only_function of C++23; the same class
/// in every standard, so that parts of a program may be built by different ones. A function
/// that returns nothing gives Result{}.
template <class Result, class... Arguments>
class move_only_function<Result(Arguments...)> {
public:
    move_only_function() noexcept = default;
    move_only_function(std::nullptr_t) noexcept {}
    template <class Function, class Held = std::decay_t<Function>,
        class =
            std::enable_if_t<!std::is_same_v<Held, move_only_function> && std::is_invocable_v<Held &, Arguments...>>,
        class = std::enable_if_t<detail::gives<Result, std::invoke_result_t<Held &, Arguments...>>>>
    move_only_function(Function &&function) {
        if constexpr (detail::may_be_empty<Held>) {
            if (!function) {
                return;
            }
        }
        held_ = {std::make_unique<Held>(std::forward<Function>(function)).release(), destroy<Held>};
        call_ = call<Held>;
    }

    [[nodiscard]] explicit operator bool() const noexcept { return held_ != nullptr; }
    /// Not of an empty one.
    Result operator()(Arguments... arguments) { return call_(held_.get(), std::forward<Arguments>(arguments)...); }

private:
    template <class Held>
    static Result call(void *held, Arguments... arguments) {
        auto &function = *static_cast<Held *>(held);
        if constexpr (std::is_void_v<Result>) {
            static_cast<void>(std::invoke(function, std::forward<Arguments>(arguments)...));
        } else if constexpr (std::is_void_v<std::invoke_result_t<Held &, Arguments...>>) {
            std::invoke(function, std::forward<Arguments>(arguments)...);
            return Result{};
        } else {
            return std::invoke(function, std::forward<Arguments>(arguments)...);
        }
    }
    template <class Held>
    static void destroy(void *held) noexcept {
        std::default_delete<Held>()(static_cast<Held *>(held));
    }
    static void destroy_nothing(void * /*held*/) noexcept {}

    std::unique_ptr<void, void (*)(void *)> held_{nullptr, destroy_nothing};
    Result (*call_)(void *, Arguments...) = nullptr;
};

namespace detail {

template <class T, void (*Free)(T *)>
struct deleter {
    void operator()(T *object) const noexcept { Free(object); }
};

template <class T, void (*Free)(T *)>
using owner = std::unique_ptr<T, deleter<T, Free>>;

[[nodiscard]] inline std::optional<std::string_view> view(const char *text) noexcept {
    return text == nullptr ? std::nullopt : std::optional<std::string_view>(text);
}

/// JSON with its length.
[[nodiscard]] inline std::optional<std::string_view> view(const char *text, std::size_t length) noexcept {
    return text == nullptr ? std::nullopt : std::optional<std::string_view>(std::in_place, text, length);
}

template <class T>
[[nodiscard]] std::optional<std::string_view> part(
    const char *(*accessor)(const T *, std::size_t *), const T *of) noexcept {
    std::size_t length = 0;
    const char *text = accessor(of, &length);
    return view(text, length);
}

[[nodiscard]] inline std::optional<std::string> copy(std::optional<std::string_view> text) {
    return text ? std::optional<std::string>(*text) : std::nullopt;
}

/// An empty view may have no address, which C would take for a missing argument.
[[nodiscard]] inline const char *address(std::string_view bytes) noexcept {
    return bytes.data() == nullptr ? "" : bytes.data();
}

}  // namespace detail

/// An error of an event; it lives as long as the event.
class error_view {
public:
    explicit error_view(const cometd_error *error) noexcept : error_(error) {}

    [[nodiscard]] cometd::status status() const noexcept {
        return static_cast<cometd::status>(cometd_error_status(error_));
    }
    [[nodiscard]] std::error_code code() const noexcept { return status(); }
    /// One line, with the whole chain of causes.
    [[nodiscard]] std::string_view message() const noexcept { return cometd_error_message(error_); }
    [[nodiscard]] cometd::phase phase() const noexcept {
        return static_cast<cometd::phase>(cometd_error_phase(error_));
    }
    [[nodiscard]] bool is_fatal() const noexcept { return cometd_error_is_fatal(error_); }
    /// 0 when there was no response.
    [[nodiscard]] std::int32_t http_status() const noexcept { return cometd_error_http_status(error_); }
    /// With which a WebSocket was closed, 1006 without a close frame; 0 when none was.
    [[nodiscard]] std::int32_t websocket_code() const noexcept { return cometd_error_websocket_code(error_); }
    /// "403::Unknown client".
    [[nodiscard]] std::optional<std::string_view> bayeux() const noexcept {
        return detail::view(cometd_error_bayeux(error_, nullptr));
    }
    /// 403; 0 when there is none.
    [[nodiscard]] std::int32_t bayeux_code() const noexcept {
        std::int32_t code = 0;
        cometd_error_bayeux(error_, &code);
        return code;
    }
    [[nodiscard]] std::optional<std::string_view> channel() const noexcept {
        return detail::view(cometd_error_channel(error_));
    }
    /// What the client is called that it is of.
    [[nodiscard]] std::optional<std::string_view> client() const noexcept {
        return detail::view(cometd_error_client(error_));
    }
    /// Of the request that failed, without user, password and query.
    [[nodiscard]] std::optional<std::string_view> url() const noexcept {
        return detail::view(cometd_error_url(error_));
    }
    /// The JSON of the reply's ext.
    [[nodiscard]] std::optional<std::string_view> ext() const noexcept {
        return detail::part(cometd_error_ext, error_);
    }
    /// The JSON of the reply's whole error.
    [[nodiscard]] std::optional<std::string_view> bayeux_json() const noexcept {
        return detail::part(cometd_error_bayeux_json, error_);
    }
    /// Nothing when there will be no further attempt.
    [[nodiscard]] std::optional<std::chrono::milliseconds> retry_in() const noexcept {
        const std::int32_t time = cometd_error_retry_in_ms(error_);
        return time < 0 ? std::nullopt : std::optional(std::chrono::milliseconds(time));
    }
    /// All of it by one call.
    [[nodiscard]] cometd_error_view look() const noexcept {
        cometd_error_view seen{};
        static_cast<void>(cometd_error_look(error_, &seen, sizeof seen));
        return seen;
    }
    [[nodiscard]] const cometd_error *get() const noexcept { return error_; }

private:
    const cometd_error *error_;
};

/// Owns an error that a function of cometd.h gave by its `err`.
using error_owner = detail::owner<cometd_error, cometd_error_free>;

/// What a call throws, or gives in a `result`. `what()` is the message, `code()` the status;
/// all is as in `error_view`, copied out, so that it lives as long as this.
class error : public std::system_error {
public:
    explicit error(error_view from)
        : std::system_error(from.code()),
          details_(std::make_shared<const details>(details{std::string(from.message()), from.phase(), from.is_fatal(),
              from.http_status(), from.websocket_code(), from.bayeux_code(), from.retry_in(),
              detail::copy(from.bayeux()), detail::copy(from.channel()), detail::copy(from.client()),
              detail::copy(from.url()), detail::copy(from.ext()), detail::copy(from.bayeux_json())})) {}

    /// An error of a call that tells its status only.
    error(cometd::status status, const std::string &what)
        : std::system_error(make_error_code(status)),
          details_(std::make_shared<const details>(details{
              what + ": " + cometd_status_text(static_cast<cometd_status>(status)), cometd::phase::call, false, 0, 0, 0,
              std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt})) {}

    [[nodiscard]] const char *what() const noexcept override { return details_->message.c_str(); }
    [[nodiscard]] cometd::status status() const noexcept { return static_cast<cometd::status>(code().value()); }
    [[nodiscard]] cometd::phase phase() const noexcept { return details_->phase; }
    [[nodiscard]] bool is_fatal() const noexcept { return details_->fatal; }
    [[nodiscard]] std::int32_t http_status() const noexcept { return details_->http_status; }
    [[nodiscard]] std::int32_t websocket_code() const noexcept { return details_->websocket_code; }
    [[nodiscard]] std::int32_t bayeux_code() const noexcept { return details_->bayeux_code; }
    [[nodiscard]] std::optional<std::chrono::milliseconds> retry_in() const noexcept { return details_->retry_in; }
    [[nodiscard]] const std::optional<std::string> &bayeux() const & noexcept { return details_->bayeux; }
    [[nodiscard]] const std::optional<std::string> &bayeux() const && = delete;
    [[nodiscard]] const std::optional<std::string> &channel() const & noexcept { return details_->channel; }
    [[nodiscard]] const std::optional<std::string> &channel() const && = delete;
    [[nodiscard]] const std::optional<std::string> &client() const & noexcept { return details_->client; }
    [[nodiscard]] const std::optional<std::string> &client() const && = delete;
    [[nodiscard]] const std::optional<std::string> &url() const & noexcept { return details_->url; }
    [[nodiscard]] const std::optional<std::string> &url() const && = delete;
    [[nodiscard]] const std::optional<std::string> &ext() const & noexcept { return details_->ext; }
    [[nodiscard]] const std::optional<std::string> &ext() const && = delete;
    [[nodiscard]] const std::optional<std::string> &bayeux_json() const & noexcept { return details_->bayeux_json; }
    [[nodiscard]] const std::optional<std::string> &bayeux_json() const && = delete;

private:
    struct details {
        std::string message;
        cometd::phase phase;
        bool fatal;
        std::int32_t http_status;
        std::int32_t websocket_code;
        std::int32_t bayeux_code;
        std::optional<std::chrono::milliseconds> retry_in;
        std::optional<std::string> bayeux, channel, client, url, ext, bayeux_json;
    };
    /// Shared, so that copying the exception throws nothing.
    std::shared_ptr<const details> details_;
};

/// What a `try_…` function returns: the value of its call, or its error.
template <class T>
class [[nodiscard]] result {
public:
    result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
    result(cometd::error error) noexcept : content_(std::in_place_index<1>, std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return content_.index() == 0; }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    /// Only when there is one.
    [[nodiscard]] T &operator*() & noexcept { return *std::get_if<0>(&content_); }
    [[nodiscard]] const T &operator*() const & noexcept { return *std::get_if<0>(&content_); }
    [[nodiscard]] T &&operator*() && noexcept { return std::move(*std::get_if<0>(&content_)); }
    [[nodiscard]] T *operator->() noexcept { return std::get_if<0>(&content_); }
    [[nodiscard]] const T *operator->() const noexcept { return std::get_if<0>(&content_); }
    [[nodiscard]] T value_or(T otherwise) && { return has_value() ? std::move(**this) : std::move(otherwise); }
    /// Only when there is no value.
    [[nodiscard]] const cometd::error &error() const & noexcept { return *std::get_if<1>(&content_); }
    [[nodiscard]] cometd::error error() && noexcept { return std::move(*std::get_if<1>(&content_)); }
    [[nodiscard]] cometd::status status() const noexcept { return has_value() ? cometd::status::ok : error().status(); }
    [[nodiscard]] std::error_code code() const noexcept { return has_value() ? std::error_code() : error().code(); }
#if COMETD_EXCEPTIONS
    /// Throws the error when there is no value.
    [[nodiscard]] const T &value() const & {
        require();
        return **this;
    }
    [[nodiscard]] T &value() & {
        require();
        return **this;
    }
    T value() && {
        require();
        return std::move(**this);
    }
#endif

private:
#if COMETD_EXCEPTIONS
    void require() const {
        if (!has_value()) {
            throw error();
        }
    }
#endif

    std::variant<T, cometd::error> content_;
};

template <>
class [[nodiscard]] result<void> {
public:
    result() noexcept = default;
    result(cometd::error error) noexcept : error_(std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    /// Only when there is one.
    [[nodiscard]] const cometd::error &error() const & noexcept { return *error_; }
    [[nodiscard]] cometd::error error() && noexcept { return std::move(*error_); }
    [[nodiscard]] cometd::status status() const noexcept { return has_value() ? cometd::status::ok : error_->status(); }
    [[nodiscard]] std::error_code code() const noexcept { return has_value() ? std::error_code() : error_->code(); }
#if COMETD_EXCEPTIONS
    /// Throws the error when there is one.
    void value() const {
        if (error_) {
            throw *error_;
        }
    }
#endif

private:
    std::optional<cometd::error> error_;
};

/// Gets what a callback threw. What it throws itself is dropped. It runs on the
/// thread of the callback.
using exception_handler = move_only_function<void(std::exception_ptr)>;

namespace detail {

/// The result of a status that comes without an error.
[[nodiscard]] inline result<void> done(const char *what, cometd_status code) {
    return code < 0 ? result<void>(error(static_cast<status>(code), what)) : result<void>();
}

/// Calls a function of C with an `err` of its own.
template <class Call>
[[nodiscard]] result<void> checked(const char *what, Call call) {
    cometd_error *raw = nullptr;
    const cometd_status code = call(&raw);
    const error_owner owned(raw);
    return code < 0 && owned != nullptr ? result<void>(error(error_view(owned.get()))) : done(what, code);
}

[[nodiscard]] inline error holds_nul(const char *what) {
    return {status::invalid_argument, std::string(what) + ": the text holds a NUL"};
}

/// A function of the program's, as the `user` of one of C.
template <class Function>
struct callback {
    Function function;
    exception_handler on_exception;
};

/// Calls it, and lets nothing out but the end of the thread.
template <class Function, class Call>
cometd_status guarded(void *user, cometd_status otherwise, Call call) {
    auto &self = *static_cast<callback<Function> *>(user);
#if COMETD_EXCEPTIONS
    const auto report = [&self]() noexcept {
        try {
            if (self.on_exception) {
                self.on_exception(std::current_exception());
            }
        } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell
        }
    };
    try {
        return call(self.function);
    } COMETD_LET_THREAD_END catch (const error &thrown) {
        report();
        const auto code = static_cast<cometd_status>(thrown.status());
        return code < 0 ? code : otherwise;
    } catch (...) {
        report();
        return otherwise;
    }
#else
    static_cast<void>(otherwise);
    return call(self.function);
#endif
}

/// Gives a function to one of C, which owns it on success only.
template <class Function, class Install>
[[nodiscard]] cometd_status install(Function function, exception_handler on_exception, Install install) {
    using holder = callback<Function>;
    auto owned = std::make_unique<holder>(holder{std::move(function), std::move(on_exception)});
    const cometd_free_fn free = [](void *user) { std::default_delete<holder>()(static_cast<holder *>(user)); };
    const cometd_status code = install(static_cast<void *>(owned.get()), free);
    if (code >= 0) {
        static_cast<void>(owned.release());
    }
    return code;
}

}  // namespace detail

class message;

/// A message; it lives as long as its event.
class message_view {
public:
    explicit message_view(const cometd_message *message) noexcept : message_(message) {}

    [[nodiscard]] std::string_view channel() const noexcept {
        return detail::part(cometd_message_channel, message_).value_or("");
    }
    /// The JSON text as the server sent it.
    [[nodiscard]] std::string_view data() const noexcept {
        return detail::part(cometd_message_data, message_).value_or("");
    }
    [[nodiscard]] std::optional<std::string_view> ext() const noexcept {
        return detail::part(cometd_message_ext, message_);
    }
    /// The JSON text: a string with its quotes, or a number.
    [[nodiscard]] std::optional<std::string_view> id() const noexcept {
        return detail::part(cometd_message_id, message_);
    }
    /// The id of the replay extension, a position to start after.
    [[nodiscard]] std::optional<std::int64_t> replay_id() const noexcept {
        std::int64_t id = 0;
        const bool found = cometd_message_replay_id(message_, &id);
        return found ? std::optional(id) : std::nullopt;
    }
    /// Whether the ext says that the data is bytes, as text.
    [[nodiscard]] bool is_binary() const noexcept { return cometd_message_is_binary(message_); }
    /// The bytes of a binary message; nothing when they cannot be read.
    [[nodiscard]] std::optional<std::string_view> binary() const noexcept {
        std::size_t length = 0;
        const void *bytes = cometd_message_binary(message_, &length);
        return detail::view(static_cast<const char *>(bytes), length);
    }
    /// Whether no other part belongs behind these bytes.
    [[nodiscard]] bool binary_is_last() const noexcept { return cometd_message_binary_is_last(message_); }
    /// The JSON that says more of the bytes.
    [[nodiscard]] std::optional<std::string_view> binary_meta() const noexcept {
        return detail::part(cometd_message_binary_meta, message_);
    }
    /// Keeps it longer.
    [[nodiscard]] inline message retain() const noexcept;
    [[nodiscard]] const cometd_message *get() const noexcept { return message_; }

private:
    const cometd_message *message_;
};

/// A message that is kept longer than its event; made by `message_view::retain`.
class message {
public:
    /// Takes over what cometd_message_retain gave.
    explicit message(cometd_message *adopted) noexcept : message_(adopted) {}

    [[nodiscard]] explicit operator bool() const noexcept { return message_ != nullptr; }
    [[nodiscard]] message_view view() const & noexcept { return message_view(message_.get()); }
    [[nodiscard]] message_view view() const && = delete;
    [[nodiscard]] std::string_view channel() const & noexcept { return view().channel(); }
    [[nodiscard]] std::string_view channel() const && = delete;
    [[nodiscard]] std::string_view data() const & noexcept { return view().data(); }
    [[nodiscard]] std::string_view data() const && = delete;
    [[nodiscard]] std::optional<std::string_view> ext() const & noexcept { return view().ext(); }
    [[nodiscard]] std::optional<std::string_view> ext() const && = delete;
    [[nodiscard]] std::optional<std::string_view> id() const & noexcept { return view().id(); }
    [[nodiscard]] std::optional<std::string_view> id() const && = delete;
    [[nodiscard]] std::optional<std::int64_t> replay_id() const noexcept { return view().replay_id(); }
    [[nodiscard]] bool is_binary() const noexcept { return view().is_binary(); }
    [[nodiscard]] std::optional<std::string_view> binary() const & noexcept { return view().binary(); }
    [[nodiscard]] std::optional<std::string_view> binary() const && = delete;
    [[nodiscard]] bool binary_is_last() const noexcept { return view().binary_is_last(); }
    [[nodiscard]] std::optional<std::string_view> binary_meta() const & noexcept { return view().binary_meta(); }
    [[nodiscard]] std::optional<std::string_view> binary_meta() const && = delete;
    /// Another owner of the same message.
    [[nodiscard]] message retain() const noexcept { return message(cometd_message_retain(message_.get())); }
    [[nodiscard]] const cometd_message *get() const noexcept { return message_.get(); }

private:
    detail::owner<cometd_message, cometd_message_free> message_;
};

inline message message_view::retain() const noexcept { return message(cometd_message_retain(message_)); }

/// An event inside a callback, with which it ends, or of an owner. It is read by one call when it is made.
class event_view {
public:
    event_view() noexcept = default;
    explicit event_view(const cometd_event *event) noexcept : event_(event) {
        if (event != nullptr) {
            static_cast<void>(cometd_event_look(event, &seen_, sizeof seen_));
        }
    }

    /// Whether there is one; of none the type is 0.
    [[nodiscard]] explicit operator bool() const noexcept { return event_ != nullptr; }
    [[nodiscard]] event_type type() const noexcept { return static_cast<event_type>(seen_.type); }
    [[nodiscard]] std::optional<message_view> message() const noexcept {
        return seen_.message == nullptr ? std::nullopt : std::optional(message_view(seen_.message));
    }
    [[nodiscard]] std::optional<error_view> error() const noexcept {
        return seen_.error == nullptr ? std::nullopt : std::optional(error_view(seen_.error));
    }
    /// The new state of an event_type::state.
    [[nodiscard]] cometd::state state() const noexcept { return static_cast<cometd::state>(seen_.state); }
    /// The one before.
    [[nodiscard]] cometd::state previous_state() const noexcept { return static_cast<cometd::state>(seen_.previous); }
    /// What `subscribe`, `unsubscribe`, `publish` or `remote_call` returned; 0 when it is about none.
    [[nodiscard]] std::uint64_t id() const noexcept { return seen_.id; }
    /// What the program gave with that call; null for none.
    [[nodiscard]] void *opaque() const noexcept { return seen_.opaque; }
    [[nodiscard]] std::optional<std::string_view> channel() const noexcept {
        return detail::view(seen_.channel, seen_.channel_len);
    }
    /// The JSON of the message; empty without one.
    [[nodiscard]] std::string_view data() const noexcept {
        return detail::view(seen_.data, seen_.data_len).value_or("");
    }
    /// The JSON of an event_type::advice.
    [[nodiscard]] std::optional<std::string_view> advice() const noexcept {
        return detail::view(seen_.advice, seen_.advice_len);
    }
    /// The JSON of the ext of the message, or of the reply that the event is of.
    [[nodiscard]] std::optional<std::string_view> ext() const noexcept {
        return detail::view(seen_.ext, seen_.ext_len);
    }
    /// Whether an event_type::subscribed tells of a subscription made again, in a new session.
    [[nodiscard]] bool is_renewed() const noexcept { return seen_.is_renewed != 0; }
    /// How many messages an event_type::dropped stands for.
    [[nodiscard]] std::uint64_t dropped() const noexcept { return seen_.dropped; }
    [[nodiscard]] const cometd_event *get() const noexcept { return event_; }

private:
    const cometd_event *event_ = nullptr;
    cometd_event_view seen_{};
};

/// An event that was polled.
class event {
public:
    event() noexcept = default;
    /// Takes over what a _poll of cometd.h gave.
    explicit event(cometd_event *adopted) noexcept : event_(adopted), view_(adopted) {}
    event(event &&other) noexcept : event_(std::move(other.event_)), view_(std::exchange(other.view_, event_view())) {}
    event &operator=(event &&other) noexcept {
        event_ = std::move(other.event_);
        view_ = std::exchange(other.view_, event_view());
        return *this;
    }
    event(const event &) = delete;
    event &operator=(const event &) = delete;
    ~event() = default;

    [[nodiscard]] explicit operator bool() const noexcept { return event_ != nullptr; }
    [[nodiscard]] const event_view &view() const & noexcept { return view_; }
    [[nodiscard]] const event_view &view() const && = delete;
    operator const event_view &() const & noexcept { return view_; }
    [[nodiscard]] event_type type() const noexcept { return view_.type(); }
    [[nodiscard]] std::optional<message_view> message() const & noexcept { return view_.message(); }
    [[nodiscard]] std::optional<message_view> message() const && = delete;
    [[nodiscard]] std::optional<error_view> error() const & noexcept { return view_.error(); }
    [[nodiscard]] std::optional<error_view> error() const && = delete;
    [[nodiscard]] cometd::state state() const noexcept { return view_.state(); }
    [[nodiscard]] cometd::state previous_state() const noexcept { return view_.previous_state(); }
    [[nodiscard]] std::uint64_t id() const noexcept { return view_.id(); }
    [[nodiscard]] void *opaque() const noexcept { return view_.opaque(); }
    [[nodiscard]] std::optional<std::string_view> channel() const & noexcept { return view_.channel(); }
    [[nodiscard]] std::optional<std::string_view> channel() const && = delete;
    [[nodiscard]] std::string_view data() const & noexcept { return view_.data(); }
    [[nodiscard]] std::string_view data() const && = delete;
    [[nodiscard]] std::optional<std::string_view> advice() const & noexcept { return view_.advice(); }
    [[nodiscard]] std::optional<std::string_view> advice() const && = delete;
    [[nodiscard]] std::optional<std::string_view> ext() const & noexcept { return view_.ext(); }
    [[nodiscard]] std::optional<std::string_view> ext() const && = delete;
    [[nodiscard]] bool is_renewed() const noexcept { return view_.is_renewed(); }
    [[nodiscard]] std::uint64_t dropped() const noexcept { return view_.dropped(); }
    [[nodiscard]] const cometd_event *get() const & noexcept { return view_.get(); }
    [[nodiscard]] const cometd_event *get() const && = delete;

private:
    detail::owner<cometd_event, cometd_event_free> event_;
    event_view view_;
};

namespace detail {

/// Goes over addresses of events, and gives each as a view.
template <class Pointer>
class event_iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = event_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const event_view *;
    using reference = event_view;

    event_iterator() noexcept = default;
    explicit event_iterator(Pointer const *at) noexcept : at_(at) {}
    [[nodiscard]] event_view operator*() const noexcept { return event_view(*at_); }
    event_iterator &operator++() noexcept {
        at_ = std::next(at_);
        return *this;
    }
    event_iterator operator++(int) noexcept { return event_iterator(std::exchange(at_, std::next(at_))); }
    [[nodiscard]] friend bool operator==(event_iterator left, event_iterator right) noexcept {
        return left.at_ == right.at_;
    }
    [[nodiscard]] friend bool operator!=(event_iterator left, event_iterator right) noexcept {
        return left.at_ != right.at_;
    }

private:
    Pointer const *at_ = nullptr;
};

}  // namespace detail

/// Events that were polled together, in their order; `for (auto event : list)` gives each as a view.
class event_list {
public:
    using iterator = detail::event_iterator<cometd_event *>;

    event_list() noexcept = default;
    event_list(event_list &&other) noexcept
        : events_(std::move(other.events_)), count_(std::exchange(other.count_, 0)) {}
    event_list &operator=(event_list &&other) noexcept {
        std::swap(events_, other.events_);
        std::swap(count_, other.count_);
        return *this;
    }
    event_list(const event_list &) = delete;
    event_list &operator=(const event_list &) = delete;
    ~event_list() { clear(); }

    [[nodiscard]] explicit operator bool() const noexcept { return count_ > 0; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] event_view operator[](std::size_t index) const & noexcept { return event_view(events_[index]); }
    [[nodiscard]] event_view operator[](std::size_t index) const && = delete;
    [[nodiscard]] iterator begin() const noexcept { return iterator(events_.data()); }
    [[nodiscard]] iterator end() const noexcept {
        return iterator(std::next(events_.data(), static_cast<std::ptrdiff_t>(count_)));
    }
    /// All of them by one call, as C has them.
    [[nodiscard]] std::vector<cometd_event_view> look() const & {
        std::vector<cometd_event_view> seen(count_);
        static_cast<void>(cometd_events_look(events_.data(), seen.data(), count_, sizeof(cometd_event_view)));
        return seen;
    }
    [[nodiscard]] std::vector<cometd_event_view> look() const && = delete;
    /// Takes one out of the list, which has an empty event in its place.
    [[nodiscard]] event take(std::size_t index) noexcept { return event(std::exchange(events_[index], nullptr)); }
    /// Frees them all. The room for them stays.
    void clear() noexcept {
        cometd_events_free(events_.data(), std::exchange(count_, 0));
    }
    /// Takes the place of what it held: `poll` is given the room and tells how many it has put there.
    template <class Poll>
    std::size_t fill(std::size_t most, Poll poll) {
        clear();
        if (events_.size() < most) {
            events_.resize(most);
        }
        count_ = poll(events_.data(), most);
        return count_;
    }

private:
    std::vector<cometd_event *> events_;
    std::size_t count_ = 0;
};

/// Events inside a callback that gets several, with which they end; `for (auto event : events)` gives each as a view.
class event_span {
public:
    using iterator = detail::event_iterator<const cometd_event *>;

    event_span(const cometd_event *const *events, std::size_t count) noexcept : events_(events), count_(count) {}

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] event_view operator[](std::size_t index) const noexcept {
        return event_view(*std::next(events_, static_cast<std::ptrdiff_t>(index)));
    }
    [[nodiscard]] iterator begin() const noexcept { return iterator(events_); }
    [[nodiscard]] iterator end() const noexcept {
        return iterator(std::next(events_, static_cast<std::ptrdiff_t>(count_)));
    }

private:
    const cometd_event *const *events_;
    std::size_t count_;
};

/// All events of a client or receiver: `for (auto &event : client.events())` ends when none comes any
/// more, or when none comes in time.
template <class Source>
class event_range {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = event;
        using difference_type = std::ptrdiff_t;
        using pointer = event *;
        using reference = event &;

        iterator() noexcept = default;
        explicit iterator(event_range *of) noexcept : of_(of) {}
        [[nodiscard]] event &operator*() const noexcept { return of_->event_; }
        [[nodiscard]] event *operator->() const noexcept { return &of_->event_; }
        iterator &operator++() noexcept {
            of_ = of_->next() ? of_ : nullptr;
            return *this;
        }
        void operator++(int) noexcept { ++*this; }
        [[nodiscard]] friend bool operator==(iterator left, iterator right) noexcept { return left.of_ == right.of_; }
        [[nodiscard]] friend bool operator!=(iterator left, iterator right) noexcept { return left.of_ != right.of_; }

    private:
        event_range *of_ = nullptr;
    };

    event_range(Source &of, duration timeout) noexcept : source_(&of), timeout_(timeout) {}
    [[nodiscard]] iterator begin() noexcept { return iterator(next() ? this : nullptr); }
    [[nodiscard]] iterator end() const noexcept { return iterator(); }

private:
    [[nodiscard]] bool next() noexcept {
        event_ = event();  // Freed before the wait, not behind it.
        event_ = event(source_->take(timeout_).first);
        return static_cast<bool>(event_);
    }

    Source *source_;
    duration timeout_;
    event event_;
};

using event_callback = move_only_function<void(const event_view &)>;
using events_callback = move_only_function<void(const event_span &)>;
using wake_callback = move_only_function<void()>;

namespace detail {

inline void call_event(void *user, const cometd_event *event) {
    guarded<event_callback>(user, COMETD_OK, [event](event_callback &function) {
        function(event_view(event));
        return COMETD_OK;
    });
}

inline void call_events(void *user, const cometd_event *const *events, std::size_t count) {
    guarded<events_callback>(user, COMETD_OK, [events, count](events_callback &function) {
        function(event_span(events, count));
        return COMETD_OK;
    });
}

inline void call_wake(void *user) {
    guarded<wake_callback>(user, COMETD_OK, [](wake_callback &function) {
        function();
        return COMETD_OK;
    });
}

/// The functions of cometd.h by which the events of a client come, or of a receiver.
template <class T>
struct source_functions;

template <>
struct source_functions<cometd_client> {
    static constexpr auto poll = cometd_client_poll;
    static constexpr auto poll_many = cometd_client_poll_many;
    static constexpr auto poll_events = cometd_client_poll_events;
    static constexpr auto fd = cometd_client_fd;
    static constexpr auto set_callback = cometd_client_set_callback;
    static constexpr auto set_events_callback = cometd_client_set_events_callback;
    static constexpr auto set_wake = cometd_client_set_wake;
};

template <>
struct source_functions<cometd_receiver> {
    static constexpr auto poll = cometd_receiver_poll;
    static constexpr auto poll_many = cometd_receiver_poll_many;
    static constexpr auto poll_events = cometd_receiver_poll_events;
    static constexpr auto fd = cometd_receiver_fd;
    static constexpr auto set_callback = cometd_receiver_set_callback;
    static constexpr auto set_events_callback = cometd_receiver_set_events_callback;
    static constexpr auto set_wake = cometd_receiver_set_wake;
};

/// What clients and receivers have in common.
template <class T, void (*Free)(T *)>
class event_source {
    using functions = source_functions<T>;

public:
    [[nodiscard]] explicit operator bool() const noexcept { return source_ != nullptr; }
    [[nodiscard]] T *get() const noexcept { return source_.get(); }
    /// Gives the C object away; this one is empty then.
    [[nodiscard]] T *release() noexcept { return source_.release(); }

    /// Takes the oldest event. Nothing: none came in time, or none comes any more, for
    /// event_type::closed was the last one.
    [[nodiscard]] result<std::optional<event>> try_poll(duration timeout = forever) {
        const auto [raw, code] = take(timeout);
        if (code < 0) {
            return error(static_cast<status>(code), "poll");
        }
        return raw == nullptr ? std::nullopt : std::optional<event>(std::in_place, raw);
    }
    /// The same into an event that is there, and tells more: status::ok; status::none: none came in
    /// time; status::closed: none comes any more.
    [[nodiscard]] result<status> try_poll(event &out, duration timeout = forever) {
        out = event();
        const auto [raw, code] = take(timeout);
        if (code < 0) {
            return error(static_cast<status>(code), "poll");
        }
        out = event(raw);
        return static_cast<status>(code);
    }
    /// Takes up to `most` events, at least one, waiting for the first. status::ok: there are some; status::none: none
    /// came in time; status::closed: none comes any more.
    [[nodiscard]] result<status> try_poll_events(event_list &out, std::size_t most, duration timeout = forever) {
        cometd_status code = COMETD_NONE;
        out.fill(most, [&](cometd_event **room, std::size_t cap) {
            std::size_t count = 0;
            code = functions::poll_events(get(), timeout.count(), room, cap, &count);
            return count;
        });
        if (code < 0) {
            return error(static_cast<status>(code), "poll_events");
        }
        return static_cast<status>(code);
    }
    /// Takes up to `most` events, waiting for the first. None tells as little as in C: `try_poll_events` tells why.
    std::size_t poll_many(event_list &out, std::size_t most, duration timeout = forever) {
        return out.fill(most, [this, timeout](cometd_event **room, std::size_t count) {
            return functions::poll_many(get(), timeout.count(), room, count);
        });
    }
    [[nodiscard]] event_list poll_many(std::size_t most, duration timeout = forever) {
        event_list list;
        poll_many(list, most, timeout);
        return list;
    }
    /// All events, by `for`.
    [[nodiscard]] event_range<event_source> events(duration timeout = forever) & noexcept { return {*this, timeout}; }
    /// Readable exactly while `poll` has something to give; only to be watched.
    [[nodiscard]] auto fd() noexcept { return functions::fd(get()); }

    /// Has each event given to `function`, on a thread of the library, one at a
    /// time. What it throws goes to `on_exception`.
    [[nodiscard]] result<void> try_set_callback(event_callback function, exception_handler on_exception = {}) {
        return set<event_callback>(
            "set_callback", functions::set_callback, call_event, std::move(function), std::move(on_exception));
    }
    /// Removes the callback; a call that is running is not waited for.
    [[nodiscard]] result<void> try_remove_callback() { return try_set_callback(nullptr); }
    /// The same with many events at a time. One of these three functions is installed at a time.
    [[nodiscard]] result<void> try_set_events_callback(events_callback function, exception_handler on_exception = {}) {
        return set<events_callback>("set_events_callback", functions::set_events_callback, call_events,
            std::move(function), std::move(on_exception));
    }
    [[nodiscard]] result<void> try_remove_events_callback() { return try_set_events_callback(nullptr); }
    /// Has `function` called once when there is something to poll, and again after a poll has left nothing.
    [[nodiscard]] result<void> try_set_wake(wake_callback function, exception_handler on_exception = {}) {
        return set<wake_callback>(
            "set_wake", functions::set_wake, call_wake, std::move(function), std::move(on_exception));
    }
    [[nodiscard]] result<void> try_remove_wake() { return try_set_wake(nullptr); }
#if COMETD_EXCEPTIONS
    [[nodiscard]] std::optional<event> poll(duration timeout = forever) { return try_poll(timeout).value(); }
    [[nodiscard]] status poll(event &out, duration timeout = forever) { return try_poll(out, timeout).value(); }
    [[nodiscard]] status poll_events(event_list &out, std::size_t most, duration timeout = forever) {
        return try_poll_events(out, most, timeout).value();
    }
    void set_callback(event_callback function, exception_handler on_exception = {}) {
        try_set_callback(std::move(function), std::move(on_exception)).value();
    }
    void remove_callback() { try_remove_callback().value(); }
    void set_events_callback(events_callback function, exception_handler on_exception = {}) {
        try_set_events_callback(std::move(function), std::move(on_exception)).value();
    }
    void remove_events_callback() { try_remove_events_callback().value(); }
    void set_wake(wake_callback function, exception_handler on_exception = {}) {
        try_set_wake(std::move(function), std::move(on_exception)).value();
    }
    void remove_wake() { try_remove_wake().value(); }
#endif

protected:
    event_source() noexcept = default;
    explicit event_source(T *adopted) noexcept : source_(adopted) {}

private:
    friend class event_range<event_source>;

    [[nodiscard]] std::pair<cometd_event *, cometd_status> take(duration timeout) noexcept {
        cometd_event *raw = nullptr;
        const cometd_status code = functions::poll(get(), timeout.count(), &raw);
        return {raw, code};
    }

    template <class Function, class Set, class Call>
    [[nodiscard]] result<void> set(
        const char *what, Set setter, Call call, Function function, exception_handler on_exception) {
        if (!function) {
            return done(what, setter(get(), nullptr, nullptr, nullptr));
        }
        return done(what, install(std::move(function), std::move(on_exception),
                              [&](void *user, cometd_free_fn free) { return setter(get(), call, user, free); }));
    }

    owner<T, Free> source_;
};

}  // namespace detail

/// A moment of the server's clock.
using server_time_point = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

/// One session with one server, and the receiver of its events. Destroying it
/// aborts what still runs; `disconnect` tells the server.
class client : public detail::event_source<cometd_client, cometd_client_free> {
public:
    /// An empty one.
    client() noexcept = default;
    /// Takes over what cometd_client_builder_build gave.
    explicit client(cometd_client *adopted) noexcept : event_source(adopted) {}

    [[nodiscard]] cometd::state state() const noexcept {
        return static_cast<cometd::state>(cometd_client_state(get()));
    }
    /// Over what the last reply came; 0 when none has.
    [[nodiscard]] cometd::transport transport() const noexcept {
        return static_cast<cometd::transport>(cometd_client_transport(get()));
    }
    /// What it is called in errors and log lines.
    [[nodiscard]] std::string_view name() const & noexcept {
        return detail::view(cometd_client_name(get())).value_or("");
    }
    [[nodiscard]] std::string_view name() const && = delete;
    /// Starts the handshake and returns.
    [[nodiscard]] result<void> try_connect() {
        return detail::checked("connect", [&](cometd_error **err) { return cometd_client_connect(get(), err); });
    }
    /// status::ok: `reached` is reached or passed; status::none: not in time; status::closed: it
    /// will not be.
    [[nodiscard]] result<status> try_wait(cometd::state reached, duration timeout) {
        const cometd_status code = cometd_client_wait(get(), static_cast<cometd_state>(reached), timeout.count());
        return code < 0 ? result<cometd::status>(error(static_cast<cometd::status>(code), "wait"))
                        : result<cometd::status>(static_cast<cometd::status>(code));
    }
    /// Why it is not connected: the last error of the client itself since it was.
    [[nodiscard]] result<std::optional<error>> try_last_error() {
        cometd_error *raw = nullptr;
        const result<void> asked = detail::done("last_error", cometd_client_last_error(get(), &raw));
        const error_owner owned(raw);
        if (!asked) {
            return asked.error();
        }
        return owned == nullptr ? std::nullopt : std::optional<error>(error_view(owned.get()));
    }
    /// The id that the server has given the session; nothing when there is none.
    [[nodiscard]] result<std::optional<std::string>> try_session_id() {
        return copied("session_id", cometd_client_session_id);
    }
    /// Subscribes to channels; one event follows for each, with the id returned. `opaque`, here and below, is any
    /// value of the program's: `event_view::opaque` gives it back, also before the call has returned.
    [[nodiscard]] result<std::uint64_t> try_subscribe(const argument &channel, void *opaque = nullptr) {
        return numbered("subscribe", channel, [&](const char *name, std::uint64_t *id, cometd_error **err) {
            return cometd_client_subscribe_one(get(), name, opaque, id, err);
        });
    }
    [[nodiscard]] result<std::uint64_t> try_subscribe(std::initializer_list<argument> channels, void *opaque = nullptr) {
        return on_channels("subscribe", cometd_client_subscribe_opaque, channels, opaque);
    }
    [[nodiscard]] result<std::uint64_t> try_subscribe(const std::vector<std::string> &channels, void *opaque = nullptr) {
        return on_channels("subscribe", cometd_client_subscribe_opaque, channels, opaque);
    }
    /// Ends subscriptions; one event follows for each, with the id returned.
    [[nodiscard]] result<std::uint64_t> try_unsubscribe(const argument &channel, void *opaque = nullptr) {
        return numbered("unsubscribe", channel, [&](const char *name, std::uint64_t *id, cometd_error **err) {
            return cometd_client_unsubscribe_one(get(), name, opaque, id, err);
        });
    }
    [[nodiscard]] result<std::uint64_t> try_unsubscribe(std::initializer_list<argument> channels, void *opaque = nullptr) {
        return on_channels("unsubscribe", cometd_client_unsubscribe_opaque, channels, opaque);
    }
    [[nodiscard]] result<std::uint64_t> try_unsubscribe(const std::vector<std::string> &channels, void *opaque = nullptr) {
        return on_channels("unsubscribe", cometd_client_unsubscribe_opaque, channels, opaque);
    }
    /// Publishes one JSON value; one event follows, with the id returned.
    [[nodiscard]] result<std::uint64_t> try_publish(
        const argument &channel, std::string_view json, void *opaque = nullptr) {
        return numbered("publish", channel, [&](const char *name, std::uint64_t *id, cometd_error **err) {
            return cometd_client_publish_opaque(get(), name, detail::address(json), json.size(), opaque, id, err);
        });
    }
    /// Publishes bytes. `last` is false for a part after which others belong; `meta` is a JSON object, or empty for none.
    [[nodiscard]] result<std::uint64_t> try_publish_binary(
        const argument &channel, std::string_view bytes, bool last = true, std::string_view meta = {},
        void *opaque = nullptr) {
        return numbered("publish_binary", channel, [&](const char *name, std::uint64_t *id, cometd_error **err) {
            return cometd_client_publish_binary_opaque(get(), name, bytes.data(), bytes.size(), last,
                meta.empty() ? nullptr : meta.data(), meta.size(), opaque, id, err);
        });
    }
    /// Publishes, and sends again until the server has answered: at least once.
    [[nodiscard]] result<std::uint64_t> try_publish_with_retries(
        const argument &channel, std::string_view json, duration timeout, std::uint32_t attempts = retry_forever,
        void *opaque = nullptr) {
        return numbered("publish_with_retries", channel, [&](const char *name, std::uint64_t *id, cometd_error **err) {
            return cometd_client_publish_with_retries_opaque(
                get(), name, detail::address(json), json.size(), timeout.count(), attempts, opaque, id, err);
        });
    }
    /// Calls a service, "/service/…"; event_type::result or an error follows, with the id returned.
    [[nodiscard]] result<std::uint64_t> try_remote_call(
        const argument &channel, std::string_view json, duration timeout, void *opaque = nullptr) {
        return numbered("remote_call", channel, [&](const char *name, std::uint64_t *id, cometd_error **err) {
            return cometd_client_remote_call_opaque(
                get(), name, detail::address(json), json.size(), timeout.count(), opaque, id, err);
        });
    }
    /// Begins a batch: what is called from here on is sent in one request at its end.
    /// `cometd::batch` pairs the two.
    [[nodiscard]] result<void> try_batch_begin() {
        return detail::checked(
            "batch_begin", [&](cometd_error **err) { return cometd_client_batch_begin(get(), err); });
    }
    [[nodiscard]] result<void> try_batch_end() {
        return detail::checked("batch_end", [&](cometd_error **err) { return cometd_client_batch_end(get(), err); });
    }
    /// What the server's clock says; nothing when that is not known.
    [[nodiscard]] result<std::optional<server_time_point>> try_server_time() {
        std::int64_t time = 0;
        const cometd_status code = cometd_client_server_time(get(), &time);
        if (code < 0) {
            return error(static_cast<cometd::status>(code), "server_time");
        }
        return code == COMETD_OK ? std::optional<server_time_point>(std::chrono::milliseconds(time)) : std::nullopt;
    }
    /// What the client has done so far, as a JSON object.
    [[nodiscard]] result<std::string> try_statistics() {
        auto text = copied("statistics", cometd_client_statistics);
        return text ? result<std::string>((*text).value_or("")) : result<std::string>(text.error());
    }
    /// Where the next `subscribe` to this channel starts; with the replay extension.
    [[nodiscard]] result<void> try_set_replay_position(const argument &channel, std::int64_t position) {
        return channel.is_whole()
                   ? detail::checked("set_replay_position",
                         [&](cometd_error **err) {
                             return cometd_client_set_replay_position(get(), channel.c_str(), position, err);
                         })
                   : result<void>(detail::holds_nul("set_replay_position"));
    }
    /// The value of the Authorization header from the next request on.
    [[nodiscard]] result<void> try_set_authorization(const argument &header_value) {
        const char *const what = "set_authorization";
        return header_value.is_whole()
                   ? detail::done(what, cometd_client_set_authorization(get(), header_value.c_str()))
                   : result<void>(detail::holds_nul(what));
    }
    /// Waits until all that was called has its outcome: status::ok; status::none: the time is up;
    /// status::closed: not all will have one. status::undelivered: publishes have failed.
    [[nodiscard]] result<status> try_flush(duration timeout) {
        cometd_error *raw = nullptr;
        const cometd_status code = cometd_client_flush(get(), timeout.count(), &raw);
        const error_owner owned(raw);
        if (code >= 0) {
            return static_cast<cometd::status>(code);
        }
        return owned != nullptr ? error(error_view(owned.get())) : error(static_cast<cometd::status>(code), "flush");
    }
    /// Ends the session, within `timeout`; 0 returns at once.
    /// status::undelivered: publishes have failed, and no event has told so before.
    [[nodiscard]] result<void> try_disconnect(duration timeout) {
        return detail::checked(
            "disconnect", [&](cometd_error **err) { return cometd_client_disconnect(get(), timeout.count(), err); });
    }
    /// Gives the session to `builder::resume`, and ends without a word to the server. It is a secret.
    /// Within `timeout`; where that was not enough, it can be called again.
    [[nodiscard]] result<std::string> try_export_session(duration timeout) {
        const char *text = nullptr;
        const result<void> done = detail::checked("export_session",
            [&](cometd_error **err) { return cometd_client_export(get(), timeout.count(), &text, err); });
        return done ? result<std::string>(std::string(text)) : result<std::string>(done.error());
    }

#if COMETD_EXCEPTIONS
    void connect() { try_connect().value(); }
    [[nodiscard]] status wait(cometd::state reached, duration timeout) { return try_wait(reached, timeout).value(); }
    [[nodiscard]] std::optional<error> last_error() { return try_last_error().value(); }
    [[nodiscard]] std::optional<std::string> session_id() { return try_session_id().value(); }
    std::uint64_t subscribe(const argument &channel, void *opaque = nullptr) {
        return try_subscribe(channel, opaque).value();
    }
    std::uint64_t subscribe(std::initializer_list<argument> channels, void *opaque = nullptr) {
        return try_subscribe(channels, opaque).value();
    }
    std::uint64_t subscribe(const std::vector<std::string> &channels, void *opaque = nullptr) {
        return try_subscribe(channels, opaque).value();
    }
    std::uint64_t unsubscribe(const argument &channel, void *opaque = nullptr) {
        return try_unsubscribe(channel, opaque).value();
    }
    std::uint64_t unsubscribe(std::initializer_list<argument> channels, void *opaque = nullptr) {
        return try_unsubscribe(channels, opaque).value();
    }
    std::uint64_t unsubscribe(const std::vector<std::string> &channels, void *opaque = nullptr) {
        return try_unsubscribe(channels, opaque).value();
    }
    std::uint64_t publish(const argument &channel, std::string_view json, void *opaque = nullptr) {
        return try_publish(channel, json, opaque).value();
    }
    std::uint64_t publish_binary(
        const argument &channel, std::string_view bytes, bool last = true, std::string_view meta = {},
        void *opaque = nullptr) {
        return try_publish_binary(channel, bytes, last, meta, opaque).value();
    }
    std::uint64_t publish_with_retries(
        const argument &channel, std::string_view json, duration timeout, std::uint32_t attempts = retry_forever,
        void *opaque = nullptr) {
        return try_publish_with_retries(channel, json, timeout, attempts, opaque).value();
    }
    std::uint64_t remote_call(
        const argument &channel, std::string_view json, duration timeout, void *opaque = nullptr) {
        return try_remote_call(channel, json, timeout, opaque).value();
    }
    void batch_begin() { try_batch_begin().value(); }
    void batch_end() { try_batch_end().value(); }
    [[nodiscard]] std::optional<server_time_point> server_time() { return try_server_time().value(); }
    [[nodiscard]] std::string statistics() { return try_statistics().value(); }
    void set_replay_position(const argument &channel, std::int64_t position) {
        try_set_replay_position(channel, position).value();
    }
    void set_authorization(const argument &header_value) { try_set_authorization(header_value).value(); }
    [[nodiscard]] status flush(duration timeout) { return try_flush(timeout).value(); }
    void disconnect(duration timeout) { try_disconnect(timeout).value(); }
    [[nodiscard]] std::string export_session(duration timeout) { return try_export_session(timeout).value(); }
#endif

private:
    using channels_function = cometd_status (*)(
        cometd_client *, const char *const *, std::size_t, void *, std::uint64_t *, cometd_error **);
    using copy_function = cometd_status (*)(cometd_client *, char *, std::size_t, std::size_t *);

    /// A call that gives an id.
    template <class Call>
    [[nodiscard]] static result<std::uint64_t> numbered(const char *what, const argument &channel, Call call) {
        if (!channel.is_whole()) {
            return detail::holds_nul(what);
        }
        std::uint64_t id = 0;
        const result<void> done =
            detail::checked(what, [&](cometd_error **err) { return call(channel.c_str(), &id, err); });
        return done ? result<std::uint64_t>(id) : result<std::uint64_t>(done.error());
    }

    /// On a range of what an `argument` can be made of.
    template <class Channels>
    [[nodiscard]] result<std::uint64_t> on_channels(
        const char *what, channels_function function, const Channels &channels, void *opaque) {
        std::vector<const char *> names;
        names.reserve(channels.size() + 1);
        for (const auto &channel : channels) {
            const argument &name = channel;
            if (!name.is_whole()) {
                return detail::holds_nul(what);
            }
            names.push_back(name.c_str());
        }
        const std::size_t count = names.size();
        names.push_back(nullptr);  // Never empty: the address of none is no NULL.
        std::uint64_t id = 0;
        const result<void> done = detail::checked(
            what, [&](cometd_error **err) { return function(get(), names.data(), count, opaque, &id, err); });
        return done ? result<std::uint64_t>(id) : result<std::uint64_t>(done.error());
    }

    /// Nothing: the function has said so.
    [[nodiscard]] result<std::optional<std::string>> copied(const char *what, copy_function function) {
        std::string text;
        // It may grow between two calls, so its length is asked with each of them.
        std::size_t needed = 0;
        cometd_status code = function(get(), nullptr, 0, &needed);
        while (code == COMETD_E_OUT_OF_RANGE) {
            text.resize(needed);
            code = function(get(), text.data(), text.size(), &needed);
        }
        if (code < 0) {
            return error(static_cast<status>(code), what);
        }
        if (code != COMETD_OK) {
            return std::optional<std::string>();
        }
        text.resize(needed - 1);
        return std::optional<std::string>(std::move(text));
    }
};

/// A batch from its making to its end, which its destructor is the latest moment
/// for. It must not outlive its client, which may be moved meanwhile.
class [[nodiscard]] batch {
    struct begun {};

public:
    [[nodiscard]] static result<batch> try_begin(client &of) {
        const result<void> done = of.try_batch_begin();
        return done ? result<batch>(batch(of, begun())) : result<batch>(done.error());
    }
#if COMETD_EXCEPTIONS
    [[nodiscard]] explicit batch(client &of) : client_(of.get()) { of.batch_begin(); }
#endif
    batch(batch &&other) noexcept : client_(std::exchange(other.client_, nullptr)) {}
    batch &operator=(batch &&other) noexcept {
        std::swap(client_, other.client_);
        return *this;
    }
    batch(const batch &) = delete;
    batch &operator=(const batch &) = delete;
    ~batch() {
        // Its error has nobody to go to: it fails only where there is nothing left to send.
        static_cast<void>(client_ != nullptr && cometd_client_batch_end(client_, nullptr) == COMETD_OK);
    }
    /// Ends it here, and tells when that fails.
    [[nodiscard]] result<void> try_end() {
        cometd_client *const of = std::exchange(client_, nullptr);
        return of == nullptr
                   ? result<void>()
                   : detail::checked("batch_end", [of](cometd_error **err) { return cometd_client_batch_end(of, err); });
    }
#if COMETD_EXCEPTIONS
    void end() { try_end().value(); }
#endif

private:
    batch(client &of, begun /*already*/) noexcept : client_(of.get()) {}

    cometd_client *client_;
};

/// A further receiver of a client: it sees every event from its making on, and
/// may outlive the client.
class receiver : public detail::event_source<cometd_receiver, cometd_receiver_free> {
public:
    /// An empty one.
    receiver() noexcept = default;
    /// Takes over what cometd_receiver_new gave.
    explicit receiver(cometd_receiver *adopted) noexcept : event_source(adopted) {}
    [[nodiscard]] static result<receiver> try_of(const client &of) {
        cometd_receiver *raw = nullptr;
        const result<void> made = detail::done("receiver", cometd_receiver_new(of.get(), &raw));
        return made ? result<receiver>(receiver(raw)) : result<receiver>(made.error());
    }
#if COMETD_EXCEPTIONS
    explicit receiver(const client &of) : receiver(try_of(of).value()) {}
#endif
};

/// A message while an extension has it; it ends with the call.
class extension_message {
public:
    explicit extension_message(cometd_extension_message *of) noexcept : message_(of) {}

    /// The whole message, a JSON object. The text is good until the call ends.
    [[nodiscard]] std::string_view json() const noexcept {
        return detail::part<cometd_extension_message>(cometd_extension_message_json, message_).value_or("");
    }
    /// Puts another JSON object in its place.
    [[nodiscard]] result<void> try_replace(std::string_view json) {
        return detail::done("replace", cometd_extension_message_replace(message_, detail::address(json), json.size()));
    }
    /// It goes no further.
    [[nodiscard]] result<void> try_drop() { return detail::done("drop", cometd_extension_message_drop(message_)); }
#if COMETD_EXCEPTIONS
    void replace(std::string_view json) { try_replace(json).value(); }
    void drop() { try_drop().value(); }
#endif
    [[nodiscard]] cometd_extension_message *get() const noexcept { return message_; }

private:
    cometd_extension_message *message_;
};

/// One direction of an extension. It returns a status, or nothing; when it returns another than
/// status::ok, or throws, the message goes on as it was before.
using extension = move_only_function<status(extension_message)>;

namespace detail {

/// What a provider is asked for, kept until it is answered, by any thread. It frees it.
template <class View, class T, void (*Free)(T *), cometd_status (*Fail)(T *, const char *)>
class kept : public View {
public:
    /// Takes over what a _retain of cometd.h gave.
    explicit kept(T *adopted) noexcept : View(adopted), owner_(adopted) {}
    kept(kept &&other) noexcept
        : View(std::exchange(static_cast<View &>(other), View(nullptr))), owner_(std::move(other.owner_)) {}
    kept &operator=(kept &&other) noexcept {
        static_cast<View &>(*this) = std::exchange(static_cast<View &>(other), View(nullptr));
        owner_ = std::move(other.owner_);
        return *this;
    }
    kept(const kept &) = delete;
    kept &operator=(const kept &) = delete;
    ~kept() = default;

    [[nodiscard]] explicit operator bool() const noexcept { return owner_ != nullptr; }
    /// There is no answer, for this reason.
    [[nodiscard]] result<void> try_fail(const argument &why) {
        return why.is_whole() ? done("fail", Fail(owner_.get(), why.c_str())) : result<void>(holds_nul("fail"));
    }
#if COMETD_EXCEPTIONS
    void fail(const argument &why) { try_fail(why).value(); }
#endif

private:
    owner<T, Free> owner_;
};

}  // namespace detail

class token;
/// A token that is answered later.
using kept_token = detail::kept<token, cometd_token, cometd_token_free, cometd_token_fail>;

/// Where a token provider puts what it has found; it ends with the call.
class token {
public:
    explicit token(cometd_token *of) noexcept : token_(of) {}

    /// The value of the Authorization header, "Bearer abc".
    [[nodiscard]] result<void> try_set_authorization(const argument &header_value) {
        const char *const what = "set_authorization";
        return header_value.is_whole()
                   ? detail::done(what, cometd_token_set_authorization(token_, header_value.c_str()))
                   : result<void>(detail::holds_nul(what));
    }
#if COMETD_EXCEPTIONS
    void set_authorization(const argument &header_value) { try_set_authorization(header_value).value(); }
#endif
    /// Keeps it, to answer after the provider has returned.
    [[nodiscard]] inline kept_token retain() const noexcept;
    [[nodiscard]] cometd_token *get() const noexcept { return token_; }

private:
    cometd_token *token_;
};

inline kept_token token::retain() const noexcept { return kept_token(cometd_token_retain(token_)); }

/// Gives the value of the Authorization header, "Bearer abc", or nothing.
using token_provider = move_only_function<std::optional<std::string>(token_reason)>;
/// Sets it in `token`, now or later (`token::retain`), and returns a status, or nothing.
using async_token_provider = move_only_function<status(token_reason, token)>;

class handshake;
/// A handshake that is answered later.
using kept_handshake = detail::kept<handshake, cometd_handshake, cometd_handshake_free, cometd_handshake_fail>;

/// A handshake that is about to be made; it ends with the call.
class handshake {
public:
    explicit handshake(cometd_handshake *of) noexcept : handshake_(of) {}

    /// 1 for the first attempt since the last session that worked.
    [[nodiscard]] std::uint32_t attempt() const noexcept { return cometd_handshake_attempt(handshake_); }
    /// The reply, JSON, that refused the last one; it may hold a challenge.
    [[nodiscard]] std::optional<std::string_view> refusal() const noexcept {
        return detail::part<cometd_handshake>(cometd_handshake_refusal, handshake_);
    }
    /// The fields of this attempt, a JSON object.
    [[nodiscard]] result<void> try_set_fields(std::string_view json) {
        return detail::done("set_fields", cometd_handshake_set_fields(handshake_, detail::address(json), json.size()));
    }
#if COMETD_EXCEPTIONS
    void set_fields(std::string_view json) { try_set_fields(json).value(); }
#endif
    /// Keeps it, to answer after the provider has returned.
    [[nodiscard]] inline kept_handshake retain() const noexcept;
    [[nodiscard]] cometd_handshake *get() const noexcept { return handshake_; }

private:
    cometd_handshake *handshake_;
};

inline kept_handshake handshake::retain() const noexcept { return kept_handshake(cometd_handshake_retain(handshake_)); }

/// Says what a handshake is to say. It returns a status, or nothing; when that is another than
/// status::ok, or it throws, the attempt has failed and is made again later.
using handshake_provider = move_only_function<status(handshake)>;

class request;
/// A request that is answered later.
using kept_request = detail::kept<request, cometd_request, cometd_request_free, cometd_request_fail>;

/// A request that is about to be sent; it ends with the call.
class request {
public:
    explicit request(cometd_request *of) noexcept : request_(of) {}

    [[nodiscard]] cometd::phase phase() const noexcept {
        return static_cast<cometd::phase>(cometd_request_phase(request_));
    }
    [[nodiscard]] std::string_view method() const noexcept {
        return detail::view(cometd_request_method(request_)).value_or("");
    }
    /// With its query, without user and password.
    [[nodiscard]] std::string_view url() const noexcept {
        return detail::part<cometd_request>(cometd_request_url, request_).value_or("");
    }
    /// The bytes that are sent, a JSON array of messages.
    [[nodiscard]] std::string_view body() const noexcept {
        return detail::part<cometd_request>(cometd_request_body, request_).value_or("");
    }
    /// In place of those of the same name that all requests have.
    [[nodiscard]] result<void> try_set_header(const argument &name, const argument &value) {
        const char *const what = "set_header";
        return name.is_whole() && value.is_whole()
                   ? detail::done(what, cometd_request_set_header(request_, name.c_str(), value.c_str()))
                   : result<void>(detail::holds_nul(what));
    }
#if COMETD_EXCEPTIONS
    void set_header(const argument &name, const argument &value) { try_set_header(name, value).value(); }
#endif
    /// Keeps it, to answer after the provider has returned.
    [[nodiscard]] inline kept_request retain() const noexcept;
    [[nodiscard]] cometd_request *get() const noexcept { return request_; }

private:
    cometd_request *request_;
};

inline kept_request request::retain() const noexcept { return kept_request(cometd_request_retain(request_)); }

/// Sets headers of a request. It returns a status, or nothing; when that is another than
/// status::ok, or it throws, the request has failed.
using header_provider = move_only_function<status(request)>;

/// Gives the position that is stored for a channel, or nothing when none is. What it
/// throws fails the `subscribe` that asks: a `cometd::error` with its own status, all
/// else with status::system.
using replay_loader = move_only_function<std::optional<std::int64_t>(std::string_view channel)>;
/// Stores the position of a channel. It returns a status, or nothing; it has failed when that is
/// another than status::ok, or when it throws.
using replay_saver = move_only_function<status(std::string_view channel, std::int64_t position)>;

namespace detail {

struct extension_functions {
    extension outgoing, incoming;
};

struct replay_store {
    replay_loader load;
    replay_saver save;
};

template <extension extension_functions::*Direction>
cometd_status call_extension(void *user, cometd_extension_message *message) {
    return guarded<extension_functions>(user, COMETD_E_INVALID_STATE, [message](extension_functions &functions) {
        return static_cast<cometd_status>((functions.*Direction)(extension_message(message)));
    });
}

inline cometd_status call_token_provider(void *user, std::int32_t reason, cometd_token *of) {
    return guarded<async_token_provider>(user, COMETD_E_CREDENTIALS, [&](async_token_provider &function) {
        return static_cast<cometd_status>(function(static_cast<token_reason>(reason), token(of)));
    });
}

inline cometd_status call_handshake_provider(void *user, cometd_handshake *of) {
    return guarded<handshake_provider>(user, COMETD_E_CREDENTIALS,
        [of](handshake_provider &function) { return static_cast<cometd_status>(function(handshake(of))); });
}

inline cometd_status call_header_provider(void *user, cometd_request *of) {
    return guarded<header_provider>(user, COMETD_E_CREDENTIALS,
        [of](header_provider &function) { return static_cast<cometd_status>(function(request(of))); });
}

inline cometd_status call_replay_load(void *user, const char *channel, std::int64_t *position) {
    return guarded<replay_store>(user, COMETD_E_SYSTEM, [&](replay_store &store) {
        const std::optional<std::int64_t> stored = store.load(channel);
        *position = stored.value_or(*position);
        return stored ? COMETD_OK : COMETD_NONE;
    });
}

inline cometd_status call_replay_save(void *user, const char *channel, std::int64_t position) {
    return guarded<replay_store>(user, COMETD_E_SYSTEM,
        [&](replay_store &store) { return static_cast<cometd_status>(store.save(channel, position)); });
}

}  // namespace detail

/// What a client will be; it can build any number of them. Each setter returns the
/// builder, so that they can be chained, and never throws for what it refuses: the first
/// error is kept, and `build` throws it.
class builder {
public:
    explicit builder(const argument &url) {
        const char *const what = "url";
        if (!url.is_whole()) {
            error_ = detail::holds_nul(what);
            return;
        }
        cometd_client_builder *raw = nullptr;
        const result<void> made = detail::checked(
            what, [&](cometd_error **err) { return cometd_client_builder_new(url.c_str(), &raw, err); });
        builder_.reset(raw);
        if (!made) {
            error_ = made.error();
        }
    }

    /// The first error of a setter, or of the URL. One of a setter is forgotten when the same one succeeds later.
    [[nodiscard]] std::optional<cometd::error> error() const {
        if (error_) {
            return error_;
        }
        const cometd_error *first = cometd_client_builder_error(get());
        return first == nullptr ? std::nullopt : std::optional<cometd::error>(error_view(first));
    }
    /// Forgets the errors of setters: clients are built without what was refused.
    void clear_error() noexcept {
        if (builder_ != nullptr) {
            error_.reset();
            static_cast<void>(cometd_client_builder_clear_error(get()));
        }
    }
    /// Whether nothing was refused so far.
    [[nodiscard]] explicit operator bool() const noexcept {
        return builder_ != nullptr && !error_ && cometd_client_builder_error(get()) == nullptr;
    }
    builder &handshake_base_path(const argument &path) & {
        return text("handshake_base_path", cometd_client_builder_set_handshake_base_path, path);
    }
    builder &&handshake_base_path(const argument &path) && { return std::move(handshake_base_path(path)); }
    builder &subscribe_base_path(const argument &path) & {
        return text("subscribe_base_path", cometd_client_builder_set_subscribe_base_path, path);
    }
    builder &&subscribe_base_path(const argument &path) && { return std::move(subscribe_base_path(path)); }
    builder &connect_base_path(const argument &path) & {
        return text("connect_base_path", cometd_client_builder_set_connect_base_path, path);
    }
    builder &&connect_base_path(const argument &path) && { return std::move(connect_base_path(path)); }
    builder &disconnect_base_path(const argument &path) & {
        return text("disconnect_base_path", cometd_client_builder_set_disconnect_base_path, path);
    }
    builder &&disconnect_base_path(const argument &path) && { return std::move(disconnect_base_path(path)); }
    builder &append_message_type(append mode) & {
        return done("append_message_type",
            cometd_client_builder_set_append_message_type(get(), static_cast<std::int32_t>(mode)));
    }
    builder &&append_message_type(append mode) && { return std::move(append_message_type(mode)); }
    builder &bearer_token(const argument &token) & {
        return text("bearer_token", cometd_client_builder_set_bearer_token, token);
    }
    builder &&bearer_token(const argument &token) && { return std::move(bearer_token(token)); }
    builder &basic_auth(const argument &user) & { return basic("basic_auth", user, nullptr); }
    builder &&basic_auth(const argument &user) && { return std::move(basic_auth(user)); }
    builder &basic_auth(const argument &user, const argument &password) & {
        return basic("basic_auth", user, &password);
    }
    builder &&basic_auth(const argument &user, const argument &password) && {
        return std::move(basic_auth(user, password));
    }
    /// The whole value of the header, for any other scheme.
    builder &authorization(const argument &header_value) & {
        return text("authorization", cometd_client_builder_set_authorization, header_value);
    }
    builder &&authorization(const argument &header_value) && { return std::move(authorization(header_value)); }
    /// Asked for new credentials when the server refuses those in use; it may block. An empty
    /// function removes the one before.
    builder &token_provider(cometd::async_token_provider given, exception_handler on_exception = {}) & {
        return function("token_provider", cometd_client_builder_set_token_provider, detail::call_token_provider,
            std::move(given), std::move(on_exception));
    }
    builder &&token_provider(cometd::async_token_provider given, exception_handler on_exception = {}) && {
        return std::move(token_provider(std::move(given), std::move(on_exception)));
    }
    /// The same by a function that gives the value itself.
    builder &token_provider(cometd::token_provider given, exception_handler on_exception = {}) & {
        if (!given) {
            return token_provider(nullptr);
        }
        return token_provider(
            cometd::async_token_provider([inner = std::move(given)](token_reason reason, token of) mutable {
                const std::optional<std::string> value = inner(reason);
                return value ? of.try_set_authorization(*value).status() : status::credentials;
            }),
            std::move(on_exception));
    }
    builder &&token_provider(cometd::token_provider given, exception_handler on_exception = {}) && {
        return std::move(token_provider(std::move(given), std::move(on_exception)));
    }
    builder &token_provider(std::nullptr_t /*none*/) & { return token_provider(cometd::async_token_provider()); }
    builder &&token_provider(std::nullptr_t /*none*/) && { return std::move(token_provider(nullptr)); }
    /// Asked before each handshake for what this one is to say; it may block. An empty function
    /// removes the one before.
    builder &handshake_provider(cometd::handshake_provider given, exception_handler on_exception = {}) & {
        return function("handshake_provider", cometd_client_builder_set_handshake_provider,
            detail::call_handshake_provider, std::move(given), std::move(on_exception));
    }
    builder &&handshake_provider(cometd::handshake_provider given, exception_handler on_exception = {}) && {
        return std::move(handshake_provider(std::move(given), std::move(on_exception)));
    }
    /// Asked before each request of long polling for headers of it; it may block. An empty function
    /// removes the one before.
    builder &header_provider(cometd::header_provider given, exception_handler on_exception = {}) & {
        return function("header_provider", cometd_client_builder_set_header_provider, detail::call_header_provider,
            std::move(given), std::move(on_exception));
    }
    builder &&header_provider(cometd::header_provider given, exception_handler on_exception = {}) && {
        return std::move(header_provider(std::move(given), std::move(on_exception)));
    }
    /// Sees, changes and drops messages on their way out and in; either may be
    /// empty. They may block.
    builder &add_extension(
        cometd::extension outgoing, cometd::extension incoming, exception_handler on_exception = {}) & {
        using functions = detail::extension_functions;
        const cometd_extension_fn out = outgoing ? detail::call_extension<&functions::outgoing> : nullptr;
        const cometd_extension_fn in = incoming ? detail::call_extension<&functions::incoming> : nullptr;
        return done("add_extension", detail::install(functions{std::move(outgoing), std::move(incoming)},
                                         std::move(on_exception), [&](void *user, cometd_free_fn free) {
                                             return cometd_client_builder_add_extension(get(), out, in, user, free);
                                         }));
    }
    builder &&add_extension(
        cometd::extension outgoing, cometd::extension incoming, exception_handler on_exception = {}) && {
        return std::move(add_extension(std::move(outgoing), std::move(incoming), std::move(on_exception)));
    }
    builder &add_cookie(const argument &name, const argument &value) & {
        return pair("add_cookie", cometd_client_builder_add_cookie, name, value);
    }
    builder &&add_cookie(const argument &name, const argument &value) && { return std::move(add_cookie(name, value)); }
    builder &add_header(const argument &name, const argument &value) & {
        return pair("add_header", cometd_client_builder_add_header, name, value);
    }
    builder &&add_header(const argument &name, const argument &value) && { return std::move(add_header(name, value)); }
    builder &add_url(const argument &url) & { return text("add_url", cometd_client_builder_add_url, url); }
    builder &&add_url(const argument &url) && { return std::move(add_url(url)); }
    builder &handshake_ext(std::string_view json) & {
        return done(
            "handshake_ext", cometd_client_builder_set_handshake_ext(get(), detail::address(json), json.size()));
    }
    builder &&handshake_ext(std::string_view json) && { return std::move(handshake_ext(json)); }
    builder &timeout(duration time) & {
        return done("timeout", cometd_client_builder_set_timeout_ms(get(), time.count()));
    }
    builder &&timeout(duration time) && { return std::move(timeout(time)); }
    builder &interval(duration time) & {
        return done("interval", cometd_client_builder_set_interval_ms(get(), time.count()));
    }
    builder &&interval(duration time) && { return std::move(interval(time)); }
    builder &request_timeout(duration time) & {
        return done("request_timeout", cometd_client_builder_set_request_timeout_ms(get(), time.count()));
    }
    builder &&request_timeout(duration time) && { return std::move(request_timeout(time)); }
    /// 0: no pings.
    builder &ping_interval(duration time) & {
        return done("ping_interval", cometd_client_builder_set_ping_interval_ms(get(), time.count()));
    }
    builder &&ping_interval(duration time) && { return std::move(ping_interval(time)); }
    builder &number_of_retries(std::uint32_t retries) & {
        return done("number_of_retries", cometd_client_builder_set_number_of_retries(get(), retries));
    }
    builder &&number_of_retries(std::uint32_t retries) && { return std::move(number_of_retries(retries)); }
    builder &backoff(duration increment, duration most) & {
        return done("backoff", cometd_client_builder_set_backoff_ms(get(), increment.count(), most.count()));
    }
    builder &&backoff(duration increment, duration most) && { return std::move(backoff(increment, most)); }
    builder &events_capacity(std::size_t events, std::size_t bytes) & {
        return done("events_capacity", cometd_client_builder_set_events_capacity(get(), events, bytes));
    }
    builder &&events_capacity(std::size_t events, std::size_t bytes) && {
        return std::move(events_capacity(events, bytes));
    }
    builder &commands_capacity(std::size_t commands) & {
        return done("commands_capacity", cometd_client_builder_set_commands_capacity(get(), commands));
    }
    builder &&commands_capacity(std::size_t commands) && { return std::move(commands_capacity(commands)); }
    builder &response_capacity(std::size_t bytes) & {
        return done("response_capacity", cometd_client_builder_set_response_capacity(get(), bytes));
    }
    builder &&response_capacity(std::size_t bytes) && { return std::move(response_capacity(bytes)); }
    builder &request_capacity(std::size_t bytes) & {
        return done("request_capacity", cometd_client_builder_set_request_capacity(get(), bytes));
    }
    builder &&request_capacity(std::size_t bytes) && { return std::move(request_capacity(bytes)); }
    builder &overflow(cometd::overflow policy) & {
        return done("overflow", cometd_client_builder_set_overflow(get(), static_cast<std::int32_t>(policy)));
    }
    builder &&overflow(cometd::overflow policy) && { return std::move(overflow(policy)); }
    /// What the clients are called in errors and log lines.
    builder &name(const argument &given) & { return text("name", cometd_client_builder_set_name, given); }
    builder &&name(const argument &given) && { return std::move(name(given)); }
    /// The first client that is built goes on with this session, of `client::export_session`; "" takes it back.
    builder &resume(const argument &session) & { return text("resume", cometd_client_builder_set_resume, session); }
    builder &&resume(const argument &session) && { return std::move(resume(session)); }
    /// true: any certificate of a server will do, so that anybody may be the server; only for tests.
    builder &insecure(bool enabled) & {
        return done("insecure", cometd_client_builder_set_insecure(get(), enabled));
    }
    builder &&insecure(bool enabled) && { return std::move(insecure(enabled)); }
    builder &minimum_tls_version(tls_version version) & {
        return done("minimum_tls_version",
            cometd_client_builder_set_minimum_tls_version(get(), static_cast<std::int32_t>(version)));
    }
    builder &&minimum_tls_version(tls_version version) && { return std::move(minimum_tls_version(version)); }
    /// true: a client ends before its first session when what fails does not pass by itself.
    builder &fail_fast(bool enabled) & {
        return done("fail_fast", cometd_client_builder_set_fail_fast(get(), enabled));
    }
    builder &&fail_fast(bool enabled) && { return std::move(fail_fast(enabled)); }
    builder &own_receiver(bool enabled) & {
        return done("own_receiver", cometd_client_builder_set_own_receiver(get(), enabled));
    }
    builder &&own_receiver(bool enabled) && { return std::move(own_receiver(enabled)); }
    builder &follow_hosts(bool enabled) & {
        return done("follow_hosts", cometd_client_builder_set_follow_hosts(get(), enabled));
    }
    builder &&follow_hosts(bool enabled) && { return std::move(follow_hosts(enabled)); }
    builder &timesync(bool enabled) & { return done("timesync", cometd_client_builder_set_timesync(get(), enabled)); }
    builder &&timesync(bool enabled) && { return std::move(timesync(enabled)); }
    builder &restart(bool enabled) & { return done("restart", cometd_client_builder_set_restart(get(), enabled)); }
    builder &&restart(bool enabled) && { return std::move(restart(enabled)); }
    builder &acknowledgement(bool enabled) & {
        return done("acknowledgement", cometd_client_builder_set_acknowledgement(get(), enabled));
    }
    builder &&acknowledgement(bool enabled) && { return std::move(acknowledgement(enabled)); }
    /// true: a client whose credentials were refused waits for new ones instead of ending.
    builder &await_credentials(bool enabled) & {
        return done("await_credentials", cometd_client_builder_set_await_credentials(get(), enabled));
    }
    builder &&await_credentials(bool enabled) && { return std::move(await_credentials(enabled)); }
    builder &timestamp(cometd::timestamp format) & {
        return done("timestamp", cometd_client_builder_set_timestamp(get(), static_cast<std::int32_t>(format)));
    }
    builder &&timestamp(cometd::timestamp format) && { return std::move(timestamp(format)); }
    /// "http://user:password@host:port", or https, socks5h, socks5; "" is no proxy at all. Without a
    /// call the environment decides, as it does for curl.
    builder &proxy(const argument &url) & { return text("proxy", cometd_client_builder_set_proxy, url); }
    builder &&proxy(const argument &url) && { return std::move(proxy(url)); }
    /// PEM; trusted beside what the system trusts, or alone.
    builder &certificate_authorities(std::string_view pem, bool with_system) & {
        return done("certificate_authorities",
            cometd_client_builder_set_certificate_authorities(get(), detail::address(pem), pem.size(), with_system));
    }
    builder &&certificate_authorities(std::string_view pem, bool with_system) && {
        return std::move(certificate_authorities(pem, with_system));
    }
    /// PEM; the key in PKCS #8, without a password.
    builder &client_certificate(std::string_view pem_chain, std::string_view pem_key) & {
        return done(
            "client_certificate", cometd_client_builder_set_client_certificate(get(), detail::address(pem_chain),
                                      pem_chain.size(), detail::address(pem_key), pem_key.size()));
    }
    builder &&client_certificate(std::string_view pem_chain, std::string_view pem_key) && {
        return std::move(client_certificate(pem_chain, pem_key));
    }
    /// In order of preference, each once.
    builder &transports(std::initializer_list<cometd::transport> preferred) & { return set_transports(preferred); }
    builder &&transports(std::initializer_list<cometd::transport> preferred) && {
        return std::move(transports(preferred));
    }
    builder &transports(const std::vector<cometd::transport> &preferred) & { return set_transports(preferred); }
    builder &&transports(const std::vector<cometd::transport> &preferred) && {
        return std::move(transports(preferred));
    }
    /// Where WebSockets are opened; "": at the URL itself.
    builder &websocket_path(const argument &path) & {
        return text("websocket_path", cometd_client_builder_set_websocket_path, path);
    }
    builder &&websocket_path(const argument &path) && { return std::move(websocket_path(path)); }
    /// "": none.
    builder &websocket_protocol(const argument &protocol) & {
        return text("websocket_protocol", cometd_client_builder_set_websocket_protocol, protocol);
    }
    builder &&websocket_protocol(const argument &protocol) && { return std::move(websocket_protocol(protocol)); }
    /// Turns the replay extension on; channels without a position of their own start here.
    builder &replay(std::int64_t start) & { return done("replay", cometd_client_builder_set_replay(get(), start)); }
    builder &&replay(std::int64_t start) && { return std::move(replay(start)); }
    builder &replay_position(const argument &channel, std::int64_t position) & {
        const char *const what = "replay_position";
        return channel.is_whole()
                   ? done(what, cometd_client_builder_set_replay_position(get(), channel.c_str(), position))
                   : refused(detail::holds_nul(what));
    }
    builder &&replay_position(const argument &channel, std::int64_t position) && {
        return std::move(replay_position(channel, position));
    }
    /// replay_all, replay_new or replay_fail.
    builder &replay_fallback(std::int64_t position) & {
        return done("replay_fallback", cometd_client_builder_set_replay_fallback(get(), position));
    }
    builder &&replay_fallback(std::int64_t position) && { return std::move(replay_fallback(position)); }
    /// Where positions outlive the process. Either function may be empty.
    builder &replay_store(
        cometd::replay_loader load, cometd::replay_saver save, exception_handler on_exception = {}) & {
        const cometd_replay_load_fn load_fn = load ? detail::call_replay_load : nullptr;
        const cometd_replay_save_fn save_fn = save ? detail::call_replay_save : nullptr;
        return done("replay_store", detail::install(detail::replay_store{std::move(load), std::move(save)},
                                        std::move(on_exception), [&](void *user, cometd_free_fn free) {
                                            return cometd_client_builder_set_replay_store(
                                                get(), load_fn, save_fn, user, free);
                                        }));
    }
    builder &&replay_store(
        cometd::replay_loader load, cometd::replay_saver save, exception_handler on_exception = {}) && {
        return std::move(replay_store(std::move(load), std::move(save), std::move(on_exception)));
    }
    /// An option by its name and as text, "number_of_retries" and "5"; `options` has them all.
    builder &set(const argument &name, const argument &value) & {
        const char *const what = "set";
        return name.is_whole() && value.is_whole()
                   ? done(what, cometd_client_builder_set(get(), name.c_str(), value.c_str(), nullptr))
                   : refused(detail::holds_nul(what));
    }
    builder &&set(const argument &name, const argument &value) && { return std::move(set(name, value)); }

    /// Builds a client; nothing is sent before its `connect`.
    [[nodiscard]] result<client> try_build() const {
        if (error_) {
            return *error_;
        }
        cometd_client *raw = nullptr;
        const result<void> built = detail::checked(
            "build", [&](cometd_error **err) { return cometd_client_builder_build(builder_.get(), &raw, err); });
        return built ? result<client>(client(raw)) : result<client>(built.error());
    }
#if COMETD_EXCEPTIONS
    [[nodiscard]] client build() const { return try_build().value(); }
#endif

    [[nodiscard]] cometd_client_builder *get() const noexcept { return builder_.get(); }

private:
    /// As int32_t for C, whose lists have an address also when they are empty.
    template <class Transports>
    builder &set_transports(const Transports &transports) {
        std::vector<std::int32_t> numbers;
        numbers.reserve(transports.size() + 1);
        for (const cometd::transport each : transports) {
            numbers.push_back(static_cast<std::int32_t>(each));
        }
        numbers.push_back(0);
        return done("transports", cometd_client_builder_set_transports(get(), numbers.data(), transports.size()));
    }
    builder &done(const char *what, cometd_status code) {
        if (code < 0 && cometd_client_builder_error(get()) == nullptr) {
            return refused({static_cast<status>(code), what});  // There is no builder, which would have kept it.
        }
        return *this;
    }
    builder &refused(cometd::error why) {
        if (!error_) {
            error_ = std::move(why);
        }
        return *this;
    }
    builder &text(
        const char *what, cometd_status (*setter)(cometd_client_builder *, const char *), const argument &value) {
        return value.is_whole() ? done(what, setter(get(), value.c_str())) : refused(detail::holds_nul(what));
    }
    builder &pair(const char *what, cometd_status (*setter)(cometd_client_builder *, const char *, const char *),
        const argument &name, const argument &value) {
        return name.is_whole() && value.is_whole() ? done(what, setter(get(), name.c_str(), value.c_str()))
                                                   : refused(detail::holds_nul(what));
    }
    builder &basic(const char *what, const argument &user, const argument *password) {
        if (!user.is_whole() || (password != nullptr && !password->is_whole())) {
            return refused(detail::holds_nul(what));
        }
        return done(what, cometd_client_builder_set_basic_auth(
                              get(), user.c_str(), password == nullptr ? nullptr : password->c_str()));
    }
    template <class Function, class Set, class Call>
    builder &function(const char *what, Set setter, Call call, Function given, exception_handler on_exception) {
        if (!given) {
            return done(what, setter(get(), nullptr, nullptr, nullptr));
        }
        return done(what, detail::install(std::move(given), std::move(on_exception),
                              [&](void *user, cometd_free_fn free) { return setter(get(), call, user, free); }));
    }

    detail::owner<cometd_client_builder, cometd_client_builder_free> builder_;
    std::optional<cometd::error> error_;
};

/// An option of `builder::set`; it is always good.
class option {
public:
    explicit option(const cometd_option *of) noexcept : option_(of) {}

    [[nodiscard]] std::string_view name() const noexcept { return text(cometd_option_name); }
    /// The function of cometd.h that sets it.
    [[nodiscard]] std::string_view setter() const noexcept { return text(cometd_option_setter); }
    [[nodiscard]] std::string_view type() const noexcept { return text(cometd_option_type); }
    [[nodiscard]] std::string_view unit() const noexcept { return text(cometd_option_unit); }
    [[nodiscard]] std::string_view default_value() const noexcept { return text(cometd_option_default); }
    [[nodiscard]] std::string_view range() const noexcept { return text(cometd_option_range); }
    /// What it does.
    [[nodiscard]] std::string_view description() const noexcept { return text(cometd_option_text); }
    [[nodiscard]] bool is_secret() const noexcept { return cometd_option_is_secret(option_); }
    [[nodiscard]] const cometd_option *get() const noexcept { return option_; }

private:
    [[nodiscard]] std::string_view text(const char *(*accessor)(const cometd_option *)) const noexcept {
        return detail::view(accessor(option_)).value_or("");
    }

    const cometd_option *option_;
};

/// All options, in the order of cometd_option_at.
[[nodiscard]] inline std::vector<option> options() {
    std::vector<option> all;
    all.reserve(cometd_option_count());
    for (std::size_t index = 0; index < cometd_option_count(); index++) {
        all.emplace_back(cometd_option_at(index));
    }
    return all;
}
/// Nothing when there is none of that name.
[[nodiscard]] inline std::optional<option> find_option(const argument &name) noexcept {
    const cometd_option *found = name.is_whole() ? cometd_option_find(name.c_str()) : nullptr;
    return found == nullptr ? std::nullopt : std::optional(option(found));
}

/// The versions of this header and of the library that is loaded: major << 16 | minor << 8 | patch.
inline constexpr std::uint32_t header_version = COMETD_VERSION;
[[nodiscard]] inline std::uint32_t version() noexcept { return cometd_version(); }
[[nodiscard]] inline std::string_view version_string() noexcept { return cometd_version_string(); }

/// Whether a subscription to `pattern` gets the messages of `channel`.
[[nodiscard]] inline bool channel_matches(const argument &pattern, const argument &channel) noexcept {
    return pattern.is_whole() && channel.is_whole() && cometd_channel_matches(pattern.c_str(), channel.c_str());
}

/// Gets each log line: its level, the part of the library, and the text. It runs on
/// whichever thread has something to say, several at once.
using log_sink = move_only_function<void(log_level level, std::string_view target, std::string_view text)>;

namespace detail {

inline void call_log(void *user, std::int32_t level, const char *target, const char *text) {
    guarded<log_sink>(user, COMETD_OK, [&](log_sink &sink) {
        sink(static_cast<log_level>(level), target, text);
        return COMETD_OK;
    });
}

}  // namespace detail

/// Removes the log sink of the process.
[[nodiscard]] inline result<void> try_remove_log() {
    return detail::done("log", cometd_log_set(COMETD_LOG_OFF, nullptr, nullptr, nullptr));
}
/// Installs the log sink of the process, in place of the one before.
[[nodiscard]] inline result<void> try_set_log(log_level max_level, log_sink sink, exception_handler on_exception = {}) {
    if (!sink) {
        return try_remove_log();
    }
    return detail::done(
        "log", detail::install(std::move(sink), std::move(on_exception), [max_level](void *user, cometd_free_fn free) {
            return cometd_log_set(static_cast<std::int32_t>(max_level), detail::call_log, user, free);
        }));
}
/// How many threads do the I/O of all clients; in force when the runtime next starts.
[[nodiscard]] inline result<void> try_set_runtime_threads(std::uint32_t threads) {
    return detail::done("runtime_threads", cometd_runtime_set_threads(threads));
}
#if COMETD_EXCEPTIONS
inline void remove_log() { try_remove_log().value(); }
inline void set_log(log_level max_level, log_sink sink, exception_handler on_exception = {}) {
    try_set_log(max_level, std::move(sink), std::move(on_exception)).value();
}
inline void set_runtime_threads(std::uint32_t threads) { try_set_runtime_threads(threads).value(); }
#endif

}  // namespace cometd

#undef COMETD_LET_THREAD_END

#endif  // COMETD_HPP
