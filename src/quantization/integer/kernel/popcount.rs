//! Counts of equal bits of one packed window and 16 packed filters at once.

/// Filters beside each other.
pub(super) const LANES: usize = 16;

pub(super) type Counts = [u64; LANES];

/// Runs a loop compiled for the widest instructions the processor has. Counts are whole
/// numbers, so that results are equal.
macro_rules! widest {
    ($name:ident, $plain:ident, $wide:ident, $middle:ident,
     ($($argument:ident: $type:ty),*) -> $result:ty) => {
        pub(super) fn $name($($argument: $type),*) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::is_x86_feature_detected as has;
                if has!("avx512f") && has!("avx512vpopcntdq") {
                    // SAFETY: the processor has the features that the loop is compiled for.
                    return unsafe { $wide($($argument),*) };
                }
                if has!("avx2") && has!("popcnt") {
                    // SAFETY: as above.
                    return unsafe { $middle($($argument),*) };
                }
            }
            $plain($($argument),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
        fn $wide($($argument: $type),*) -> $result {
            $plain($($argument),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,popcnt")]
        fn $middle($($argument: $type),*) -> $result {
            $plain($($argument),*)
        }
    };
}

widest!(weighted_counts, weighted_counts_plain, weighted_counts_avx512, weighted_counts_avx2,
    (window: &[u64], filters: &[u64], planes: [usize; 2], signed: bool) -> [Counts; 2]);
widest!(equal_signs, equal_signs_plain, equal_signs_avx512, equal_signs_avx2,
    (signs: &[u64], valid: &[u64], filters: &[u64]) -> Counts);

/// `sum over i, j of 2^(i+j) * popcount(window_i & filter_j)`, positive and negative apart.
///
/// - `window`: `[planes[0], words]`
/// - `filters`: `[words, planes[1], 16]`
/// - `signed`: whether the filters' last plane weighs negatively, as in two's complement
#[inline(always)]
fn weighted_counts_plain(
    window: &[u64],
    filters: &[u64],
    planes: [usize; 2],
    signed: bool,
) -> [Counts; 2] {
    let words = window.len() / planes[0];
    let n_positive = planes[1] - usize::from(signed);
    let (mut positive, mut negative) = ([0; LANES], [0; LANES]);
    for (word, filters) in filters.chunks_exact(planes[1] * LANES).enumerate() {
        let window = &window[word..];
        let mut filters = filters.chunks_exact(LANES).enumerate();
        for (j, filter) in filters.by_ref().take(n_positive) {
            add_plane(&mut positive, window, words, filter, j);
        }
        for (j, filter) in filters {
            add_plane(&mut negative, window, words, filter, j);
        }
    }
    [positive, negative]
}

/// Adds what one plane of 16 filters counts with every plane of the window's word.
#[inline(always)]
fn add_plane(sums: &mut Counts, window: &[u64], words: usize, filter: &[u64], weight: usize) {
    let filter: &Counts = filter.try_into().expect("16 filters are beside each other");
    let mut own = [0; LANES];
    // From the highest plane down, so that each earlier one doubles at every step.
    for x in window.iter().step_by(words).rev() {
        for lane in 0..LANES {
            own[lane] = 2 * own[lane] + u64::from((x & filter[lane]).count_ones());
        }
    }
    for lane in 0..LANES {
        sums[lane] += own[lane] << weight;
    }
}

/// How many valid places have the same sign.
///
/// - `signs`, `valid`: `[words]`; `filters`: `[words, 16]`
#[inline(always)]
fn equal_signs_plain(signs: &[u64], valid: &[u64], filters: &[u64]) -> Counts {
    let mut sums = [0; LANES];
    for ((x, valid), filter) in signs.iter().zip(valid).zip(filters.chunks_exact(LANES)) {
        let filter: &Counts = filter.try_into().expect("16 filters are beside each other");
        for lane in 0..LANES {
            sums[lane] += u64::from((!(x ^ filter[lane]) & valid).count_ones());
        }
    }
    sums
}
