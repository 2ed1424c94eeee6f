//! The bound of every queue, buffer, retry and recursion, in one place.
//!
//! A number here is part of the protocol where both sides must agree on it (frames, inline
//! payloads), and a promise about memory and time everywhere else.

use crate::units::Span;

/// Largest body of a frame on a control connection. An inline payload and its head fit in it.
pub const CONTROL_BODY_MAX: u64 = INLINE_MAX as u64 + 4096;

/// Largest payload that travels inside a message; a larger one goes over a bulk connection.
pub const INLINE_MAX: usize = 64 * 1024;

/// Largest body of a frame from someone who has shown no certificate yet.
pub const STRANGER_BODY_MAX: u64 = 4096;

/// How long a stranger may take to become a peer.
pub const STRANGER_PATIENCE: Span = Span::from_secs(5);

/// Connections of strangers that are open at once; the oldest is closed for a further one.
pub const STRANGERS_MAX: usize = 64;
/// Bulk connections of one link; a further one ends it.
pub const BULKS_MAX: usize = 16;

/// Bytes of the head of an HTTP request for a node's metrics: collectors' are a tenth of it.
pub const HTTP_HEAD_MAX: usize = 4096;

/// Connections for a node's metrics that are open at once; the oldest is closed for a further one.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// Bytes of one payload that travel in one frame of a bulk connection, so that transfers take turns.
pub const BULK_CHUNK_MAX: usize = 256 * 1024;

/// Largest payload of a task that is sent as a whole (a stream has no such bound).
pub const PAYLOAD_MAX: u64 = 16 << 30;

/// Bytes of whole payloads that a node holds for one owner before it stops reading more of them.
pub const PAYLOADS_HELD_MAX: u64 = 2 << 30;

/// Bytes of a stream that may be on the way before the receiver asks for more.
pub const STREAM_WINDOW: u64 = 64 * 1024;

/// Bytes of a stream in one frame.
pub const STREAM_CHUNK_MAX: usize = 16 * 1024;

/// Tasks that one client may have at one node, running or waiting.
pub const CREDITS_MAX: u32 = 4096;

/// Tasks that a node sends ahead to one worker, so that short ones need no round trip each.
pub const AHEAD_MAX: u32 = 256;

/// Programs that one client may define on one link.
pub const PROGRAMS_MAX: u32 = 4096;

/// Bytes of a program's name, which a node keeps for each program of each link.
pub const PROGRAM_NAME_MAX: usize = 255;

/// Workers that a task may kill before it is given up as poison.
pub const POISON_KILLS: u32 = 3;

/// Attempts of one task, whatever the caller asked for.
pub const ATTEMPTS_MAX: u32 = 1000;

/// Members of one cluster that a node keeps and tells of.
pub const MEMBERS_MAX: usize = 16 * 1024;

/// Links that one node serves.
pub const LINKS_MAX: usize = 16 * 1024;

/// A link that was silent this long is asked whether it is there.
pub const HEARTBEAT: Span = Span::from_secs(5);

/// Unanswered questions after which a link is lost.
pub const HEARTBEATS_MISSED_MAX: u32 = 3;

/// Last bytes of a worker's standard error that are kept to explain its death.
pub const STDERR_TAIL: usize = 4096;

/// Bytes of one worker's standard error that a node passes on at once; then as many a second as
/// `LOG_RATE` says. The rest is counted and left out.
pub const LOG_BURST: u64 = 64 * 1024;

/// Bytes a second of one worker's standard error that a node passes on: fast enough for whoever
/// reads along, slow enough that a thousand workers that write without end fill no link.
pub const LOG_RATE: u64 = 256 * 1024;

/// Attempts that ended which a node remembers: a ring of a few hundred kilobytes.
pub const ENDED_KEPT: usize = 4096;

/// Failures that a node remembers longer than that, with their reasons.
pub const FAILURES_KEPT: usize = 512;

/// Bytes of a reason that a node remembers: a last page of standard error.
pub const FAILURE_TEXT_MAX: usize = 4096;

/// Jobs of one link whose latest word a node keeps.
pub const JOBS_OF_LINK_MAX: usize = 64;

/// Jobs that are over, or whose client is gone, which a node remembers.
pub const JOBS_KEPT: usize = 256;

/// Jobs told in one message, so that it fits in a frame whatever they are called.
pub const JOBS_TOLD_MAX: usize = 96;

/// How often a client tells how far a job is.
pub const JOB_PERIOD: Span = Span::from_secs(1);

/// Nodes that a client tells it: whoever asks one of the others asks these as well.
pub const JOB_NODES_MAX: usize = 4;

/// Longest text in a refusal or an explanation.
pub const TEXT_MAX: usize = 8 * 1024;

/// Ciphertext or plaintext waiting on one connection before its sender must wait.
pub const UNSENT_MAX: usize = 4 << 20;

/// Blobs that a node keeps on disk, in bytes, before the least recently used goes.
pub const BLOBS_KEPT: u64 = 8 << 30;

/// A blob from this size on goes from node to node once one of them has it. Below, asking for it
/// takes longer than sending it again.
pub const PASS_ON_MIN: u64 = 1 << 20;

/// Nodes that one node passes a client's blob on to at once: more would share its line, and fewer
/// make a chain of what can be a tree.
pub const PASS_ON_TO_MAX: usize = 2;

/// Permits that a node remembers, and for how long.
pub const PERMITS_MAX: usize = 1024;
pub const PERMIT_PATIENCE: Span = Span::from_secs(60);

/// Blobs that a node fetches at once, and those that it is sending to other nodes at once: each has
/// a thread.
pub const FETCHES_MAX: usize = 8;
pub const LENDINGS_MAX: usize = 16;

/// A blob between nodes that stands still this long is given up.
pub const FETCH_SILENCE: Span = Span::from_secs(5);

/// Bytes of a blob between nodes in a second; one that takes longer is sent by the client instead.
pub const FETCH_RATE_MIN: u64 = 1 << 20;

/// Connections of the worker socket protocol v1 that one node serves. Its peers show no
/// certificate, so one that has not exchanged versions yet gives way to a newcomer.
pub const CONTROLLERS_MAX: usize = 64;

/// Workers that are bound to one user's program and stay for its sake, whether they run or not.
pub const BOUND_MAX: usize = 256;

/// Bytes of requests that a node reads ahead of the job that runs, of one v1 connection; what is
/// begun is read to its end.
pub const READ_AHEAD: u64 = 64 << 20;

/// Bytes that a v1 message takes of `READ_AHEAD` beside its payload: empty ones are not free.
pub const READ_AHEAD_EACH: u64 = 128;

/// What a v1 message counts of `READ_AHEAD` at least if it is a core, and if its payload has a buffer
/// of its own: each has a descriptor.
pub const READ_AHEAD_CORE: u64 = READ_AHEAD / 8;
pub const READ_AHEAD_LARGE: u64 = READ_AHEAD / 64;

/// Bytes of libraries that a node holds for v1 connections, of all of them together. What was
/// announced and has not come counts nothing.
pub const LIBRARIES_HELD_MAX: u64 = 2 << 30;

/// The same of inputs of more than `INLINE_MAX` bytes, or the largest payload that is taken if that is
/// more. From half of it on a v1 connection is read only while it waits for no answer.
pub const INPUTS_HELD_MAX: u64 = 2 << 30;

/// How long a v1 message that has begun to arrive may stand still before its peer is given up.
pub const ARRIVAL_PATIENCE: Span = Span::from_secs(120);

/// How long a v1 peer may leave its answers unread before it is given up.
pub const UNREAD_PATIENCE: Span = Span::from_secs(120);

/// How long a v1 peer that was sent away may take to close its end.
pub const FAREWELL_PATIENCE: Span = Span::from_secs(5);

/// How long a program may take to end in order before it is killed.
pub const UNLOADING: Span = Span::from_secs(2);

/// Connections of NetMem that one server has. Its peers show no certificate, so one that has not
/// asked anything yet gives way to a newcomer.
pub const NETMEM_CONNECTIONS_MAX: usize = 512;

/// Bytes of answers that wait for a NetMem client before its next command is taken. One answer may be
/// longer.
pub const NETMEM_UNSENT_MAX: usize = 64 * 1024;

/// Locks that one NetMem connection holds: whoever takes more is sent away.
pub const NETMEM_LOCKS_MAX: usize = 64 * 1024;

/// Largest body of a frame on a connection of purpose Memory: a page, or a transaction.
pub const MEMORY_BODY_MAX: u64 = TRANSACTION_BYTES_MAX + 128 * 1024;

/// Bytes of a page of a region; powers of two between these.
pub const PAGE_SIZE_MIN: u32 = 64;
pub const PAGE_SIZE_MAX: u32 = 1 << 20;

/// Pages of one region: their table is made as they are written.
pub const PAGES_MAX: u64 = 1 << 32;

/// Bytes that the written pages of a node's regions may take together, unless told otherwise.
pub const REGIONS_HELD_MAX: u64 = 16 << 30;

/// Regions of one node.
pub const REGIONS_MAX: usize = 1024;

/// Regions told in one message, so that it fits in a frame whatever they are called.
pub const REGIONS_TOLD_MAX: usize = 200;

/// Sessions of one region, those that are away included.
pub const SESSIONS_MAX: usize = 16 * 1024;

/// Requests of one session that are not answered yet. Beyond, they are refused.
pub const REQUESTS_MAX: usize = 1024;

/// A session that is silent for so long loses its locks, unless its region was opened otherwise.
pub const LEASE: Span = Span::from_secs(3);

/// What became of a session's requests is kept for so long after it was heard of last. A client that
/// was away for half of it does not ask again: it cannot know any more what became of them.
pub const SESSION_KEPT: Span = Span::from_secs(120);

/// Pages that one transaction reads, and those that it writes.
pub const TRANSACTION_PAGES_MAX: usize = 4096;

/// Bytes that one transaction writes.
pub const TRANSACTION_BYTES_MAX: u64 = 4 << 20;

/// The same in a region that is kept in etcd, which takes 128 operations and 1.5 MiB at once.
pub const REPLICATED_PAGES_MAX: usize = 100;
pub const REPLICATED_BYTES_MAX: u64 = 1 << 20;

/// Bytes of commits that one region's vault has not kept yet before those who write wait for it, in
/// regions of durability `async` too.
pub const BACKLOG_MAX: u64 = 64 << 20;

/// Watches of one session, and of one region.
pub const WATCHES_OF_SESSION_MAX: usize = 1024;
pub const WATCHES_MAX: usize = 64 * 1024;

/// Pages that are remembered for a watch whose client has not read the last news yet. Beyond, it is
/// told to look at everything anew.
pub const CHANGES_KEPT: usize = 1024;

/// The same of all watches of a region together.
pub const CHANGES_KEPT_MAX: usize = 1 << 20;

/// The latest written pages of a region that a watch which begins at an earlier commit is told.
pub const COMMITS_KEPT: usize = 4096;

/// Requests that wait for locks of one region.
pub const WAITING_MAX: usize = 1 << 20;

/// Locks of one region that are held.
pub const LOCKS_MAX: usize = 1 << 17;

/// Bytes of whole pages that one transaction makes anew: each is copied, however little is written.
pub const TRANSACTION_COPIED_MAX: u64 = 64 << 20;

/// Pages of a region that are known to have most traffic, and those that are told at once.
pub const HOT_KEPT: usize = 1024;
pub const HOT_TOLD_MAX: usize = 256;

/// Barriers of one region that somebody waits at.
pub const BARRIERS_MAX: usize = 4096;

/// Highest version that a client may ask for: above, there are enough for any number of commits.
pub const VERSION_ASKED_MAX: u64 = 1 << 48;

/// A coherent page stays for so long with whoever was just given it from somebody else, so that two
/// who want it get something done between.
pub const COHERENT_HOLD: Span = Span::from_micros(50);

/// Longest hold that a copy obeys: its thread serves all pages, and a home must not be able to stop
/// a page for good.
pub const COHERENT_HOLD_MAX: Span = Span::from_millis(10);

/// Pages that a copy gave back and has not heard to have arrived. Beyond, it asks for a sign of life.
pub const YIELDS_UNHEARD_MAX: usize = 64;

/// Bytes of a page that is shared as memory: the hardware's, since that is what faults are about.
pub const COHERENT_PAGE: u32 = 4096;

/// Snapshots of one session, and of one region: each commit looks at all of its region's.
pub const SNAPSHOTS_OF_SESSION_MAX: usize = 16;
pub const SNAPSHOTS_MAX: usize = 256;

/// Bytes that are kept for the snapshots of one region alone, since they were written over. Beyond,
/// the snapshot that keeps most ends.
pub const SNAPSHOTS_HELD_MAX: u64 = 1 << 30;

/// Bytes of pages that a client keeps of one region.
pub const CACHE_HELD_MAX: usize = 64 << 20;

/// Pages of a region that a client has itself told of, because it reads them again and again without
/// asking. Others grow old and are asked for.
pub const CACHE_WATCHES_MAX: usize = 256;

/// What a client asked of a region fails when its node has been away for so long.
pub const AWAY_PATIENCE: Span = Span::from_secs(20);

/// Bytes of the page bytes, or of a file's, in one section of an image: large enough that its head
/// costs nothing, small enough to stay in a processor's cache on its way through.
pub const IMAGE_CHUNK_MAX: usize = 1 << 20;

/// Bytes that a section of an image tells beside those: what a reader holds of a stranger at once.
/// Thirty thousand hashes of pages.
pub const IMAGE_FRONT_MAX: usize = 1 << 20;

/// Mappings or descriptors that a writer puts into one section: with the longest paths that Linux
/// knows they fit.
pub const IMAGE_LIST_MAX: usize = 128;

/// Sections of one image: of full chunks, 4 TiB. Its writer remembers 40 bytes of each.
pub const IMAGE_SECTIONS_MAX: u32 = 1 << 22;

/// Threads, mappings and descriptors of one image: what Linux allows a process unless told otherwise,
/// four times over. Whoever reads an image keeps them all.
pub const IMAGE_THREADS_MAX: usize = 128 * 1024;
pub const IMAGE_MAPPINGS_MAX: usize = 256 * 1024;
pub const IMAGE_DESCRIPTORS_MAX: usize = 4 << 20;

/// How long a process that was built waits to be woken: many round trips, and not so long that one whose
/// source is gone without a word holds much memory for much longer.
pub const VISIT_LEASE: Span = Span::from_secs(5);
/// Visitors of a node, each of them two processes and a connection: all are told of in one message.
pub const VISITS_MAX: usize = 128;
/// Visits that were woken and are over, which a node still knows: whoever asks for one is told that it ran. Far
/// more than come and go within `VISIT_DOUBT`.
pub const VISITS_OVER_MAX: usize = 1024;
/// Bytes of a visitor's command, and of the name of the host that it comes from.
pub const VISIT_TEXT_MAX: usize = 128;
/// How long a visitor's end is kept for a client that does not know it yet, and how long a stand-in tries to hear
/// it: a night without a network, and the morning. A node that is full forgets the oldest of them after
/// [`VISIT_WAITS`].
pub const VISIT_KEPT: Span = Span::from_secs(24 * 60 * 60);
/// How long what a visitor writes waits for a client that is away. Then it is thrown away, and its client is told
/// how much that was: it does not stand still for a night because of a full pipe.
pub const VISIT_WAITS: Span = Span::from_secs(600);
/// How long a source asks what became of a process that it gave up for one that was to be woken. Less than
/// `VISIT_WAITS`: a visitor that has come and gone is never taken for one that was not there.
pub const VISIT_DOUBT: Span = Span::from_secs(300);
/// Bytes of a standard stream that may be under way: what a pipe holds.
pub const STDIO_WINDOW: u64 = 64 * 1024;
/// Bytes of one piece of a standard stream.
pub const STDIO_CHUNK_MAX: usize = 16 * 1024;

/// Copies of one client that run at a pad at the same time: each is a process, three pipes and a descriptor.
pub const CALLS_MAX: usize = 64;
/// Bytes of one piece of a copy's image: the header and it fit into what a control connection takes.
pub const CALL_PIECE_MAX: usize = 64 * 1024;

/// Bytes that a call on another node may answer: it is held in memory at both ends.
pub const ANSWER_MAX: u64 = 1 << 30;

/// Bytes of what a process comes back with that was elsewhere: they are held in memory until all have come. As
/// much as a copy of a large host's memory.
pub const RETURN_MAX: u64 = 1 << 38;

/// Of what a copy is handed on to link to the cluster: two certificates and a key are about 1.2 KiB.
pub const DELEGATION_MAX: usize = 16 * 1024 - 4;
