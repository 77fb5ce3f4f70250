//! Rounds: so many policies are proposed before the first of them is judged.

use std::ops::Range;

use crate::search::{
    error::SearchError,
    events::{Listener, Verdict},
    proposer::Proposer,
    run::{InFlight, Search},
};

impl Search<'_> {
    /// Plays what is missing, and tells whether that was all: it is not where the listener wanted
    /// to stop.
    ///
    /// - `first`: proposals of the rounds that are over
    pub(super) fn play_rounds(
        &mut self,
        proposer: &mut dyn Proposer,
        mut first: u32,
        episodes: u32,
        listener: Listener<'_>,
    ) -> Result<bool, SearchError> {
        let width = self.problem.pace.width();
        while first < episodes {
            let last = first.saturating_add(width).min(episodes);
            let n_before = self.n_references + first as usize;
            let candidates = self.propose_round(proposer, first..last, n_before)?;
            first = last;
            let n_taken = self.take_up(n_before, &candidates)?;
            let (taken, new) = candidates.split_at(n_taken);
            for (candidate, record) in taken.iter().zip(&self.outcome.records[n_before..]) {
                self.hear(proposer, candidate, record)?;
                // What it added to its memory is kept already.
                proposer.state();
            }
            for (index, candidate) in new.iter().enumerate() {
                let record = self.judge_first(&new[index..])?;
                self.hear(proposer, candidate, &record)?;
                let ends_round = index + 1 == new.len();
                let state = proposer.state();
                if self.keep(record, &state, ends_round, &[], listener)? == Verdict::Stop {
                    return Ok(false);
                }
            }
            if candidates.len() < width as usize {
                break;
            }
        }
        Ok(true)
    }

    /// The round of these proposals.
    ///
    /// - `n_before`: records before it
    fn propose_round(
        &self,
        proposer: &mut dyn Proposer,
        round: Range<u32>,
        n_before: usize,
    ) -> Result<Vec<InFlight>, SearchError> {
        let mut candidates = Vec::new();
        for proposal_index in round {
            match self.propose(proposer, proposal_index, &candidates, n_before)? {
                Some(candidate) => candidates.push(candidate),
                None => break,
            }
        }
        Ok(candidates)
    }

    /// How many of a round an earlier part of the run judged.
    fn take_up(&self, n_before: usize, candidates: &[InFlight]) -> Result<usize, SearchError> {
        let judged = self.outcome.records.get(n_before..).unwrap_or_default();
        let mut pairs = judged.iter().zip(candidates);
        let is_same = pairs.all(|(record, candidate)| {
            record.proposed == candidate.proposal.policy && record.policy == candidate.trial.policy
        });
        if judged.len() > candidates.len() || !is_same {
            return Err(SearchError::Resume(format!(
                "the round after episode {n_before} is not proposed as it was before"
            )));
        }
        Ok(judged.len())
    }
}
