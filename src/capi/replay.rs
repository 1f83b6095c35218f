//! The replay extension: where subscriptions start, and the host's store of
//! positions.

use std::ffi::{c_char, c_void, CString};
use std::sync::Arc;

use super::boundary::text;
use super::builder::{cometd_client_builder, set, set_choice};
use super::client::{cometd_client, with};
use super::error::cometd_error;
use super::host::{cometd_free_fn, outcome, returned, ENDED};
use super::status::{cometd_status, COMETD_E_PANIC, COMETD_NONE, COMETD_OK};
use crate::bayeux::replay;
use crate::client::{Builder, LoadPosition, ReplayStore};
use crate::delivery::{HostData, SavePosition};
use crate::error::{Error, ErrorKind};

/// As a replay position: new events only.
pub const COMETD_REPLAY_NEW: i64 = -1;
/// As a replay position: all events that the server still has.
pub const COMETD_REPLAY_ALL: i64 = -2;
/// As a fallback: none, a subscribe whose position is refused fails.
pub const COMETD_REPLAY_FAIL: i64 = -3;

/// Looks up the position that the host has stored for a channel; see
/// cometd_client_builder_set_replay_store.
///
/// `channel` has no "?query". `*position` receives the position: the id of the last
/// event that need not come again, or one of COMETD_REPLAY_….
///
/// It returns COMETD_OK; COMETD_NONE: nothing is stored; a negative status: it could
/// not look. It runs inside cometd_client_subscribe, on that thread, and may block
/// it. Inside it, what holds inside a callback holds.
pub type cometd_replay_load_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        channel: *const c_char,
        position: *mut i64,
    ) -> cometd_status,
>;

/// Stores a position of a channel, in place of the one before; see
/// cometd_client_builder_set_replay_store.
///
/// `channel` has no "?query"; `position` is the id of an event.
///
/// It returns COMETD_OK; any other status means that it could not. It runs on the
/// thread that is done with an event, and may block it; never twice at a time for
/// one channel of a client, but for several channels. Inside it, what holds inside a
/// callback holds.
pub type cometd_replay_save_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        channel: *const c_char,
        position: i64,
    ) -> cometd_status,
>;

/// Turns Salesforce's replay extension on: each subscribe tells the server after which
/// event it wants to start, and a new session goes on after the newest event of each
/// channel that was received in the one before, so that nothing of the time between is
/// lost or comes twice.
///
/// `start` is where a channel starts that has no position of its own:
/// COMETD_REPLAY_NEW, COMETD_REPLAY_ALL, or the id of an event. A position belongs to the
/// channel without its "?query". Patterns ("/a/*") have none, and are subscribed to
/// without. From COMETD_REPLAY_NEW on there is a position with the first event; what is
/// published in a gap before that one is lost.
///
/// A server without the extension is told of once, by a COMETD_EVENT_ERROR with
/// COMETD_E_NEGOTIATION that is not fatal; subscriptions are then made without it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `start` is less than COMETD_REPLAY_ALL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_replay(
    builder: *mut cometd_client_builder,
    start: i64,
) -> cometd_status {
    unsafe { set("set_replay", builder, |it| it.set_replay(start)) }
}

/// Sets where the first subscribe to a channel starts: after this event. It is in force
/// with cometd_client_builder_set_replay only.
///
/// A "?query" of `channel` is ignored. `position` is the id of an event,
/// COMETD_REPLAY_NEW or COMETD_REPLAY_ALL. Of one channel the last one set counts.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `channel` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: `channel` is no channel, a meta
/// channel, or a pattern; COMETD_E_OUT_OF_RANGE: `position` is less than
/// COMETD_REPLAY_ALL; COMETD_E_FULL: there are 10000.
/// **Threads** one at a time. **Blocks** never. **Ownership** the channel is copied.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_replay_position(
    builder: *mut cometd_client_builder,
    channel: *const c_char,
    position: i64,
) -> cometd_status {
    unsafe {
        set("set_replay_position", builder, |it| {
            it.set_replay_position(text("channel", channel)?, position)
        })
    }
}

/// Sets what happens when the server no longer has the event that a subscribe wants to
/// start after, and refuses it ("400::The replayId … was invalid").
///
/// `position` is COMETD_REPLAY_ALL (the default) or COMETD_REPLAY_NEW: the library
/// subscribes again from there, after a COMETD_EVENT_ERROR with the id 0, the channel, the
/// server's text, and 0 as its time until the next attempt. Or COMETD_REPLAY_FAIL: the
/// refusal is the end of the subscribe, as any other.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `position` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_replay_fallback(
    builder: *mut cometd_client_builder,
    position: i64,
) -> cometd_status {
    let choices = [
        (COMETD_REPLAY_NEW, Some(replay::NEW)),
        (COMETD_REPLAY_ALL, Some(replay::ALL)),
        (COMETD_REPLAY_FAIL, None),
    ];
    let setter = Builder::set_replay_fallback;
    unsafe {
        set_choice(
            "set_replay_fallback",
            builder,
            "position",
            position,
            choices,
            setter,
        )
    }
}

/// Installs functions that keep positions where they outlive the process, so that the
/// next one goes on where this one was. They are in force with
/// cometd_client_builder_set_replay only.
///
/// `load` is called by cometd_client_subscribe for each channel of which neither the
/// client nor the host has a position; an error of it is the error of that call, and
/// nothing is sent.
///
/// `save` is called when the host is done with an event of the client's own receiver, and
/// of no other (see cometd_client_builder_set_own_receiver): after its callback has returned, on that thread; or inside cometd_event_free, on the
/// caller's. When several threads work on events of one channel, it is told the newest
/// one before which all are done, in the order in which they were handed out; so after a
/// crash none that was not is skipped, and those that were done and not yet saved come
/// again. An event that is never freed holds its channel back; a retained message does
/// not, nor do events that were dropped. While one thread saves a position of a channel,
/// others leave theirs for it and do not wait. When it fails, that is logged, counted in
/// the statistics' failures as "replay_store", and tried again with the next event. In a
/// forked child nothing is saved.
///
/// Either may be NULL. Without `save` the host saves by itself, when and what it likes,
/// with cometd_message_replay_id: an event whose handling failed is then one whose
/// position it does not store. Both NULL removes the functions that were set before. They
/// serve all clients that the builder builds.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL; then `free_user`
/// is not called.
/// **Threads** one at a time. **Blocks** never. **Ownership** `user` is the library's
/// until it calls `free_user` (may be NULL), once: when the builder is gone or has other
/// functions, and the clients that were built with these are gone with all their events.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_replay_store(
    builder: *mut cometd_client_builder,
    load: cometd_replay_load_fn,
    save: cometd_replay_save_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    unsafe {
        set("set_replay_store", builder, |it| {
            let data = Arc::new(HostData::new(user, free_user));
            it.set_replay_store(ReplayStore {
                load: load.map(|load| loader(load, data.clone())),
                save: save.map(|save| saver(save, data)),
            });
            Ok(())
        })
    }
}

type Load = unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *mut i64) -> cometd_status;
type Save = unsafe extern "C-unwind" fn(*mut c_void, *const c_char, i64) -> cometd_status;

fn loader(load: Load, data: Arc<HostData>) -> Arc<LoadPosition> {
    Arc::new(move |channel: &str| {
        // No position, so that one that was not written is noticed.
        let mut position = i64::MIN;
        let name = CString::new(channel).unwrap_or_default();
        // SAFETY: the host gave the function for this, and keeps `user` alive
        // until it is freed by `data`.
        let status = data.call(|user| unsafe { load(user, name.as_ptr(), &mut position) });
        let out_of_range = |what: String| Err(Error::call(ErrorKind::OutOfRange, what));
        let Some(status) = status else {
            return Err(Error::call(ErrorKind::System, format!("load: {ENDED}")));
        };
        match status {
            COMETD_OK if replay::is_position(position) => Ok(Some(position)),
            COMETD_OK => out_of_range("load: it gave no position that can be one".to_owned()),
            COMETD_NONE => Ok(None),
            status if status > 0 => out_of_range(format!("load: {}", returned(status))),
            status => Err(Error::call(
                match status {
                    // Ours means that the client ends, which this is no reason for.
                    COMETD_E_PANIC => ErrorKind::System,
                    status => ErrorKind::Host(status),
                },
                format!("load: {}", returned(status)),
            )),
        }
    })
}

fn saver(save: Save, data: Arc<HostData>) -> Arc<SavePosition> {
    Arc::new(move |channel: &str, position: i64| {
        let name = CString::new(channel).unwrap_or_default();
        // SAFETY: as above.
        outcome(data.call(|user| unsafe { save(user, name.as_ptr(), position) }))
    })
}

/// Sets where the next cometd_client_subscribe to a channel starts, in the order of the
/// calls: also one that the client is subscribed to already, whose events then come again
/// from there.
///
/// A "?query" of `channel` is ignored. `position` is the id of an event,
/// COMETD_REPLAY_NEW or COMETD_REPLAY_ALL. Of one channel the last one set counts.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` or `channel` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: `channel` is no channel, a meta
/// channel, or a pattern; COMETD_E_OUT_OF_RANGE: `position` is less than
/// COMETD_REPLAY_ALL; COMETD_E_INVALID_STATE: the client was built without
/// cometd_client_builder_set_replay; COMETD_E_FULL: 10000 wait for a subscribe that uses
/// them; COMETD_E_CLOSED: the client has been disconnected or has ended; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** the channel is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_set_replay_position(
    client: *mut cometd_client,
    channel: *const c_char,
    position: i64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        with(client, err, |client| {
            client.set_replay_position(text("channel", channel)?, position)?;
            Ok(COMETD_OK)
        })
    }
}
