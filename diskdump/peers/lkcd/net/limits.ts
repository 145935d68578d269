// How long dump_netdev waits before it gives up.

/** The call goes out so many times, a second apart: 10000 polls with 100 us in between. */
export const HANDSHAKES = 300;
export const HANDSHAKE_POLLS = 10_000;
export const HANDSHAKE_POLL_NS = 100_000;
/** Waiting for the next request: after each so many polls a millisecond's rest. */
export const POLLS_PER_REST = 6;
export const REST_NS = 1e6;
/** So many rests without a word; then as many again with one each; then it gives up. The word still says "out of 10". */
export const QUIET_RESTS = 10_000;
export const LOUD_RESTS = 100_000;

/** The longest that a dump which is going to give up stands still, in seconds: for who watches it. */
export const LONGEST_SILENCE_SECONDS = HANDSHAKES + 120;

/** What is said of a dump that never came to its first page, or to a next one. */
export const HANDSHAKE_FAILURE = "network dump failed due to handshake failure";
