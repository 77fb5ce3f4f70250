//! Which record serves calibration, which the search and which the test: seeded, class-balanced,
//! no record twice.

use std::{collections::HashMap, fmt};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Images for calibration where no limit is given and the set has as many.
pub const DEFAULT_CALIBRATION_IMAGES: usize = 1024;

/// Images for the search's quality where no limit is given and the set has as many.
pub const DEFAULT_SEARCH_IMAGES: usize = 2000;

/// What a part of the images is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Chooses clip ranges and roundings.
    Calibration,
    /// Gives the reward.
    Search,
    /// Is looked at once, for what is reported.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calibration => "calibration",
            Self::Search => "search",
            Self::Test => "test",
        })
    }
}

/// How many images a split has. A number is a request, above 0: fewer images are an error. `None` is
/// [`DEFAULT_CALIBRATION_IMAGES`], [`DEFAULT_SEARCH_IMAGES`] or the whole test split, or what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitLimits {
    pub calibration: Option<usize>,
    pub search: Option<usize>,
    pub test: Option<usize>,
}

impl SplitLimits {
    pub(super) fn asked(&self, split: Split) -> Option<usize> {
        match split {
            Split::Calibration => self.calibration,
            Split::Search => self.search,
            Split::Test => self.test,
        }
    }
}

/// Images a split has for a limit, or `None` when `available` do not suffice.
pub(super) fn count(split: Split, asked: Option<usize>, available: usize) -> Option<usize> {
    let default = match split {
        Split::Calibration => DEFAULT_CALIBRATION_IMAGES,
        Split::Search => DEFAULT_SEARCH_IMAGES,
        Split::Test => usize::MAX,
    };
    let n = asked.unwrap_or(default.min(available));
    (n > 0 && n <= available).then_some(n)
}

/// Records class by class in a random order of classes, random inside a class.
///
/// - `labels`: one a record of the whole part; without labels all records are one class
/// - `stream`: separates shuffles that share a seed
pub(super) fn shuffle_by_class(
    labels: Option<&[i64]>,
    records: impl Iterator<Item = usize>,
    seed: u64,
    stream: u64,
) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    let mut records: Vec<usize> = records.collect();
    records.shuffle(&mut random);
    if let Some(labels) = labels {
        // A class's place is that of its first record in the shuffle.
        let mut places = HashMap::new();
        for &record in &records {
            let place = places.len();
            places.entry(labels[record]).or_insert(place);
        }
        records.sort_by_key(|&record| places[&labels[record]]);
    }
    records
}

/// Takes `n` of the records evenly along the list, so that each class gives its share to within one
/// record; returns the taken and the rest, both still class by class.
///
/// # Panics
/// When more are to be taken than there are.
pub(super) fn take_evenly(records: &[usize], n: usize) -> (Vec<usize>, Vec<usize>) {
    assert!(n <= records.len(), "a part is not larger than the whole");
    let share = |i: usize| i * n / records.len();
    let (mut taken, mut rest) = (Vec::with_capacity(n), Vec::with_capacity(records.len() - n));
    for (i, &record) in records.iter().enumerate() {
        if share(i + 1) > share(i) { taken.push(record) } else { rest.push(record) }
    }
    (taken, rest)
}

/// The first of every class, then the second of every class, and so on: any prefix is balanced.
pub(super) fn alternate_classes(labels: Option<&[i64]>, mut records: Vec<usize>) -> Vec<usize> {
    if let Some(labels) = labels {
        let mut seen: HashMap<i64, usize> = HashMap::new();
        records.sort_by_cached_key(|&record| {
            let rank = seen.entry(labels[record]).or_insert(0);
            *rank += 1;
            *rank
        });
    }
    records
}

/// How many of `n` training records may serve calibration, the rest serving the search: a third,
/// moved by a request that needs more as far as the other leaves it.
pub(super) fn calibration_share(n: usize, limits: &SplitLimits) -> usize {
    let third = ((n + 1) / 3).max(1).min(n);
    let for_search = limits.search.unwrap_or(1);
    let for_calibration = limits.calibration.unwrap_or(1);
    if for_calibration > third {
        for_calibration.min(n.saturating_sub(for_search)).max(third)
    } else if for_search > n - third {
        n.saturating_sub(for_search).max(for_calibration).min(third)
    } else {
        third
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn calibration_and_search_share_by_thirds_unless_a_request_needs_more() {
        let none = SplitLimits::default();
        let of = |calibration, search| SplitLimits { calibration, search, test: None };
        for (name, n, limits, expected) in [
            ("a third", 300, none, 100),
            ("one each of two", 2, none, 1),
            ("a lonely image goes to calibration", 1, none, 1),
            ("a small request changes nothing", 300, of(Some(10), Some(20)), 100),
            ("calibration grows", 300, of(Some(150), None), 150),
            (
                "calibration grows as far as the search leaves it",
                300,
                of(Some(150), Some(150)),
                150,
            ),
            ("the search grows", 300, of(Some(20), Some(280)), 20),
            ("the search grows and leaves one", 300, of(None, Some(299)), 1),
        ] {
            assert_eq!(calibration_share(n, &limits), expected, "{name}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_met_is_none_and_a_default_takes_what_there_is() {
        for (name, split, asked, available, expected) in [
            ("asked and there", Split::Search, Some(5), 9, Some(5)),
            ("asked and missing", Split::Search, Some(10), 9, None),
            ("nothing there", Split::Test, None, 0, None),
            ("all of a small set", Split::Calibration, None, 9, Some(9)),
            ("usual number of a large set", Split::Search, None, 50_000, Some(2000)),
            ("the whole test split", Split::Test, None, 50_000, Some(50_000)),
        ] {
            assert_eq!(count(split, asked, available), expected, "{name}");
        }
    }

    fn labels() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(0i64..6, 1..120)
    }

    proptest! {
        #[test]
        fn taking_evenly_partitions_and_gives_each_class_its_share(
            labels in labels(), seed in 0u64..1000, fraction in 0.0f64..1.0,
        ) {
            let n = (labels.len() as f64 * fraction) as usize;
            let all = shuffle_by_class(Some(&labels), 0..labels.len(), seed, 0);
            let (taken, rest) = take_evenly(&all, n);
            prop_assert_eq!(taken.len(), n);
            let union: HashSet<usize> = taken.iter().chain(&rest).copied().collect();
            prop_assert_eq!(union.len(), labels.len());
            for class in 0..6 {
                let of = |records: &[usize]| {
                    records.iter().filter(|&&record| labels[record] == class).count() as f64
                };
                let share = of(&all) * n as f64 / labels.len() as f64;
                prop_assert!((of(&taken) - share).abs() <= 1.0, "class {class}");
            }
        }

        #[test]
        fn every_prefix_of_alternating_classes_is_balanced(labels in labels(), seed in 0u64..1000) {
            let all = shuffle_by_class(Some(&labels), 0..labels.len(), seed, 0);
            let records = alternate_classes(Some(&labels), all);
            let total = |class| labels.iter().filter(|&&label| label == class).count();
            let mut taken = [0usize; 6];
            for &record in &records {
                taken[labels[record] as usize] += 1;
                // A class falls behind the fullest by more than one only when it is used up.
                let most = *taken.iter().max().expect("six classes");
                for (class, &n) in taken.iter().enumerate() {
                    prop_assert!(n + 1 >= most.min(total(class as i64) + 1));
                }
            }
        }
    }
}
