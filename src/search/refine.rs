//! An iterated local search: widths change one at a time or in pairs as long as that foretells
//! less loss; then some bits are taken away at random, and what they cost is spent anew.

use rand::{RngExt as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    domain::{Bits, BitwidthPolicy},
    search::space::SearchSpace,
};

/// Rounds over all changes; each takes every change that helps, so that few do.
const ROUNDS: usize = 12;

/// One or two decisions, by index, and their new widths.
#[derive(Debug, Clone, Copy)]
enum Change {
    Single([(usize, Bits); 1]),
    Double([(usize, Bits); 2]),
}

impl Change {
    fn widths(&self) -> &[(usize, Bits)] {
        match self {
            Change::Single(widths) => widths,
            Change::Double(widths) => widths,
        }
    }
}

/// Times that bits are taken away.
const KICKS: usize = 16;

/// Decisions that lose a step in a kick.
const KICKED: std::ops::RangeInclusive<usize> = 2..=4;

/// Foretells what policies lose, most of them beside one that it stands at.
pub trait Forecaster {
    /// Stands at `policy` from now on.
    ///
    /// - returns: what that policy loses
    fn stand_at(&mut self, policy: &BitwidthPolicy) -> f64;

    /// What the policy it stands at loses with some widths changed.
    ///
    /// - `changes`: index of a decision, new width; each decision once
    fn beside(&self, changes: &[(usize, Bits)]) -> f64;
}

/// Where to look, and what may be the answer.
pub struct Refinement<'a> {
    pub space: &'a SearchSpace,
    /// Whether a policy may be the answer: it meets the budgets, say, and is new.
    pub is_allowed: &'a dyn Fn(&BitwidthPolicy) -> bool,
}

impl Refinement<'_> {
    /// The allowed policy with the least foretold loss that is found from `start`; none where no
    /// allowed one was met.
    pub fn of(
        &self,
        start: &BitwidthPolicy,
        forecaster: &mut dyn Forecaster,
        rng: &mut ChaCha8Rng,
    ) -> Option<BitwidthPolicy> {
        let mut best = self.settled(start, forecaster, rng);
        for _ in 0..KICKS {
            let (from, least) = match &best {
                Some((policy, loss)) => (policy, *loss),
                None => (start, f64::INFINITY),
            };
            let kicked = self.kicked(from, rng);
            let found = self.settled(&kicked, forecaster, rng);
            if let Some(found) = found.filter(|(_, loss)| *loss < least) {
                best = Some(found);
            }
        }
        best.map(|(policy, _)| policy)
    }

    /// Where no single change and no exchange foretells less, with its loss.
    fn settled(
        &self,
        start: &BitwidthPolicy,
        forecaster: &mut dyn Forecaster,
        rng: &mut ChaCha8Rng,
    ) -> Option<(BitwidthPolicy, f64)> {
        let mut now = match (self.is_allowed)(start) {
            true => start.clone(),
            false => self.best_beside(start, forecaster)?,
        };
        let mut least = forecaster.stand_at(&now);
        for _ in 0..ROUNDS {
            let mut changes = changes(self.space, &now);
            changes.shuffle(rng);
            let before = least;
            for change in &changes {
                if let Some(better) = self.better(&now, change, least, forecaster) {
                    now = better;
                    least = forecaster.stand_at(&now);
                }
            }
            if least >= before {
                break;
            }
        }
        Some((now, least))
    }

    /// The best allowed policy that is one change away.
    fn best_beside(
        &self,
        start: &BitwidthPolicy,
        forecaster: &mut dyn Forecaster,
    ) -> Option<BitwidthPolicy> {
        forecaster.stand_at(start);
        let mut best = None;
        let mut least = f64::INFINITY;
        for change in &changes(self.space, start) {
            if let Some(better) = self.better(start, change, least, forecaster) {
                least = forecaster.beside(change.widths());
                best = Some(better);
            }
        }
        best
    }

    /// The changed policy, if it is allowed and foretold to lose less than `least`.
    fn better(
        &self,
        now: &BitwidthPolicy,
        change: &Change,
        least: f64,
        forecaster: &dyn Forecaster,
    ) -> Option<BitwidthPolicy> {
        if forecaster.beside(change.widths()) >= least {
            return None;
        }
        let mut changed = now.clone();
        for &(index, bits) in change.widths() {
            self.space.set(&mut changed, self.space.decisions()[index], bits);
        }
        (self.is_allowed)(&changed).then_some(changed)
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

/// Every width of every decision, every pair of widths in a layer, and every exchange of one step
/// down here for one step up there.
fn changes(space: &SearchSpace, policy: &BitwidthPolicy) -> Vec<Change> {
    let decisions = space.decisions();
    let now: Vec<Bits> = decisions.iter().map(|&d| space.get(policy, d)).collect();
    let now = now.as_slice();
    let step = |index: usize, by: isize| {
        let widths = space.widths(decisions[index]);
        let next = widths.iter().position(|&bits| bits == now[index])?.checked_add_signed(by)?;
        widths.get(next).map(|&bits| (index, bits))
    };
    let others = move |index: usize| {
        let widths = space.widths(decisions[index]).iter();
        widths.filter(move |&&bits| bits != now[index]).map(move |&bits| (index, bits))
    };
    let all = 0..decisions.len();
    let mut changes: Vec<Change> =
        all.clone().flat_map(|index| others(index).map(|one| Change::Single([one]))).collect();
    for (first, pair) in decisions.windows(2).enumerate() {
        if pair[0].layer == pair[1].layer {
            let of = |one| others(first + 1).map(move |other| Change::Double([one, other]));
            changes.extend(others(first).flat_map(of));
        }
    }
    for down in all.clone().filter_map(|index| step(index, -1)) {
        let elsewhere = |&other: &usize| decisions[other].layer != decisions[down.0].layer;
        let ups = all.clone().filter(elsewhere).filter_map(|index| step(index, 1));
        changes.extend(ups.map(|up| Change::Double([down, up])));
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

    /// Foretells [`loss`], each policy from scratch.
    struct FromScratch<'a> {
        space: &'a SearchSpace,
        at: BitwidthPolicy,
    }

    impl Forecaster for FromScratch<'_> {
        fn stand_at(&mut self, policy: &BitwidthPolicy) -> f64 {
            self.at = policy.clone();
            loss(policy)
        }

        fn beside(&self, changes: &[(usize, Bits)]) -> f64 {
            let mut changed = self.at.clone();
            for &(index, bits) in changes {
                self.space.set(&mut changed, self.space.decisions()[index], bits);
            }
            loss(&changed)
        }
    }

    fn found(
        space: &SearchSpace,
        start: &BitwidthPolicy,
        is_allowed: &dyn Fn(&BitwidthPolicy) -> bool,
    ) -> Option<BitwidthPolicy> {
        let mut forecaster = FromScratch { space, at: start.clone() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        Refinement { space, is_allowed }.of(start, &mut forecaster, &mut rng)
    }

    fn total_bits(policy: &BitwidthPolicy) -> u32 {
        let layers = policy.layers().iter();
        layers.map(|l| u32::from(l.weight.get()) + u32::from(l.activation.get())).sum()
    }

    #[test]
    fn bits_are_spent_where_they_are_worth_most_and_the_limit_holds() {
        let space = space();
        let is_allowed = |policy: &BitwidthPolicy| total_bits(policy) <= 30;
        let found = found(&space, &space.narrowest(), &is_allowed).unwrap();
        assert_eq!(total_bits(&found), 30);
        assert_eq!(found.key(), "4/4 6/4 6/6");
    }

    #[test]
    fn a_policy_that_is_not_allowed_is_left_and_never_returned() {
        let space = space();
        let start = space.widest();
        assert_ne!(found(&space, &start, &|policy| *policy != start).unwrap(), start);
        assert!(found(&space, &start, &|_| false).is_none());
    }
}
