//! Sums of products of 8-bit codes, tile by tile, straight from the image: the windows of
//! neighbouring places share their numbers, so nothing is unfolded.

use std::array;

/// Output channels in one register.
pub const LANES: usize = 16;
/// Products that one instruction adds up.
const QUAD: usize = 4;

/// Weights of a convolution in panels of 16 channels, four neighbouring products beside each
/// other.
#[derive(Debug)]
pub struct DenseWeights {
    out_channels: usize,
    /// Rows of the window, and groups of four products in a row.
    rows: usize,
    quads: usize,
    /// Panels that are worked on together, so that they share what is read of the image.
    together: usize,
    /// `[blocks, rows, quads, together, 16, 4]`.
    panels: Vec<i8>,
    /// What sums start from, `[blocks, together, 16]`: minus the zero point times the weights.
    start: Vec<i32>,
}

/// A window over an image whose channels are a multiple of four, and last.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Columns of the output.
    pub columns: usize,
    /// Bytes from one place of the output to the next, along a row and down a column.
    pub step: usize,
    pub row_step: usize,
    /// Bytes of one row of the image.
    pub row: usize,
}

impl Places {
    fn offset(&self, place: usize) -> usize {
        place / self.columns * self.row_step + place % self.columns * self.step
    }
}

impl DenseWeights {
    /// - `codes`: `[out_channels, in_channels, rows, columns]`
    /// - `channels`: of the image, `in_channels` or more, a multiple of four
    pub fn pack(
        codes: &[i8],
        [out_channels, in_channels, rows, columns]: [usize; 4],
        channels: usize,
        zero_point: i32,
    ) -> Self {
        let quads = columns * channels / QUAD;
        let together = panels_together(out_channels);
        let n_blocks = out_channels.div_ceil(LANES * together);
        let block = rows * quads * together * LANES * QUAD;
        let mut panels = vec![0i8; n_blocks * block];
        let mut start = vec![0i32; n_blocks * together * LANES];
        let per_channel = in_channels * rows * columns;
        for (out, own) in codes.chunks_exact(per_channel).enumerate() {
            let (panel, lane) = (out / LANES, out % LANES);
            let first = panel / together * block;
            for (at, &code) in own.iter().enumerate() {
                let (channel, tap) = (at / (rows * columns), at % (rows * columns));
                let k = tap % columns * channels + channel;
                let quad = (tap / columns * quads + k / QUAD) * together + panel % together;
                panels[first + (quad * LANES + lane) * QUAD + k % QUAD] = code;
            }
            let sum: i32 = own.iter().map(|&code| i32::from(code)).sum();
            start[out] = -zero_point * sum;
        }
        Self { out_channels, rows, quads, together, panels, start }
    }

    /// Gives the sums of every place, tile by tile, to `finish`: the sums of 16 channels each,
    /// how many places, the first of them and the first channel.
    pub fn sums(
        &self,
        image: &[u8],
        places: Places,
        n_places: usize,
        finish: &mut dyn FnMut(Tile<'_>),
    ) {
        match self.together {
            1 => self.run::<1, 12>(image, places, n_places, finish),
            2 => self.run::<2, 12>(image, places, n_places, finish),
            3 => self.run::<3, 8>(image, places, n_places, finish),
            _ => self.run::<4, 6>(image, places, n_places, finish),
        }
    }

    fn run<const PANELS: usize, const PLACES: usize>(
        &self,
        image: &[u8],
        places: Places,
        n_places: usize,
        finish: &mut dyn FnMut(Tile<'_>),
    ) {
        let block = self.rows * self.quads * PANELS * LANES * QUAD;
        let window = (self.rows - 1) * places.row + self.quads * QUAD;
        let mut sums = [[[0f32; LANES]; PANELS]; PLACES];
        for first_place in (0..n_places).step_by(PLACES) {
            let n = PLACES.min(n_places - first_place);
            // A last tile that is not full repeats its last place.
            let offsets: [usize; PLACES] =
                array::from_fn(|place| places.offset(first_place + place.min(n - 1)));
            let furthest = offsets.iter().max().expect("a tile has places") + window;
            assert!(furthest <= image.len(), "windows lie in the padded image");
            let blocks = self.panels.chunks_exact(block);
            let starts = self.start.chunks_exact(PANELS * LANES);
            for (index, (panels, start)) in blocks.zip(starts).enumerate() {
                let work = Work { image, offsets: &offsets, row: places.row, panels, start };
                work.multiply::<PANELS>(self.rows, self.quads, &mut sums);
                let channel = index * PANELS * LANES;
                let width = PANELS * LANES;
                let n_channels = width.min(self.out_channels - channel);
                let sums = &sums.as_flattened().as_flattened()[..n * width];
                finish(Tile { sums, width, first_place, n_places: n, channel, n_channels });
            }
        }
    }
}

/// Sums of some neighbouring places and channels.
pub struct Tile<'a> {
    /// `[n_places, width]`, of which `n_channels` columns count.
    pub sums: &'a [f32],
    pub width: usize,
    pub first_place: usize,
    pub n_places: usize,
    pub channel: usize,
    pub n_channels: usize,
}

/// Few panels that stand empty, and many that share one reading of the image.
fn panels_together(out_channels: usize) -> usize {
    let panels = out_channels.div_ceil(LANES);
    let cost = |together: usize| {
        (panels.next_multiple_of(together) * (2 * together + 1)) as f64 / together as f64
    };
    (1..=4).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).expect("four to choose from")
}

/// One tile: windows at `offsets` of the image times the panels of one block.
struct Work<'a, const PLACES: usize> {
    image: &'a [u8],
    offsets: &'a [usize; PLACES],
    row: usize,
    panels: &'a [i8],
    start: &'a [i32],
}

impl<const PLACES: usize> Work<'_, PLACES> {
    fn multiply<const PANELS: usize>(
        &self,
        rows: usize,
        quads: usize,
        sums: &mut [[[f32; LANES]; PANELS]; PLACES],
    ) {
        #[cfg(target_arch = "x86_64")]
        if crate::has_byte_products() {
            // SAFETY: the processor has the instructions. Every window was found to lie in the
            // image, and a block has `rows * quads * PANELS` groups of 64 weights.
            return unsafe { self.multiply_vnni::<PANELS>(rows, quads, sums) };
        }
        self.multiply_plain::<PANELS>(rows, quads, sums);
    }

    fn multiply_plain<const PANELS: usize>(
        &self,
        rows: usize,
        quads: usize,
        sums: &mut [[[f32; LANES]; PANELS]; PLACES],
    ) {
        for (sums, offset) in sums.iter_mut().zip(self.offsets) {
            let mut own = [[0i32; LANES]; PANELS];
            own.as_flattened_mut().copy_from_slice(self.start);
            let mut weights = self.panels.chunks_exact(LANES * QUAD);
            for row in 0..rows {
                let window = &self.image[offset + row * self.row..][..quads * QUAD];
                for x in window.chunks_exact(QUAD) {
                    for own in &mut own {
                        let weights = weights.next().expect("a block has as many");
                        for (sum, w) in own.iter_mut().zip(weights.chunks_exact(QUAD)) {
                            *sum += w
                                .iter()
                                .zip(x)
                                .map(|(&w, &x)| i32::from(w) * i32::from(x))
                                .sum::<i32>();
                        }
                    }
                }
            }
            let floats = sums.as_flattened_mut().iter_mut();
            floats.zip(own.as_flattened()).for_each(|(float, sum)| *float = *sum as f32);
        }
    }

    /// # Safety
    /// The processor has these instructions; each window lies in the image; the block has
    /// `rows * quads * PANELS` groups of 64 weights and `PANELS` groups of 16 starts.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply_vnni<const PANELS: usize>(
        &self,
        rows: usize,
        quads: usize,
        sums: &mut [[[f32; LANES]; PANELS]; PLACES],
    ) {
        use std::arch::x86_64::{
            _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32,
            _mm512_setzero_si512, _mm512_storeu_ps,
        };
        let mut start = [_mm512_setzero_si512(); PANELS];
        for (panel, start) in start.iter_mut().enumerate() {
            // SAFETY: there are 16 starts a panel.
            *start = unsafe { _mm512_loadu_si512(self.start.as_ptr().add(panel * LANES).cast()) };
        }
        let mut own = [start; PLACES];
        let mut weights = self.panels.as_ptr();
        for row in 0..rows {
            // SAFETY: the caller promises that the rows of every window lie in the image, and
            // that there are weights for as many steps.
            unsafe {
                let mut image = self.image.as_ptr().add(row * self.row);
                for _ in 0..quads {
                    let mut w = [_mm512_setzero_si512(); PANELS];
                    for (panel, w) in w.iter_mut().enumerate() {
                        *w = _mm512_loadu_si512(weights.add(panel * LANES * QUAD).cast());
                    }
                    for (own, &offset) in own.iter_mut().zip(self.offsets) {
                        let x = image.add(offset).cast::<i32>().read_unaligned();
                        let x = _mm512_set1_epi32(x);
                        for (own, w) in own.iter_mut().zip(w) {
                            *own = _mm512_dpbusd_epi32(*own, x, w);
                        }
                    }
                    image = image.add(QUAD);
                    weights = weights.add(PANELS * LANES * QUAD);
                }
            }
        }
        for (sums, own) in sums.as_flattened_mut().iter_mut().zip(own.as_flattened()) {
            // SAFETY: a panel has 16 sums.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), _mm512_cvtepi32_ps(*own)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn vector_and_plain_sums_are_equal(
            out_channels in 1usize..70, rows in 1usize..4, channels in 1usize..3,
            seed in any::<u64>(), zero_point in 0i32..20
        ) {
            let channels = 4 * channels;
            let mut state = seed | 1;
            let mut byte = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (state >> 56) as u8 };
            let codes: Vec<i8> = (0..out_channels * channels * rows * rows).map(|_| byte() as i8).collect();
            let shape = [out_channels, channels, rows, rows];
            let weights = DenseWeights::pack(&codes, shape, channels, zero_point);
            let side = 5 + rows;
            let image: Vec<u8> = (0..side * side * channels).map(|_| byte()).collect();
            let (step, row) = (channels, side * channels);
            let places = Places { columns: 6, step, row_step: row, row };
            let mut sums = vec![f32::NAN; 36 * out_channels];
            weights.sums(&image, places, 36, &mut |tile| {
                for place in 0..tile.n_places {
                    let at = (tile.first_place + place) * out_channels + tile.channel;
                    sums[at..at + tile.n_channels]
                        .copy_from_slice(&tile.sums[place * tile.width..][..tile.n_channels]);
                }
            });
            for place in 0..36 {
                for out in 0..out_channels {
                    let mut expected = 0i32;
                    for (at, &w) in codes[out * channels * rows * rows..][..channels * rows * rows].iter().enumerate() {
                        let (channel, tap) = (at / (rows * rows), at % (rows * rows));
                        let (y, x) = (place / 6 + tap / rows, place % 6 + tap % rows);
                        let code = i32::from(image[(y * side + x) * channels + channel]);
                        expected += i32::from(w) * (code - zero_point);
                    }
                    prop_assert_eq!(sums[place * out_channels + out], expected as f32);
                }
            }
        }
    }
}
