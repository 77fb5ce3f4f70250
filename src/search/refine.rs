//! An iterated local search: widths change one at a time or in pairs as long as that foretells
//! less loss; then some bits are taken away at random, and what they cost is spent anew.

use rand::{RngExt as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    domain::{Bits, BitwidthPolicy},
    search::space::{Decision, SearchSpace},
};

/// Rounds over all changes; each takes every change that helps, so that few do.
const ROUNDS: usize = 12;

/// One or two decisions and their new widths.
struct Change([Option<(Decision, Bits)>; 2]);

/// Times that bits are taken away.
const KICKS: usize = 16;

/// Decisions that lose a step in a kick.
const KICKED: std::ops::RangeInclusive<usize> = 2..=4;

/// What is foretold, and what may be the answer.
pub struct Refinement<'a> {
    pub space: &'a SearchSpace,
    /// Foretold, of any policy.
    pub loss: &'a dyn Fn(&BitwidthPolicy) -> f64,
    /// Whether a policy may be the answer: it meets the budgets, say, and is new.
    pub is_allowed: &'a dyn Fn(&BitwidthPolicy) -> bool,
}

impl Refinement<'_> {
    /// The allowed policy with the least foretold loss that is found from `start`; none where no
    /// allowed one was met.
    pub fn of(&self, start: &BitwidthPolicy, rng: &mut ChaCha8Rng) -> Option<BitwidthPolicy> {
        let mut best = self.settled(start, rng);
        for _ in 0..KICKS {
            let (from, least) = match &best {
                Some((policy, loss)) => (policy, *loss),
                None => (start, f64::INFINITY),
            };
            let kicked = self.kicked(from, rng);
            if let Some(found) = self.settled(&kicked, rng).filter(|(_, loss)| *loss < least) {
                best = Some(found);
            }
        }
        best.map(|(policy, _)| policy)
    }

    /// Where no single change and no exchange foretells less, with its loss.
    fn settled(
        &self,
        start: &BitwidthPolicy,
        rng: &mut ChaCha8Rng,
    ) -> Option<(BitwidthPolicy, f64)> {
        let (mut now, mut least) = match (self.is_allowed)(start) {
            true => (start.clone(), (self.loss)(start)),
            false => self.best_beside(start)?,
        };
        for _ in 0..ROUNDS {
            let mut changes = changes(self.space, &now);
            changes.shuffle(rng);
            let before = least;
            for change in &changes {
                let candidate = change.applied(self.space, &now);
                let foretold = (self.loss)(&candidate);
                if foretold < least && (self.is_allowed)(&candidate) {
                    (now, least) = (candidate, foretold);
                }
            }
            if least >= before {
                break;
            }
        }
        Some((now, least))
    }

    /// The best allowed policy that is one change away.
    fn best_beside(&self, start: &BitwidthPolicy) -> Option<(BitwidthPolicy, f64)> {
        let mut best: Option<(BitwidthPolicy, f64)> = None;
        for change in changes(self.space, start) {
            let candidate = change.applied(self.space, start);
            let foretold = (self.loss)(&candidate);
            let is_better = best.as_ref().is_none_or(|(_, least)| foretold < *least);
            if is_better && (self.is_allowed)(&candidate) {
                best = Some((candidate, foretold));
            }
        }
        best
    }

    fn kicked(&self, policy: &BitwidthPolicy, rng: &mut ChaCha8Rng) -> BitwidthPolicy {
        let mut kicked = policy.clone();
        for _ in 0..rng.random_range(KICKED) {
            let decisions = self.space.decisions();
            let decision = decisions[rng.random_range(0..decisions.len())];
            let now = self.space.get(&kicked, decision);
            let narrower = self.space.widths(decision).iter().rev().find(|&&bits| bits < now);
            if let Some(&bits) = narrower {
                self.space.set(&mut kicked, decision, bits);
            }
        }
        kicked
    }
}

impl Change {
    fn applied(&self, space: &SearchSpace, policy: &BitwidthPolicy) -> BitwidthPolicy {
        let mut changed = policy.clone();
        for &(decision, bits) in self.0.iter().flatten() {
            space.set(&mut changed, decision, bits);
        }
        changed
    }
}

/// Every width of every decision, every pair of widths in a layer, and every exchange of one step
/// down here for one step up there.
fn changes(space: &SearchSpace, policy: &BitwidthPolicy) -> Vec<Change> {
    let step = |decision: Decision, by: isize| {
        let widths = space.widths(decision);
        let now = widths.iter().position(|&bits| bits == space.get(policy, decision))?;
        let next = now.checked_add_signed(by)?;
        widths.get(next).map(|&bits| (decision, bits))
    };
    let decisions = space.decisions();
    let others = |decision: Decision| {
        let now = space.get(policy, decision);
        space.widths(decision).iter().filter(move |&&bits| bits != now)
    };
    let of_one = |&decision: &Decision| {
        others(decision).map(move |&bits| Change([Some((decision, bits)), None]))
    };
    let mut changes: Vec<Change> = decisions.iter().flat_map(of_one).collect();
    for pair in decisions.windows(2).filter(|pair| pair[0].layer == pair[1].layer) {
        for &bits in others(pair[0]) {
            let first = Some((pair[0], bits));
            changes.extend(others(pair[1]).map(|&bits| Change([first, Some((pair[1], bits))])));
        }
    }
    for down in decisions.iter().filter_map(|&decision| step(decision, -1)) {
        let others = decisions.iter().filter(|other| other.layer != down.0.layer);
        let ups = others.filter_map(|&decision| step(decision, 1));
        changes.extend(ups.map(|up| Change([Some(down), Some(up)])));
    }
    changes
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::search::space::tests::layer;

    const WIDTHS: [u8; 4] = [2, 4, 6, 8];

    fn space() -> SearchSpace {
        SearchSpace::new((0..3).map(|i| layer(i, &WIDTHS, &WIDTHS)).collect()).unwrap()
    }

    /// Layers differ in what a bit is worth.
    fn loss(policy: &BitwidthPolicy) -> f64 {
        let layers = policy.layers().iter().enumerate();
        let of = |(index, l): (usize, &crate::domain::LayerBits)| {
            let worth = (index + 1) as f64;
            worth * (0.5f64.powi(l.weight.get().into()) + 0.5f64.powi(l.activation.get().into()))
        };
        layers.map(of).sum()
    }

    fn total_bits(policy: &BitwidthPolicy) -> u32 {
        let layers = policy.layers().iter();
        layers.map(|l| u32::from(l.weight.get()) + u32::from(l.activation.get())).sum()
    }

    #[test]
    fn bits_are_spent_where_they_are_worth_most_and_the_limit_holds() {
        let space = space();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let is_allowed = |policy: &BitwidthPolicy| total_bits(policy) <= 30;
        let refinement = Refinement { space: &space, loss: &loss, is_allowed: &is_allowed };
        let found = refinement.of(&space.narrowest(), &mut rng).unwrap();
        assert_eq!(total_bits(&found), 30);
        assert_eq!(found.key(), "4/4 6/4 6/6");
    }

    #[test]
    fn a_policy_that_is_not_allowed_is_left_and_never_returned() {
        let space = space();
        let start = space.widest();
        let found = |is_allowed: &dyn Fn(&BitwidthPolicy) -> bool| {
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            Refinement { space: &space, loss: &loss, is_allowed }.of(&start, &mut rng)
        };
        assert_ne!(found(&|policy| *policy != start).unwrap(), start);
        assert!(found(&|_| false).is_none());
    }
}
