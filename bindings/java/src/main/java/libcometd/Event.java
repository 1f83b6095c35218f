package libcometd;

import java.util.OptionalLong;

/** What has happened to a client. Texts that are not there are null. More kinds may come. */
public sealed interface Event {
    /**
     * A message: its channel, and the JSON of its data, ext and id as the server sent them; with the option
     * "replay" the id of the replay extension, if it has one; its bytes, if it has some.
     */
    record Message(String channel, String data, String ext, String id, OptionalLong replayId, Binary binary)
            implements Event {}

    /** The state has changed. */
    record StateChanged(State previous, State state) implements Event {}

    /** In a new session, the library has subscribed again: messages in between may be missed. */
    record Renewed(String channel) implements Event {}

    /** Something failed that was not called; the client tries again, see {@link CometdException#retryIn}. */
    record Failed(CometdException error) implements Event {}

    /** So many messages were dropped here because nobody read them (option "overflow"). */
    record Dropped(long count) implements Event {}

    /** Advice for the program: JSON as the server sent it. */
    record Advice(String json) implements Event {}

    /** There is room again after a call failed with {@link Status#FULL}. */
    record Room() implements Event {}
}
