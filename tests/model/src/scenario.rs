//! What may happen in a world, and how often.

/// Something that takes part in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A second process that only reads and fills L2.
    SecondReader,
    /// The memory of the first process, its mirror and its poller.
    L1,
    /// The server may forget a marker at any time.
    Trimming,
    /// Another tag is invalidated too, at most so often that the position passes the number of changes by one.
    OtherTag,
    /// Requests join the flight of the other process' request.
    Joins,
    /// Changes are guarded: begin, commit, end, with a crash of the process anywhere.
    Guard,
    /// A lookup reads the markers before the entry.
    MarkersFirst,
    /// Redis may not answer a lookup of the first process: the stamp is then the mirror's position.
    Silence,
    /// Memory keeps local positions instead of epochs.
    LocalPositions,
    /// Where positions are local, an entry of memory still carries its epoch: not to be used, but to watch.
    EpochWitness,
    /// An entry of memory raises its stamp to the position up to which it was checked, and is not checked again until
    /// the mirror is further.
    Shortcut,
    /// A lookup of the first process reads a copy of the control key, and of it only what its mirror does not have.
    News,
    /// The first process is the one that invalidates.
    OwnInvalidation,
}

/// What may happen in a world.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    parts: u32,
    /// Changes of the origin, each with its invalidation: at most two.
    pub changes: u8,
    /// Failovers to what the replica has.
    pub failovers: u8,
    /// Losses of the control key.
    pub evictions: u8,
    /// Ticks that memory may lag behind. The clock stops two ticks later.
    pub max_lag: u8,
}

impl Scenario {
    /// Two processes that read and fill, the first with memory, and one invalidation.
    pub const ONE_INVALIDATION: Self =
        Self { parts: 0, changes: 1, failovers: 0, evictions: 0, max_lag: 0 }.with(Part::SecondReader).with(Part::L1);

    /// The same with another part.
    #[must_use]
    pub const fn with(self, part: Part) -> Self {
        Self { parts: self.parts | 1 << part as u32, ..self }
    }

    /// The same without a part.
    #[must_use]
    pub const fn without(self, part: Part) -> Self {
        Self { parts: self.parts & !(1 << part as u32), ..self }
    }

    /// The same with so many changes.
    #[must_use]
    pub const fn changes(self, changes: u8) -> Self {
        Self { changes, ..self }
    }

    /// The same with so many failovers.
    #[must_use]
    pub const fn failovers(self, failovers: u8) -> Self {
        Self { failovers, ..self }
    }

    /// The same with so many losses of the control key.
    #[must_use]
    pub const fn evictions(self, evictions: u8) -> Self {
        Self { evictions, ..self }
    }

    /// Whether a part takes part.
    pub const fn has(&self, part: Part) -> bool {
        self.parts & 1 << part as u32 != 0
    }

    /// Whether the control key can lose what was written to it.
    pub const fn loses_control(&self) -> bool {
        self.failovers > 0 || self.evictions > 0
    }
}
