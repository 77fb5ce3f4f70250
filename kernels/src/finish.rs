//! What happens to sums of products before they are written: scale, bias, skip connection, clip,
//! and the grid of the layer that reads them.

use crate::dense::Tile;
use crate::grid::Grid;

/// What follows the products of one layer.
#[derive(Debug, Clone)]
pub struct Finish {
    /// One number a sum stands for, and what is added to it, by output channel.
    pub scale: Vec<f32>,
    pub bias: Vec<f32>,
    pub clip: (f32, f32),
    /// Where codes are written.
    pub grid: Option<Grid>,
}

/// Where one image's results go; each `[places, out_channels]`.
pub struct Outputs<'a> {
    pub numbers: Option<&'a mut [f32]>,
    pub codes: Option<&'a mut [u8]>,
    pub addend: Addend<'a>,
}

/// What is added to a layer's output.
#[derive(Clone, Copy)]
pub enum Addend<'a> {
    None,
    Apart(&'a [f32]),
    /// What `numbers` holds before it is overwritten.
    InPlace,
}

impl Finish {
    /// Writes one tile.
    pub fn write(&self, tile: &Tile<'_>, outputs: &mut Outputs<'_>) {
        self.check(tile, outputs);
        #[cfg(target_arch = "x86_64")]
        if crate::has_byte_products() {
            // SAFETY: the processor has AVX-512, and the tile was found to fit the outputs.
            return unsafe { self.write_avx512(tile, outputs) };
        }
        self.write_plain(tile, outputs);
    }

    fn check(&self, tile: &Tile<'_>, outputs: &Outputs<'_>) {
        let n = (tile.first_place + tile.n_places) * self.scale.len();
        assert!(tile.channel + tile.n_channels <= self.scale.len());
        assert!(tile.n_channels <= tile.width && tile.sums.len() >= tile.n_places * tile.width);
        assert!(tile.width.is_multiple_of(crate::dense::LANES));
        assert!(self.bias.len() == self.scale.len());
        let fits = |length: Option<usize>| length.is_none_or(|length| length >= n);
        assert!(fits(outputs.numbers.as_ref().map(|numbers| numbers.len())));
        assert!(fits(outputs.codes.as_ref().map(|codes| codes.len())));
        match outputs.addend {
            Addend::Apart(addend) => assert!(addend.len() >= n),
            Addend::InPlace => assert!(outputs.numbers.is_some()),
            Addend::None => {}
        }
    }

    fn write_plain(&self, tile: &Tile<'_>, outputs: &mut Outputs<'_>) {
        let (low, high) = self.clip;
        for place in 0..tile.n_places {
            for column in 0..tile.n_channels {
                let channel = tile.channel + column;
                let at = (tile.first_place + place) * self.scale.len() + channel;
                let sum = tile.sums[place * tile.width + column];
                let mut y = sum * self.scale[channel] + self.bias[channel];
                match outputs.addend {
                    Addend::None => {}
                    Addend::Apart(addend) => y += addend[at],
                    Addend::InPlace => y += outputs.numbers.as_ref().expect("it was checked")[at],
                }
                let y = y.max(low).min(high);
                if let Some(numbers) = &mut outputs.numbers {
                    numbers[at] = y;
                }
                if let (Some(codes), Some(grid)) = (&mut outputs.codes, &self.grid) {
                    let (low, high) = code_bounds(grid);
                    let steps = (y * grid.scale.recip()).max(low).min(high).round_ties_even();
                    codes[at] = (steps as i32 + grid.zero_point) as u8;
                }
            }
        }
    }

    /// # Safety
    /// The processor has these instructions, and the tile fits the outputs.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn write_avx512(&self, tile: &Tile<'_>, outputs: &mut Outputs<'_>) {
        use std::arch::x86_64::{
            _mm512_add_epi32, _mm512_add_ps, _mm512_cvtps_epi32, _mm512_loadu_ps,
            _mm512_mask_cvtepi32_storeu_epi8, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
            _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        };
        let (low, high) = (_mm512_set1_ps(self.clip.0), _mm512_set1_ps(self.clip.1));
        let grid = self.grid.unwrap_or(Grid { scale: 1.0, zero_point: 0, low: 0, high: 0 });
        let per_step = _mm512_set1_ps(grid.scale.recip());
        let zero_point = _mm512_set1_epi32(grid.zero_point);
        let bounds = code_bounds(&grid);
        let (lowest, highest) = (_mm512_set1_ps(bounds.0), _mm512_set1_ps(bounds.1));
        let numbers = outputs.numbers.as_mut().map(|numbers| numbers.as_mut_ptr());
        let codes = outputs.codes.as_mut().map(|codes| codes.as_mut_ptr());
        let addend = match outputs.addend {
            Addend::None => None,
            Addend::Apart(addend) => Some(addend.as_ptr()),
            Addend::InPlace => numbers.map(<*mut f32>::cast_const),
        };
        for column in (0..tile.n_channels).step_by(crate::dense::LANES) {
            let mask = crate::depthwise::mask_of(tile.n_channels - column);
            let channel = tile.channel + column;
            // SAFETY: `check` found that channels, places and sums lie in their slices; lanes
            // beyond the last channel are masked.
            unsafe {
                let scale = _mm512_maskz_loadu_ps(mask, self.scale.as_ptr().add(channel));
                let bias = _mm512_maskz_loadu_ps(mask, self.bias.as_ptr().add(channel));
                for place in 0..tile.n_places {
                    let at = (tile.first_place + place) * self.scale.len() + channel;
                    let sum = _mm512_loadu_ps(tile.sums.as_ptr().add(place * tile.width + column));
                    let mut y = _mm512_add_ps(_mm512_mul_ps(sum, scale), bias);
                    if let Some(addend) = addend {
                        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, addend.add(at)));
                    }
                    y = _mm512_min_ps(_mm512_max_ps(y, low), high);
                    if let Some(numbers) = numbers {
                        _mm512_mask_storeu_ps(numbers.add(at), mask, y);
                    }
                    if let Some(codes) = codes {
                        let steps = _mm512_mul_ps(y, per_step);
                        let steps = _mm512_min_ps(_mm512_max_ps(steps, lowest), highest);
                        let code = _mm512_add_epi32(_mm512_cvtps_epi32(steps), zero_point);
                        _mm512_mask_cvtepi32_storeu_epi8(codes.add(at).cast(), mask, code);
                    }
                }
            }
        }
    }
}

/// The smallest and the largest distance of a code from the zero point.
fn code_bounds(grid: &Grid) -> (f32, f32) {
    ((grid.low - grid.zero_point) as f32, (grid.high - grid.zero_point) as f32)
}
