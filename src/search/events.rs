//! What the loop reports; callers decide to print, store or ignore.

use crate::{
    domain::EpisodeRecord,
    search::{proposer::ProposerState, run::InFlight},
};

/// One thing that happened in a search.
#[derive(Debug)]
pub enum SearchEvent<'a> {
    /// An episode was judged. `state` is what a resumed run needs to go on after it, where it is the
    /// last of its round; within a round only its memory counts.
    Episode {
        record: &'a EpisodeRecord,
        state: &'a ProposerState,
        is_new_best: bool,
        ends_round: bool,
        /// Proposed and not judged yet.
        in_flight: &'a [InFlight],
    },
}

/// What a listener wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    /// Stop; everything so far is kept.
    Stop,
}

/// Hears of every event, in order.
///
/// An error stops the search: an episode that could not be kept must not be followed by more.
pub type Listener<'a> = &'a mut dyn FnMut(SearchEvent<'_>) -> Result<Verdict, String>;
