package libcometd;

import java.util.OptionalLong;

/** Keeps replay positions where they outlive the process. It may be called by several threads. */
public interface ReplayStore {
    /** As a position: new events only. */
    long NEW = -1;
    /** As a position: all events that the server still has. */
    long ALL = -2;

    /** What was saved for a channel. {@link Client#subscribe} calls it, and fails with its exception. */
    OptionalLong load(String channel) throws Exception;

    /** Stores the id of the last event that need not come again, in place of the one before. */
    void save(String channel, long position) throws Exception;
}
