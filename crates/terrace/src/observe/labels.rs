//! The closed sets of label values. The same words appear in metrics, statistics and log fields.

/// An enum whose variants are the values of one label.
macro_rules! closed {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Every word, in the same order.
            pub(crate) const WORDS: &'static [&'static str] = &[$($text,)+];

            /// The word in metrics and logs.
            pub const fn as_str(self) -> &'static str {
                Self::WORDS[self as usize]
            }
        }
    };
}

closed! {
    /// What is cached.
    CacheName {
        /// Responses.
        Response = "response",
        /// What subjects may do.
        Authz = "authz",
    }
}

closed! {
    /// How a check of authorization was answered.
    CheckStatus {
        /// With facts from this process's memory.
        L1CacheHit = "l1_cache_hit",
        /// With facts from Redis.
        L2CacheHit = "l2_cache_hit",
        /// By the source of permissions.
        Miss = "cache_miss",
        /// With the outcome of another check's load.
        Coalesced = "cache_coalesced",
        /// By the source, with the cache not consulted or not usable; [`BypassReason`] says why.
        Bypass = "cache_bypass",
        /// Not at all: there is no decision.
        Error = "cache_error",
    }
}

closed! {
    /// What came of a check of authorization.
    CheckDecision {
        /// Yes.
        Allow = "allow",
        /// No.
        Deny = "deny",
        /// Neither.
        Error = "error",
    }
}

closed! {
    /// How a request was answered.
    CacheStatus {
        /// From this process's memory.
        L1CacheHit = "l1_cache_hit",
        /// From Redis.
        L2CacheHit = "l2_cache_hit",
        /// Stale, inside a window that allows it.
        Stale = "cache_stale",
        /// From the cache after the origin confirmed it with a 304.
        Revalidated = "cache_revalidated",
        /// With the outcome of another request's fetch.
        Coalesced = "cache_coalesced",
        /// By the origin, and the answer could have been stored.
        Miss = "cache_miss",
        /// By the origin, with the cache not consulted or not usable; [`BypassReason`] says why.
        Bypass = "cache_bypass",
        /// Not at all: neither cache nor origin had an answer, or nobody waited for it.
        Error = "cache_error",
    }
}

closed! {
    /// Why a request was forwarded to the origin (RFC 9211, section 2.2).
    ForwardReason {
        /// Nothing is stored for the URI.
        UriMiss = "uri_miss",
        /// Something is stored for the URI, but not for the request's selecting header fields.
        VaryMiss = "vary_miss",
        /// Nothing usable is stored.
        Miss = "miss",
        /// What is stored is stale.
        Stale = "stale",
        /// Only a part is stored.
        Partial = "partial",
        /// The request's directives ask for it.
        Request = "request",
        /// The method demands it.
        Method = "method",
        /// The cache was not consulted.
        Bypass = "bypass",
    }
}

closed! {
    /// Why a request was answered without consulting or without trusting the cache.
    BypassReason {
        /// Switched off.
        Disabled = "disabled",
        /// The method is not cached.
        Method = "method",
        /// The request is one that is not cached.
        Request = "request",
        /// The caller asked for a fresh answer.
        Fresh = "fresh",
        /// No proof that what is stored is current.
        Unproven = "unproven",
        /// The circuit breaker is open.
        Breaker = "breaker",
        /// Redis failed.
        L2Error = "l2_error",
        /// An invalidation is being held open.
        Held = "held",
        /// This process is behind the caller's position.
        Behind = "behind",
        /// Other processes have other keys: what they revoke is not heard here.
        Ring = "ring",
    }
}

closed! {
    /// Where entries are kept.
    Tier {
        /// This process's memory.
        L1 = "l1",
        /// Redis.
        L2 = "l2",
    }
}

closed! {
    /// What a lookup in one tier found.
    LookupResult {
        /// A fresh entry.
        Hit = "hit",
        /// A stale entry.
        Stale = "stale",
        /// Nothing.
        Miss = "miss",
        /// An entry that must not be served; [`RejectReason`] says why.
        Rejected = "rejected",
        /// A failure.
        Error = "error",
        /// No answer in time.
        Timeout = "timeout",
        /// Not asked.
        Skipped = "skipped",
    }
}

closed! {
    /// What a timed lookup found.
    Found {
        /// Something.
        Hit = "hit",
        /// Nothing that can be used.
        Miss = "miss",
        /// A failure.
        Error = "error",
    }
}

closed! {
    /// Why an entry that was found is not served.
    RejectReason {
        /// One of its tags was invalidated.
        Marker = "marker",
        /// It is older than the oldest invalidation that is still known.
        Floor = "floor",
        /// It was stored before the coherence epoch changed.
        Epoch = "epoch",
        /// Its life is over.
        Expired = "expired",
        /// The proof that it is current is too old.
        Proof = "proof",
        /// An invalidation is being held open.
        Held = "held",
        /// Its seal is broken, or is missing.
        Seal = "seal",
        /// It belongs to another key, or was sealed with one that this process lacks.
        Key = "key",
        /// Its schema is unknown.
        Schema = "schema",
        /// It is cut short, or changed, or was never an entry.
        Corrupt = "corrupt",
        /// It is too large.
        Size = "size",
        /// What Redis records is older than what was already seen of it.
        Regress = "regress",
    }
}

closed! {
    /// How an attempt to store an entry ended.
    StoreResult {
        /// Stored.
        Ok = "ok",
        /// Not stored: invalidated meanwhile.
        Raced = "raced",
        /// Not stored: over a limit.
        TooLarge = "too_large",
        /// Not stored: the response must not be.
        Uncacheable = "uncacheable",
        /// Not stored: the tier refused.
        Rejected = "rejected",
        /// Not stored: a failure, in the origin's body or in the tier.
        Error = "error",
        /// Not stored: too slow.
        Timeout = "timeout",
        /// Not stored: abandoned.
        Dropped = "dropped",
        /// Not stored: switched off.
        Skipped = "skipped",
    }
}

closed! {
    /// How a call of the origin ended.
    OriginOutcome {
        /// With a status below 400.
        Ok = "ok",
        /// With a 4xx status.
        ClientError = "client_error",
        /// With a 5xx status, or an error of the service.
        ServerError = "server_error",
        /// Too late.
        Timeout = "timeout",
        /// Abandoned.
        Cancelled = "cancelled",
    }
}

closed! {
    /// Why an entry left this process's memory.
    EvictionReason {
        /// To make room.
        Size = "size",
        /// Its life was over.
        Expired = "expired",
        /// It was removed by name.
        Explicit = "explicit",
        /// A newer one took its place.
        Replaced = "replaced",
        /// It was found invalidated.
        Invalidated = "invalidated",
    }
}

closed! {
    /// What comparing a hit with a fresh answer came to.
    SampleResult {
        /// They are the same.
        Match = "match",
        /// They differ, and nothing has invalidated what is stored.
        Mismatch = "mismatch",
        /// There is no fresh answer to compare with.
        Error = "error",
    }
}

closed! {
    /// How much an invalidation covers.
    Scope {
        /// One URL.
        Key = "key",
        /// All entries with a tag.
        Tag = "tag",
        /// All URLs below a path.
        Prefix = "prefix",
        /// All entries of a partition.
        Partition = "partition",
        /// All facts about a subject.
        Subject = "subject",
        /// All facts of a tenant.
        Tenant = "tenant",
        /// Everything.
        All = "all",
    }
}

closed! {
    /// What an invalidation does to an entry.
    Kind {
        /// It is never served again.
        Hard = "hard",
        /// It is served as stale only.
        Soft = "soft",
    }
}

closed! {
    /// How issuing an invalidation ended.
    InvalidationResult {
        /// In effect wherever it must be.
        Acked = "acked",
        /// In effect here, not yet acknowledged.
        Pending = "pending",
        /// Refused: what it names is no URL or path.
        Failed = "failed",
    }
}

closed! {
    /// What became of a request that waited for another's fetch.
    FlightJoin {
        /// It took the outcome.
        Taken = "taken",
        /// It refused the outcome: a later invalidation was known.
        Refused = "refused",
    }
}

closed! {
    /// What was locked against doing the same work twice.
    LockKind {
        /// Within this process.
        Local = "local",
        /// Among processes.
        Distributed = "distributed",
    }
}

closed! {
    /// How taking a lock ended.
    LockResult {
        /// Taken.
        Acquired = "acquired",
        /// Somebody else had it.
        Contended = "contended",
        /// Waited for too long.
        Timeout = "timeout",
        /// Failed.
        Error = "error",
        /// Taken before, as was counted then, and lost before the work was done.
        Lost = "lost",
    }
}

closed! {
    /// What can be switched off while running.
    Feature {
        /// Everything.
        Cache = "cache",
        /// This process's memory.
        L1 = "l1",
        /// Redis.
        L2 = "l2",
        /// Serving stale responses while they are refreshed.
        Swr = "swr",
        /// Facts about what subjects may do.
        Authz = "authz",
        /// The same, in Redis.
        AuthzL2 = "authz_l2",
    }
}

closed! {
    /// What Redis was asked to do.
    L2Op {
        /// Read an entry, or what proves it valid.
        Get = "get",
        /// Write an entry.
        Set = "set",
        /// Be told of invalidations.
        Subscribe = "subscribe",
        /// Take a lease, or give it back.
        Lock = "lock",
        /// Invalidate, or find out which epoch it is.
        Script = "script",
        /// Anything else: polls and probes.
        Other = "other",
    }
}

closed! {
    /// Why Redis failed.
    ErrorKind {
        /// No reply in time.
        Timeout = "timeout",
        /// No connection could be made.
        Connect = "connect",
        /// The connection broke.
        Io = "io",
        /// Wrong password, or a command that is not permitted.
        Auth = "auth",
        /// It takes no writes: it is a replica, or has too few.
        ReadOnly = "readonly",
        /// Its memory is full.
        Oom = "oom",
        /// It is reading its data.
        Loading = "loading",
        /// A reply that makes no sense.
        Protocol = "protocol",
        /// No free connection in time.
        Pool = "pool",
        /// Anything else.
        Other = "other",
    }
}

closed! {
    /// What a connection of the pool is doing.
    PoolState {
        /// Nothing.
        Idle = "idle",
        /// Serving a call.
        InUse = "in_use",
    }
}

closed! {
    /// Which calls a circuit breaker stops.
    BreakerName {
        /// Lookups and fills.
        Data = "data",
        /// Polls and invalidations.
        Control = "control",
    }
}

closed! {
    /// What a circuit breaker lets pass.
    BreakerState {
        /// Every call.
        Closed = "closed",
        /// One call, whose outcome decides.
        HalfOpen = "half_open",
        /// None.
        Open = "open",
    }
}

closed! {
    /// Whether this process's memory may be believed.
    CoherenceState {
        /// Nothing is proven yet.
        Starting = "starting",
        /// It was proven up to date no longer ago than it may be.
        Coherent = "coherent",
        /// The last proof is too old.
        Degraded = "degraded",
        /// Redis is switched off: nobody else is followed, so there is nothing to prove.
        Alone = "alone",
    }
}

closed! {
    /// How looking for invalidations of other processes ended.
    PollResult {
        /// Answered.
        Ok = "ok",
        /// No answer in time.
        Timeout = "timeout",
        /// A failure.
        Error = "error",
        /// The server is not, or no longer, the one that takes writes.
        Refused = "refused",
    }
}

closed! {
    /// Where a message went that wakes those who look for invalidations.
    BellDirection {
        /// To all processes, with an invalidation.
        Sent = "sent",
        /// To this one, for whatever reason; its own arrive here too.
        Received = "received",
    }
}

closed! {
    /// Why whatever was stored before is dead.
    EpochChange {
        /// Another server process answers, which was not running yet when the one before it last did: started anew.
        Restart = "restart",
        /// A server process answers that was running before: it took the place of another. Or the same one answers with
        /// another past: it was replaced and has come back, or has its first replica.
        Failover = "failover",
        /// The server is the same; the record of invalidations was gone.
        Lost = "lost",
    }
}

closed! {
    /// How making sure of the server ended, before a connection to it is used.
    FenceResult {
        /// It is the one that was known.
        Ok = "ok",
        /// It is another one: an epoch began.
        NewEpoch = "new_epoch",
        /// It is a replica.
        NotPrimary = "not_primary",
        /// It does not permit what is needed.
        Denied = "denied",
        /// A failure.
        Error = "error",
    }
}

closed! {
    /// What becomes of entries of another epoch.
    FenceMode {
        /// They are never served.
        Strict = "strict",
        /// Epochs cannot be told apart: the server hides who it is.
        Off = "off",
    }
}

closed! {
    /// What is unsafe about the server.
    Weakness {
        /// The record of invalidations may be evicted.
        EvictsAnything = "evicts_anything",
        /// Invalidations fail when the memory is full.
        FullRefusesInvalidations = "full_refuses_invalidations",
        /// A cut-off primary goes on taking writes.
        WritesWithoutReplicas = "writes_without_replicas",
        /// Restarts and failovers cannot be seen.
        HiddenIdentity = "hidden_identity",
        /// Nothing is known about eviction.
        HiddenPolicy = "hidden_policy",
        /// The user lacks rights.
        Denied = "denied",
    }
}

closed! {
    /// How an announced change ended.
    ChangeResult {
        /// It was committed.
        Committed = "committed",
        /// It was abandoned.
        Dropped = "dropped",
        /// Its process did not end it; another one did.
        Swept = "swept",
    }
}

closed! {
    /// On which channel another program's message came.
    BridgeChannel {
        /// `cache:invalidate`: what is never to be served again.
        Invalidate = "invalidate",
        /// `cache:update`: what is to be refreshed.
        Update = "update",
        /// `cache:prewarm`: what is to be fetched before somebody asks.
        Prewarm = "prewarm",
    }
}

closed! {
    /// What became of another program's message.
    BridgeResult {
        /// All of it was used.
        Ok = "ok",
        /// A part of it was used, the rest is no URL, path, prefix or tag.
        Partial = "partial",
        /// Nothing of it is a URL, a path, a prefix or a tag.
        Item = "item",
        /// It names nothing.
        Empty = "empty",
        /// It is JSON of another shape.
        Shape = "shape",
        /// It is no JSON.
        Syntax = "syntax",
        /// It is too long.
        TooLarge = "too_large",
        /// It is for another namespace.
        Foreign = "foreign",
        /// Too many came at once.
        Dropped = "dropped",
    }
}

closed! {
    /// Which process warms what all were asked to warm.
    PrewarmResult {
        /// This one.
        Claimed = "claimed",
        /// Another one.
        Elsewhere = "elsewhere",
        /// This one and perhaps others: Redis did not say.
        Unclaimed = "unclaimed",
    }
}

closed! {
    /// A job that runs now and then, and says in Redis when it has succeeded.
    Task {
        /// Everything is warmed.
        WarmFull = "warm_full",
        /// What most people want is warmed.
        WarmHot = "warm_hot",
        /// What is in Redis is copied.
        Backup = "backup",
    }
}
