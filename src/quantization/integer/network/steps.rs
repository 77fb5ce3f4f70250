//! What a compiled network does to one image, step by step.

use std::collections::BTreeSet;

use super::{addition::Addition, pool::Pool, value::CodeGrid};
use crate::quantization::integer::{
    Convolution, ConvolutionScratch, IntegerError, SignThreshold, requantizer::Requantizer,
};

/// One step. `from` and `to` are slots of codes or of sums, as the step says.
#[derive(Debug)]
pub(super) enum Step {
    /// The image to codes, its numbers taken from these places; none is 0.
    Quantize {
        moved: Option<Vec<Option<u32>>>,
        grid: CodeGrid,
        to: usize,
    },
    /// Codes to sums.
    Convolve {
        from: usize,
        convolution: Box<Convolution>,
        to: usize,
    },
    /// Codes to sums.
    Centre {
        from: usize,
        zero_point: i32,
        to: usize,
    },
    /// Codes to sums.
    Add {
        from: [usize; 2],
        addition: Addition,
        to: usize,
    },
    /// Codes to sums.
    Sum {
        from: usize,
        zero_point: i32,
        pool: Box<Pool>,
        to: usize,
    },
    MaxCodes {
        from: usize,
        pool: Box<Pool>,
        to: usize,
    },
    MaxSums {
        from: usize,
        pool: Box<Pool>,
        to: usize,
    },
    MoveCodes {
        from: Vec<usize>,
        sources: Vec<Option<Source>>,
        fill: u8,
        to: usize,
    },
    MoveSums {
        from: Vec<usize>,
        sources: Vec<Option<Source>>,
        to: usize,
    },
    /// Sums to codes, channel by channel.
    Requantize {
        from: usize,
        requantizer: Requantizer,
        to: usize,
    },
    /// Sums to the codes of signs, channel by channel.
    Sign {
        from: usize,
        thresholds: Vec<SignThreshold>,
        to: usize,
    },
    /// Codes to codes.
    Map {
        from: usize,
        table: Vec<u8>,
        to: usize,
    },
}

/// Where a moved number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    /// Which of the step's inputs.
    pub part: u32,
    pub index: u32,
}

impl Source {
    /// From positions counted through all inputs, which are this long.
    pub fn all(table: &[Option<u32>], lengths: &[usize]) -> Vec<Option<Self>> {
        let source = |position: u32| {
            let mut index = position as usize;
            for (part, &length) in lengths.iter().enumerate() {
                if index < length {
                    return Self { part: part as u32, index: index as u32 };
                }
                index -= length;
            }
            unreachable!("positions are those of the inputs")
        };
        table.iter().map(|position| position.map(source)).collect()
    }
}

/// A numbered piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Codes(usize),
    Sums(usize),
}

/// Which pieces of memory are in use while steps are made.
#[derive(Debug, Default)]
pub(super) struct Slots {
    used: BTreeSet<Slot>,
}

impl Slots {
    pub fn codes(&mut self) -> usize {
        self.first_free(Slot::Codes)
    }

    pub fn sums(&mut self) -> usize {
        self.first_free(Slot::Sums)
    }

    /// Frees all but these.
    pub fn keep(&mut self, used: BTreeSet<Slot>) {
        self.used = used;
    }

    fn first_free(&mut self, kind: fn(usize) -> Slot) -> usize {
        let free = (0..).find(|&number| !self.used.contains(&kind(number)));
        let number = free.expect("there are more numbers than slots");
        self.used.insert(kind(number));
        number
    }
}

/// Memory that one thread's runs use again and again.
#[derive(Debug, Default)]
pub struct IntegerWorkspace {
    pub(super) codes: Vec<Vec<u8>>,
    pub(super) sums: Vec<Vec<i32>>,
    scratch: ConvolutionScratch,
}

impl IntegerWorkspace {
    /// As many slots as the steps name.
    pub(super) fn prepare(&mut self, steps: &[Step]) {
        for step in steps {
            match step.target() {
                Slot::Codes(to) => self.codes.resize_with(self.codes.len().max(to + 1), Vec::new),
                Slot::Sums(to) => self.sums.resize_with(self.sums.len().max(to + 1), Vec::new),
            }
        }
    }

    pub(super) fn take(&mut self, step: &Step, image: &[f32]) -> Result<(), IntegerError> {
        match step.target() {
            Slot::Codes(to) => {
                let mut out = std::mem::take(&mut self.codes[to]);
                out.clear();
                self.write_codes(step, image, &mut out);
                self.codes[to] = out;
                Ok(())
            }
            Slot::Sums(to) => {
                let mut out = std::mem::take(&mut self.sums[to]);
                let done = self.write_sums(step, &mut out);
                self.sums[to] = out;
                done
            }
        }
    }

    fn write_codes(&self, step: &Step, image: &[f32], out: &mut Vec<u8>) {
        match step {
            Step::Quantize { moved: None, grid, .. } => {
                out.extend(image.iter().map(|&x| grid.code(f64::from(x))));
            }
            Step::Quantize { moved: Some(moved), grid, .. } => {
                let number = |place: &Option<u32>| place.map_or(0.0, |place| image[place as usize]);
                out.extend(moved.iter().map(|place| grid.code(f64::from(number(place)))));
            }
            Step::MaxCodes { from, pool, .. } => pool.max(&self.codes[*from], 0, out),
            Step::MoveCodes { from, sources, fill, .. } => {
                gather(&self.codes, from, sources, *fill, out);
            }
            Step::Requantize { from, requantizer, .. } => {
                requantizer.run(&self.sums[*from], out);
            }
            Step::Sign { from, thresholds, .. } => {
                for sums in self.sums[*from].chunks_exact(thresholds.len()) {
                    let signs = sums.iter().zip(thresholds).map(|(&sum, t)| t.apply(sum));
                    out.extend(signs.map(|sign| (sign + 1) as u8));
                }
            }
            Step::Map { from, table, .. } => {
                out.extend(self.codes[*from].iter().map(|&code| table[usize::from(code)]));
            }
            _ => unreachable!("the step writes sums"),
        }
    }

    fn write_sums(&mut self, step: &Step, out: &mut Vec<i32>) -> Result<(), IntegerError> {
        match step {
            Step::Convolve { from, convolution, .. } => {
                return convolution.run(&self.codes[*from], &mut self.scratch, out);
            }
            Step::Centre { from, zero_point, .. } => {
                out.clear();
                out.extend(self.codes[*from].iter().map(|&code| i32::from(code) - zero_point));
            }
            Step::Add { from: [a, b], addition, .. } => {
                addition.run(&self.codes[*a], &self.codes[*b], out);
            }
            Step::Sum { from, zero_point, pool, .. } => {
                pool.sum(&self.codes[*from], *zero_point, out);
            }
            Step::MaxSums { from, pool, .. } => pool.max(&self.sums[*from], i32::MIN, out),
            Step::MoveSums { from, sources, .. } => {
                out.clear();
                gather(&self.sums, from, sources, 0, out);
            }
            _ => unreachable!("the step writes codes"),
        }
        Ok(())
    }
}

impl Step {
    /// The slot that is written.
    fn target(&self) -> Slot {
        match *self {
            Step::Quantize { to, .. }
            | Step::MaxCodes { to, .. }
            | Step::MoveCodes { to, .. }
            | Step::Requantize { to, .. }
            | Step::Sign { to, .. }
            | Step::Map { to, .. } => Slot::Codes(to),
            Step::Convolve { to, .. }
            | Step::Centre { to, .. }
            | Step::Add { to, .. }
            | Step::Sum { to, .. }
            | Step::MaxSums { to, .. }
            | Step::MoveSums { to, .. } => Slot::Sums(to),
        }
    }
}

fn gather<T: Copy>(
    slots: &[Vec<T>],
    from: &[usize],
    sources: &[Option<Source>],
    fill: T,
    out: &mut Vec<T>,
) {
    out.extend(sources.iter().map(|source| match source {
        Some(source) => slots[from[source.part as usize]][source.index as usize],
        None => fill,
    }));
}
