//! Arrivals: so many policies are in flight, and the strategy learns from each as it is judged.

use crate::search::{
    error::SearchError,
    evaluator::Judged,
    events::{Listener, Verdict},
    proposer::Proposer,
    run::{InFlight, Search},
};

impl Search<'_> {
    /// Plays what is missing, and tells whether that was all: it is not where the listener wanted
    /// to stop.
    pub(super) fn play_arrivals(
        &mut self,
        proposer: &mut dyn Proposer,
        episodes: u32,
        listener: Listener<'_>,
    ) -> Result<bool, SearchError> {
        let width = self.problem.pace.width() as usize;
        let mut in_flight = std::mem::take(&mut self.outcome.in_flight);
        let n_judged = self.outcome.records.len().saturating_sub(self.n_references);
        let mut next = (n_judged + in_flight.len()) as u32;
        loop {
            while in_flight.len() < width && next < episodes {
                let n_before = self.outcome.records.len();
                match self.propose(proposer, next, &in_flight, n_before)? {
                    Some(candidate) => in_flight.push(candidate),
                    // There is nothing left to propose.
                    None => next = episodes,
                }
                next = next.saturating_add(1);
            }
            if in_flight.is_empty() {
                return Ok(true);
            }
            let (index, judged, from_cache) = self.judge_any(&in_flight)?;
            let candidate = in_flight.remove(index);
            let record = self.record(&candidate, judged, from_cache);
            self.hear(proposer, &candidate, &record)?;
            let verdict = self.keep(record, &proposer.state(), true, &in_flight, listener)?;
            if verdict == Verdict::Stop {
                self.outcome.in_flight = in_flight;
                return Ok(false);
            }
        }
    }

    /// Which of them is judged first, what it reached, and whether that was known.
    fn judge_any(&mut self, in_flight: &[InFlight]) -> Result<(usize, Judged, bool), SearchError> {
        for (index, InFlight { trial, .. }) in in_flight.iter().enumerate() {
            if let Some(judged) = self.look_up(trial) {
                return Ok((index, judged, true));
            }
        }
        let trials = self.unknown(in_flight);
        let (index, judged) = self.problem.evaluator.judge_any(&trials, self.problem.measure)?;
        let policy = &trials[index].policy;
        self.outcome.evaluations += 1;
        self.known.insert(policy.key(), judged.clone());
        let is_it = |candidate: &InFlight| candidate.trial.policy == *policy;
        let index = in_flight.iter().position(is_it).expect("it is one of them");
        Ok((index, judged, false))
    }
}
