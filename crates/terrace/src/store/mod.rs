/// The cheap, cloneable handle to the tiers of one namespace.
#[derive(Clone, Debug)]
pub struct Store(());

impl Store {
    /// Keeps responses in the memory of this process only, with default settings.
    pub fn memory() -> Self {
        Self(())
    }
}
