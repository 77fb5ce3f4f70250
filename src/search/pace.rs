//! How many policies are judged at a time, and when the strategy hears of them.

/// When a search learns from what it had judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many policies are proposed, all are judged, and the strategy learns from them in the order
    /// it proposed them: equal rounds give equal episodes, however fast who judges is.
    Rounds(u32),
    /// So many are in flight; the strategy learns from each as it is judged, and proposes the next.
    /// The order of the episodes is the order in which they were judged.
    Arrivals(u32),
}

impl Pace {
    /// Policies that are judged at a time, at least 1.
    pub fn width(self) -> u32 {
        let (Self::Rounds(width) | Self::Arrivals(width)) = self;
        width.max(1)
    }

    /// How many of a run's records lie before what is in work: with the state that was reported
    /// with the last of them, all after it can be proposed again.
    ///
    /// - `n_references`: policies tried first for comparison
    pub fn n_settled(self, n_records: usize, n_references: usize) -> usize {
        match self {
            Self::Rounds(_) => {
                let n_proposals = n_records.saturating_sub(n_references);
                n_records - n_proposals % self.width() as usize
            }
            Self::Arrivals(_) => n_records,
        }
    }
}
