//! Completed searches in memory: they never change but for their tags and notes, so that a list reads
//! only those again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::searches::{Listed, SearchSummary};
use crate::domain::{JobState, RunId};

/// Searches kept at most, about a kilobyte each.
const N_KEPT_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct CompletedSearches(Mutex<HashMap<RunId, SearchSummary>>);

impl CompletedSearches {
    /// The search as it is now, if it is completed and was kept.
    pub fn get(&self, listed: &Listed) -> Option<SearchSummary> {
        // Numbers are never used again, and only those that there are get listed.
        let kept = listed.is_completed.then(|| self.lock().get(&listed.search).cloned())?;
        let (tags, note) = (listed.tags.clone(), listed.note.clone().unwrap_or_default());
        kept.map(|search| SearchSummary { tags, note, ..search })
    }

    /// Keeps a search if it is completed.
    pub fn keep(&self, search: &SearchSummary) {
        if search.state == JobState::Completed {
            let mut kept = self.lock();
            if kept.len() >= N_KEPT_MAX {
                kept.clear();
            }
            kept.insert(search.search, search.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, SearchSummary>> {
        // Nothing panics while the map is being changed, so it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
